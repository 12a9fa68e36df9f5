#!/usr/bin/env bash
# Stops what start.sh started. `--forget` removes the stored series and Grafana's settings too.
set -euo pipefail
cd "$(dirname "$0")"

down=(down)
case "${1:-}" in
    "") ;;
    --forget) down+=(--volumes) ;;
    *)
        echo "usage: stop.sh [--forget]" >&2
        exit 2
        ;;
esac

if docker compose version >/dev/null 2>&1; then
    compose=(docker compose)
elif command -v docker-compose >/dev/null; then
    compose=(docker-compose)
else
    compose=(podman compose)
fi

"${compose[@]}" --profile pushgateway "${down[@]}"
