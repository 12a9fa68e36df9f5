#!/usr/bin/env bash
# One vLLM over two nodes by its own means (--nnodes, --node-rank, --headless), tensor parallel 2, on CPU with a tiny
# model: rank 0 answers, rank 1 is a child of the other node. Then a rank that is killed while it is measured, sizes that
# do not fit, and an executable that is missing on start. What is left is looked for after each.
set -euo pipefail
. "$(dirname "$0")/lib/common.bash"

ROOT=${HB_TESTBED:-/var/tmp/hb-testbed}
ls "$ROOT"/vllm/ready-* >/dev/null 2>&1 || skip "vLLM is not installed; HB_REAL_VLLM=1 tests/real/vllm.sh installs it"
available=$(awk '/MemAvailable/ {print int($2 / 1048576)}' /proc/meminfo)
[ "$available" -ge 7 ] || skip "two ranks need about 5 GiB of memory, and $available GiB are available"
unset PYTHONDONTWRITEBYTECODE
MASTER=$(free_port)
# Everything of vLLM carries the port at which the ranks meet, or is a child of what does.
ranks() { pgrep -f -- "[v]llm serve .*--master-port $MASTER" || true; }
# The guardian carries the same words behind its own.
rank_1() { pgrep -af -- "[v]llm serve .*--node-rank 1 .*--master-port $MASTER" | grep -v __guard | head -n 1 | cut -d ' ' -f 1; }
none_left() { [ -z "$(ranks)" ] && ! pgrep -f -- "VLLM::" >/dev/null; }

recipe() { # recipe NAME DURATION TENSOR_PARALLEL
    cat >"$SCRATCH/$1.yaml" <<YAML
scenario: $1
orchestration:
  mode: local
  node_allocation: {servers: {nodes: 2}, clients: {nodes: 1}}
artifacts: {runtime: bare, service: {path: "$ROOT/vllm/venv/bin/vllm"}}
environment:
  VLLM_CPU_KVCACHE_SPACE: "1"
  VLLM_CPU_OMP_THREADS_BIND: nobind
  OMP_NUM_THREADS: "1"
  HF_HUB_OFFLINE: "1"
servers:
  health_check: {timeout: 500, interval: 1}
  service_config:
    max_model_len: 2048
    max_num_seqs: 64
    enforce_eager: true
    distributed: {enabled: true, nodes: 2, tensor_parallel_size: $3, master_port: $MASTER}
workload:
  service: vllm
  model: $ROOT/vllm/tiny
  concurrency: 4
  warmup: 2s
  duration: $2
  prompt_len: 16
  gen_tokens: 16
YAML
}

say "(1) two nodes, one server"
recipe whole 10s 2
lead "$SCRATCH/whole.yaml" --local-nodes 3
cat "$RUN_DIR/summary.md"
check "the run ends with 0" test "$EXIT_CODE" = 0
check "requests completed and none failed" holds "$RUN_DIR" '.trials[0].accounting | .completed > 4 and (.failed | length) == 0'
check "the books balance" balances "$RUN_DIR"
check "one server answered" test "$(jq -r .server "$RUN_DIR"/*/requests.jsonl | sort -u | wc -l)" = 1
check "both ranks' output was collected" sh -c "grep -q server-0-rank-1 '$RUN_DIR/logs/aggregated.jsonl' && grep -q '\"server-0\"' '$RUN_DIR/logs/aggregated.jsonl'"
check "the rank that answers was ended first" test "$(jq -r '.happened.fact.server_stopped.server // empty' "$RUN_DIR/events.jsonl" | tr '\n' ' ')" = "0 1 "
check "nothing of vLLM is left" none_left

say "(2) rank 1 is killed while it is measured"
recipe killed 90s 2
"$HBNODE" --leader "$SCRATCH/killed.yaml" --local-nodes 3 --results "$SCRATCH/results" --json >"$SCRATCH/killed.out" 2>"$SCRATCH/killed.err" &
LEADER=$!
measuring() { grep -qs '"execution"' "$SCRATCH"/results/killed/*/events.jsonl; }
check "it comes to its execution" wait_for 500 measuring
sleep 4
kill -9 "$(rank_1)"
started=$SECONDS
EXIT_CODE=0; wait "$LEADER" || EXIT_CODE=$?
RUN_DIR=$(find "$SCRATCH/results/killed" -maxdepth 1 -mindepth 1 -type d | tail -n 1)
cat "$RUN_DIR/summary.md"
check "the run fails within 40 s" test "$EXIT_CODE" = 1 -a $((SECONDS - started)) -le 40
check "the cause names the rank and how it ended" grep -q 'rank 1 of server 0 .*was ended by SIGKILL' "$RUN_DIR/summary.md"
check "the books balance" balances "$RUN_DIR"
check "nothing of vLLM is left" none_left

say "(3) sizes that the nodes cannot share"
recipe uneven 10s 3
EXIT_CODE=0; "$HBNODE" --leader "$SCRATCH/uneven.yaml" --local-nodes 3 --results "$SCRATCH/results" >"$SCRATCH/uneven.out" 2>&1 || EXIT_CODE=$?
cat "$SCRATCH/uneven.out"
check "it is refused before anything starts" test "$EXIT_CODE" = 2 -a ! -d "$SCRATCH/results/uneven"
check "the size and the nodes are named" grep -q 'is 3, which 2 nodes cannot share' "$SCRATCH/uneven.out"

say "(4) rank 1 cannot start"
recipe broken 10s 2
cat >"$SCRATCH/vllm" <<SH
#!/bin/sh
case "\$*" in *--headless*) echo "no such device" >&2; exit 7 ;; esac
exec "$ROOT/vllm/venv/bin/vllm" "\$@"
SH
chmod +x "$SCRATCH/vllm"
sed -i "s|path: \"$ROOT/vllm/venv/bin/vllm\"|path: \"$SCRATCH/vllm\"|" "$SCRATCH/broken.yaml"
started=$SECONDS
lead "$SCRATCH/broken.yaml" --local-nodes 3
tail -n 5 "$SCRATCH/err"
check "the deployment fails within 30 s" test "$EXIT_CODE" = 1 -a $((SECONDS - started)) -le 30
check "the cause names the rank and how it ended" grep -q 'rank 1 of server 0 .*exited with code 7' "$SCRATCH/err"
check "the cause has its last line" grep -q 'no such device' "$SCRATCH/err"
check "nothing of vLLM is left" none_left
finish
