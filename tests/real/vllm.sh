#!/usr/bin/env bash
# vLLM as hbnode itself starts it, waits for it and ends it (service vllm, runtime bare), on CPU with a tiny model.
# The first installation takes minutes and 3 GB; it is only done when asked for by HB_REAL_VLLM=1 or already there.
set -euo pipefail
. "$(dirname "$0")/lib/common.bash"

ROOT=${HB_TESTBED:-/var/tmp/hb-testbed}
if ! ls "$ROOT"/vllm/ready-* >/dev/null 2>&1; then
    [ "${HB_REAL_VLLM:-0}" = 1 ] || skip "vLLM is not installed; HB_REAL_VLLM=1 installs it (3 GB)"
    "$TESTBED/vllm-up" >"$SCRATCH/up"
    "$TESTBED/vllm-down"
fi
PORT=$(free_port)
cat >"$SCRATCH/recipe.yaml" <<YAML
scenario: vllm-bare
orchestration: {mode: local}
artifacts: {runtime: bare, service: {path: "$ROOT/vllm/venv/bin/vllm"}}
environment:
  VLLM_CPU_KVCACHE_SPACE: "1"
  VLLM_CPU_OMP_THREADS_BIND: nobind
  OMP_NUM_THREADS: "1"
  VLLM_NO_USAGE_STATS: "1"
  HF_HUB_OFFLINE: "1"
servers:
  health_check: {timeout: 400, interval: 1}
  service_config:
    port: $PORT
    max_model_len: 2048
    enforce_eager: true
    extra_args: [--distributed-executor-backend, uni, --max-num-seqs, "64"]
workload:
  service: vllm
  model: $ROOT/vllm/tiny
  concurrency: 8
  warmup: 3s
  duration: 15s
  prompt_len: 32
  gen_tokens: 32
YAML
unset PYTHONDONTWRITEBYTECODE
lead "$SCRATCH/recipe.yaml"
cat "$RUN_DIR/summary.md"
check "the run ends with 0" test "$EXIT_CODE" = 0
check "requests completed and none failed" holds "$RUN_DIR" '.trials[0].accounting | .completed > 20 and (.failed | length) == 0'
check "the books balance" balances "$RUN_DIR"
check "every answer has the asked length" holds "$RUN_DIR" '.trials[0].tokens | .output == .requested_output'
check "no prompt came from vLLM's prefix cache, by its own counters" holds "$RUN_DIR" '.trials[0].server.prefix_cache | .queries > 0 and .hits == 0'
check "vLLM's own output was collected" grep -q "server-0" "$RUN_DIR/logs/aggregated.jsonl"
# The brackets keep the looking process itself from being found.
check "nothing of vLLM is left" sh -c '! pgrep -f "[v]llm.*--port '"$PORT"'" >/dev/null'
check "its port is free again" sh -c '! curl -s -o /dev/null --max-time 2 "http://127.0.0.1:'"$PORT"'/health"'
finish
