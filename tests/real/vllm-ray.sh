#!/usr/bin/env bash
# One vLLM on a real Ray cluster of two nodes, tensor parallel 2, on CPU with a tiny model: head, node and server are
# children of the ServerManagers. Then a Ray node that is killed while it is measured, and a cluster too small for the
# model. What is left is looked for after each.
#
# vLLM's CPU platform refuses Ray; the test bed's platform plugin lets it be placed (tests/testbed/vllm-ray-on-cpu).
set -euo pipefail
. "$(dirname "$0")/lib/common.bash"

ROOT=${HB_TESTBED:-/var/tmp/hb-testbed}
ls "$ROOT"/vllm/ready-* >/dev/null 2>&1 || skip "vLLM is not installed; HB_REAL_VLLM=1 tests/real/vllm.sh installs it"
available=$(awk '/MemAvailable/ {print int($2 / 1048576)}' /proc/meminfo)
[ "$available" -ge 8 ] || skip "Ray and two ranks need about 6 GiB of memory, and $available GiB are available"
if ! ls "$ROOT"/vllm-ray/ready-* >/dev/null 2>&1; then
    [ "${HB_REAL_VLLM:-0}" = 1 ] || skip "Ray is not installed; HB_REAL_VLLM=1 installs it (300 MB)"
fi
VLLM=$("$TESTBED/vllm-ray-install" | sed -n 's/^VLLM=//p') || skip "Ray cannot be installed here"
unset PYTHONDONTWRITEBYTECODE
HOLD=$(dirname "$VLLM")
# Ray's own processes rename themselves; all of them live in its environment.
ours() {
    local pid
    for pid in $(pgrep -f "raylet|gcs_server|[r]ay::|[r]ay start|VLLM::|$HOLD" || true); do
        [ "$pid" = $$ ] || { tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null && echo "($pid)"; }
    done
}
none_left() { ! ours | grep -qv pgrep; }
no_scratch_left() { [ -z "$(find /tmp -maxdepth 1 -name 'hb-??????' -type d -newer "$SCRATCH/begun" 2>/dev/null)" ]; }
touch "$SCRATCH/begun"

recipe() { # recipe NAME DURATION GPUS
    cat >"$SCRATCH/$1.yaml" <<YAML
scenario: $1
orchestration:
  mode: local
  node_allocation: {servers: {nodes: 2}, clients: {nodes: 1}}
artifacts: {runtime: bare, service: {path: "$VLLM"}}
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
    distributed:
      enabled: true
      backend: ray
      nodes: 2
      tensor_parallel_size: 2
      ray: {num_cpus_per_node: 2, num_gpus_per_node: $3}
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

say "(1) two Ray nodes, one server"
recipe whole 10s 1
lead "$SCRATCH/whole.yaml" --local-nodes 3
cat "$RUN_DIR/summary.md"
grep "in place\|is ready\|is stopped" "$SCRATCH/err" || true
check "the run ends with 0" test "$EXIT_CODE" = 0
check "requests completed and none failed" holds "$RUN_DIR" '.trials[0].accounting | .completed > 4 and (.failed | length) == 0'
check "the books balance" balances "$RUN_DIR"
started() { jq -r ".happened.fact.$1.$2 // empty" "$RUN_DIR/events.jsonl" | tr '\n' ' '; }
check "head, node and server were started one after another" test "$(started server_started name)" = "server-0-cluster-head server-0-cluster-1 server-0 "
check "they ended the other way round" test "$(started server_stopped server)" = "0 2 1 "
check "vLLM's ranks ran on both nodes" sh -c "grep -q 'Tensor parallel workers can be spread out to 2' '$RUN_DIR/logs/aggregated.jsonl'"
check "nothing of Ray or vLLM is left" none_left
check "no folder of Ray is left" no_scratch_left

say "(2) a Ray node is killed while it is measured"
recipe killed 90s 1
"$HBNODE" --leader "$SCRATCH/killed.yaml" --local-nodes 3 --results "$SCRATCH/results" --json >"$SCRATCH/killed.out" 2>"$SCRATCH/killed.err" &
LEADER=$!
measuring() { grep -qs '"execution"' "$SCRATCH"/results/killed/*/events.jsonl; }
check "it comes to its execution" wait_for 500 measuring
sleep 4
victim=$(pgrep -af -- "[r]ay start --block --address" | grep -v __guard | head -n 1 | cut -d ' ' -f 1)
kill -9 "$victim"
started=$SECONDS
EXIT_CODE=0; wait "$LEADER" || EXIT_CODE=$?
RUN_DIR=$(find "$SCRATCH/results/killed" -maxdepth 1 -mindepth 1 -type d | tail -n 1)
head -n 12 "$RUN_DIR/summary.md"
check "the run fails within 40 s" test "$EXIT_CODE" = 1 -a $((SECONDS - started)) -le 40
check "the cause names the node of the cluster and how it ended" grep -q 'cluster node 1 of server 0 .*was ended by SIGKILL' "$RUN_DIR/summary.md"
check "the books balance" balances "$RUN_DIR"
check "nothing of Ray or vLLM is left" none_left

say "(3) a cluster that holds fewer GPUs than the model has parts"
recipe small 10s 0
lead "$SCRATCH/small.yaml" --local-nodes 3
tail -n 5 "$SCRATCH/err"
check "the deployment fails" test "$EXIT_CODE" = 1
check "both numbers are told" grep -q 'Ray counts 0 GPUs on 2 nodes, and the model is cut into 2 parts' "$SCRATCH/err"
check "vLLM itself was never started" sh -c "! grep -q '\"server-0\"' '$RUN_DIR/events.jsonl'"
check "nothing of Ray or vLLM is left" none_left
finish
