#!/usr/bin/env bash
# A run against llama.cpp's own server, which nobody here wrote: the totals must be the server's own.
set -euo pipefail
. "$(dirname "$0")/lib/common.bash"
. "$HERE/lib/llamacpp.bash"

llamacpp 8089

# The server's own count of generated tokens.
generated() { curl -fs "$URL/metrics" | awk '$1 == "llamacpp:tokens_predicted_total" {print int($2)}'; }

cat >"$SCRATCH/recipe.yaml" <<YAML
scenario: llamacpp
orchestration: {mode: local}
servers: {endpoints: ["$URL"]}
workload:
  service: openai
  model: tiny
  api: completions
  concurrency: 4
  requests: 200
  warmup: 1s
  prompt_len: 32
  gen_tokens: 32
YAML

before=$(generated)
lead "$SCRATCH/recipe.yaml"
after=$(generated)
cat "$RUN_DIR/summary.md"

check "the run ends with 0" test "$EXIT_CODE" = 0
check "200 requests were due and completed" holds "$RUN_DIR" '.trials[0].accounting | .due == 200 and .completed == 200'
check "the books balance" balances "$RUN_DIR"
check "times to the first token were measured" holds "$RUN_DIR" '.trials[0].latency.ttft_seconds | .count == 200 and .p50 > 0'
check "tokens are counted by the server's usage" holds "$RUN_DIR" '.trials[0].tokens.source == "usage"'
# The readiness completion and the warm-up generate tokens too, so the rows of every phase are added.
ours=$(jq -s 'map(.output_tokens // 0) | add' "$RUN_DIR"/*/requests.jsonl)
server=$((after - before))
say "tokens in our rows: $ours; by the server's counter: $server"
check "our tokens are the server's, but for the readiness completion" test $((server - ours)) -ge 0 -a $((server - ours)) -le 64
finish
