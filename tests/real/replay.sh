#!/usr/bin/env bash
# Traces in the shapes of Mooncake and BurstGPT, replayed against llama.cpp's own server: each request at its instant,
# prompts and answers as long as the trace says, to the token, by the server's own count.
set -euo pipefail
. "$(dirname "$0")/lib/common.bash"
. "$HERE/lib/llamacpp.bash"

llamacpp 8091

# Four requests on each tick of 3 s, as in the public conversation trace; a block of 512 tokens has one id.
python3 - "$SCRATCH" <<'PY'
import json, sys
folder = sys.argv[1]
with open(folder + "/mooncake.jsonl", "w") as trace:
    for n in range(24):
        entry = {"timestamp": n // 4 * 3000, "input_length": 24 + 7 * n, "output_length": 4 + n % 9, "hash_ids": [0 if n % 2 else n]}
        trace.write(json.dumps(entry) + "\n")
with open(folder + "/burstgpt.csv", "w") as trace:
    trace.write("Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n")
    for n in range(24):
        answer = 0 if n == 5 else 3 + n % 7
        trace.write(f"{100 + n * n // 4},ChatGPT,{20 + 5 * n},{answer},{20 + 5 * n + answer},Conversation log\n")
PY

# replay FILE SCALE: leads a run that replays it.
replay() {
    cat >"$SCRATCH/recipe.yaml" <<YAML
scenario: replay
orchestration: {mode: local}
servers: {endpoints: ["$URL"]}
workload:
  service: openai
  model: tiny
  api: completions
  request_distribution: trace
  dataset: {path: "$1", time_scale: $2}
  warmup: 0s
YAML
    lead "$SCRATCH/recipe.yaml"
    ROWS=$(echo "$RUN_DIR"/*/requests.jsonl)
}

# rows_are FILE: milliseconds after the first request, prompt tokens, and answer tokens asked and served, of each row are
# those lines. The server takes token ids, so prompts are exact.
rows_are() {
    diff <(jq -rs '.[0].due as $first | .[] | "\((.due - $first) * 1000 | round) \(.input_tokens) \(.asked_tokens) \(.output_tokens)"' "$ROWS") "$1"
}

replay "$SCRATCH/mooncake.jsonl" 0.25
cat "$RUN_DIR/summary.md"
check "the Mooncake trace: all of its requests were due and completed" holds "$RUN_DIR" '.trials[0].accounting | .due == 24 and .completed == 24'
check "the books balance" balances "$RUN_DIR"
jq -r '"\(.timestamp * 0.25 | round) \(.input_length) \(.output_length) \(.output_length)"' "$SCRATCH/mooncake.jsonl" >"$SCRATCH/expected"
check "each at its instant, a quarter of the trace's, with its two lengths by the server's own count" rows_are "$SCRATCH/expected"

replay "$SCRATCH/burstgpt.csv" 0.05
cat "$RUN_DIR/summary.md"
check "the BurstGPT trace: all that were answered were due and completed" holds "$RUN_DIR" '.trials[0].accounting | .due == 23 and .completed == 23'
check "the books balance" balances "$RUN_DIR"
awk -F, 'NR > 1 && $4 > 0 {printf "%d %d %d %d\n", ($1 - 100) * 50, $3, $4, $4}' "$SCRATCH/burstgpt.csv" >"$SCRATCH/expected"
check "each at its instant, a twentieth of the trace's, with its two lengths by the server's own count" rows_are "$SCRATCH/expected"

# A trace that goes back in time is told with its line, before anything is sent.
sed -i '9s/"timestamp": [0-9]*/"timestamp": 1/' "$SCRATCH/mooncake.jsonl"
replay "$SCRATCH/mooncake.jsonl" 0.25
check "a trace that goes back in time ends the run before it starts" test "$EXIT_CODE" = 2
check "and is told with its line" grep 'goes back in time at line 9' "$SCRATCH/err"
finish
