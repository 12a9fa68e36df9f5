#!/usr/bin/env bash
# What the load engine, alone and as the whole of hbnode, costs beside the floor client, in one run: the Dummy on CPU 1, the
# clients on CPU 0 in turn. The engine is an executor's part of it: rows, windows and watch, and no leader that keeps them.
# Usage: bench/compare.sh [ROUNDS]   (at least 3; prints medians and the ratios to the floor)
# BUILD=0 takes the binaries that are there. DUMMY=path/to/hbnode takes that binary's `dummy` for the server instead of the bench's own.
set -euo pipefail
cd "$(dirname "$0")/.."

rounds=${1:-3}
port=${PORT:-18930}
target=${CARGO_TARGET_DIR:-target}/release
lines=$(mktemp -d)
server=
stop_server() {
    if [ -n "$server" ]; then
        kill "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
        server=
    fi
}
trap 'stop_server; rm -rf "$lines"' EXIT

[ "$(nproc)" -ge 2 ] || { echo "two CPUs are needed: one for the server, one for the clients" >&2; exit 1; }
ulimit -n "$(ulimit -Hn)"
[ "${BUILD:-1}" = 0 ] || cargo build --release --quiet -p hb-bench -p hbnode

start_server() { # TTFT_MS TPOT_MS
    if [ -n "${DUMMY:-}" ]; then
        taskset -c 1 "$DUMMY" dummy --port "$port" --ttft "$1ms" --tpot "$2ms" >/dev/null &
    else
        taskset -c 1 "$target/engine" serve --port "$port" --ttft "$1" --tpot "$2" &
    fi
    server=$!
    for _ in $(seq 100); do
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && return
        sleep 0.05
    done
    echo "the server does not listen on port $port" >&2
    exit 1
}

# NAME TTFT_MS TPOT_MS and the shape of the load; the clients take turns, so that all meet the same neighbours.
compare() {
    local name=$1 ttft=$2 tpot=$3
    shift 3
    start_server "$ttft" "$tpot"
    local told=(--url "http://127.0.0.1:$port" --ttft "$ttft" --tpot "$tpot")
    for _ in $(seq "$rounds"); do
        taskset -c 0 "$target/floor" "${told[@]}" "$@" >>"$lines/$name.floor"
        taskset -c 0 "$target/engine" load "${told[@]}" "$@" >>"$lines/$name.engine"
        taskset -c 0 bench/whole.py "$target/hbnode" "${told[@]}" "$@" >>"$lines/$name.hbnode"
    done
    if [ "$name" = "undelayed-64" ] && command -v wrk >/dev/null; then
        printf 'wrk.method="POST"; wrk.headers["Content-Type"]="application/json"; wrk.body=%s\n' \
            "'{\"model\":\"m\",\"prompt\":\"word\",\"max_tokens\":100,\"stream\":true}'" >"$lines/wrk.lua"
        echo "wrk, 64 connections: $(taskset -c 0 wrk -t1 -c64 -d5s -s "$lines/wrk.lua" "http://127.0.0.1:$port/v1/completions" | grep Requests/sec)"
    fi
    stop_server
}

for n in 1 64 512 2000; do
    compare "undelayed-$n" 0 0 --mode closed --in-flight "$n" --requests $((n == 1 ? 5000 : 40000))
done
# Slower tokens where more are in flight, so that the server's CPU keeps its pace and is not what is measured.
compare paced-1 100 20 --mode closed --in-flight 1 --requests 3
compare paced-64 100 20 --mode open --in-flight 64 --requests 160
compare paced-500 100 40 --mode open --in-flight 500 --requests 1000 --tokens 50
compare paced-2000 100 100 --mode open --in-flight 2000 --requests 4000 --tokens 50
for n in 512 2000; do
    compare "burst-$n" 400 40 --mode burst --in-flight "$n" --requests "$n" --tokens 20
done

python3 - "$lines" <<'PYTHON'
import json, pathlib, statistics, sys

folder = pathlib.Path(sys.argv[1])
columns = [
    ("CPU s/Mtoken", "cpu_per_million_tokens", 2), ("CPU s/1000 req", "cpu_per_thousand_requests", 4),
    ("req/s", "requests_per_second", 0), ("TTFT p50 ms", "ttft_error_p50_ms", 2), ("TTFT p99 ms", "ttft_error_p99_ms", 2),
    ("from sending", "ttft_error_from_sending_p99_ms", 2),
    ("TPOT p99 ms", "tpot_error_p99_ms", 3), ("ITL p99 ms", "itl_error_p99_ms", 2), ("RSS MB", "peak_memory_mb", 0),
]
print("| load | client | " + " | ".join(title for title, _, _ in columns) + " | failed |")
print("|" + "---|" * (len(columns) + 3))
order = ["undelayed-1", "undelayed-64", "undelayed-512", "undelayed-2000", "paced-1", "paced-64", "paced-500", "paced-2000",
         "burst-512", "burst-2000"]
for name in order:
    all_of = {}
    for client in ("floor", "engine", "hbnode"):
        runs = [json.loads(line) for line in (folder / f"{name}.{client}").read_text().splitlines()]
        all_of[client] = {key: statistics.median(run[key] for run in runs) if key in runs[0] else None for _, key, _ in columns}
        cells = ["–" if all_of[client][key] is None else f"{all_of[client][key]:.{digits}f}" for _, key, digits in columns]
        print(f"| {name} | {client} | " + " | ".join(cells) + f" | {sum(run['failed'] for run in runs)} |")
    for client in ("engine", "hbnode"):
        ratios = [f"{all_of[client][key] / all_of['floor'][key]:.2f}" if at < 3 else "" for at, (_, key, _) in enumerate(columns)]
        print(f"| {name} | {client} / floor | " + " | ".join(ratios) + " | |")
PYTHON
