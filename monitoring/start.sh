#!/usr/bin/env bash
# Starts Prometheus (9092) and Grafana (3001); `--pushgateway` starts a Pushgateway (9091) too.
set -euo pipefail
cd "$(dirname "$0")"

profiles=()
case "${1:-}" in
    "") ;;
    --pushgateway) profiles=(--profile pushgateway) ;;
    *)
        echo "usage: start.sh [--pushgateway]" >&2
        exit 2
        ;;
esac

# Docker's plugin, its older separate program, or Podman's.
if docker compose version >/dev/null 2>&1; then
    compose=(docker compose)
elif command -v docker-compose >/dev/null; then
    compose=(docker-compose)
elif podman compose version >/dev/null 2>&1; then
    compose=(podman compose)
else
    echo "start.sh: neither \`docker compose\` nor \`podman compose\` is there; QUICKSTART.md says how to do without" >&2
    exit 1
fi

"${compose[@]}" "${profiles[@]}" up --detach
password="admin"
[ -z "${GRAFANA_PASSWORD:-}" ] || password="the one in GRAFANA_PASSWORD"
echo "Grafana:    http://localhost:3001 (user admin, password $password)"
echo "Prometheus: http://localhost:9092"
