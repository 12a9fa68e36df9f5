#!/usr/bin/env bash
# Conversations with llama.cpp's own server: the second request really holds what the server answered to the first.
set -euo pipefail
. "$(dirname "$0")/lib/common.bash"
. "$HERE/lib/llamacpp.bash"

llamacpp 8089
relayed

talk() { # API
    cat >"$SCRATCH/recipe.yaml" <<YAML
scenario: turns
orchestration: {mode: local}
servers: {endpoints: ["http://127.0.0.1:$DOOR"]}
workload:
  service: openai
  model: tiny
  api: $1
  turns: 3
  sleep_seconds: 10ms
  concurrency: 2
  requests: 12
  prompt_len: 24
  gen_tokens: 16
YAML
    : >"$SCRATCH/asked.jsonl"
    lead "$SCRATCH/recipe.yaml"
    check "$1: the run ends with 0" test "$EXIT_CODE" = 0
    check "$1: 12 turns were due and completed" holds "$RUN_DIR" '.trials[0].accounting | .due == 12 and .completed == 12'
    check "$1: the books balance" balances "$RUN_DIR"
    check "$1: four conversations were whole" holds "$RUN_DIR" '.trials[0].conversations | .begun == 4 and .whole == 4'
}

# The server's answer to a body, asked once more; temperature is 0, so it says the same.
answer() { # BODY PATH FILTER
    jq -c '.stream = false | del(.stream_options)' <<<"$1" | curl -fs "http://127.0.0.1:$PORT$2" -H 'content-type: application/json' -d @- | jq -j "$3"
}

talk completions
first=$(jq -c 'select(.path == "/v1/completions" and (.body.prompt | contains("\n") | not) and .body.max_tokens == 16).body' "$SCRATCH/asked.jsonl" | head -n 1)
said=$(jq -j .prompt <<<"$first"; answer "$first" /v1/completions '.choices[0].text')
say "the first prompt and its answer: $said"
# shellcheck disable=SC2016 # a variable of jq
check "completions: the second prompt begins with the first one and its answer" \
    jq -es --arg said "$said" 'map(select(.path == "/v1/completions" and (.body.prompt | startswith($said + "\n")))) | length >= 1' "$SCRATCH/asked.jsonl"

talk chat
second=$(jq -c 'select(.path == "/v1/chat/completions" and (.body.messages | length) == 3).body' "$SCRATCH/asked.jsonl" | head -n 1)
carried=$(jq -j '.messages[1].content' <<<"$second")
again=$(answer "$(jq -c '.messages |= .[:1]' <<<"$second")" /v1/chat/completions '.choices[0].message.content')
say "the second turn carries: $carried"
check "chat: the second turn carries the server's answer to the first" test "$carried" = "$again" -a -n "$carried"
finish
