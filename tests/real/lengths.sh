#!/usr/bin/env bash
# Chats with llama.cpp's own server have the asked length by its own count, whether it tells tokens by /tokenize or by usage alone.
set -euo pipefail
. "$(dirname "$0")/lib/common.bash"
. "$HERE/lib/llamacpp.bash"

llamacpp 8089
HIDDEN=/tokenize
relayed

chats() { # PORT LENGTHS_BY
    cat >"$SCRATCH/recipe.yaml" <<YAML
scenario: lengths
orchestration: {mode: local}
servers: {endpoints: ["http://127.0.0.1:$1"]}
workload:
  service: openai
  model: tiny
  api: chat
  concurrency: 4
  requests: 200
  prompt_len: [64, 128, 512]
  gen_tokens: 4
YAML
    : >"$SCRATCH/asked.jsonl"
    lead "$SCRATCH/recipe.yaml"
    check "$2: the run ends with 0" test "$EXIT_CODE" = 0
    check "$2: the report says so" holds "$RUN_DIR" "all(.trials[].tokens; .lengths_by == \"$2\" and .source == \"usage\")"
    report "$RUN_DIR" '.trials[] | "\(.id): \(.tokens.requested_input) asked for, \(.tokens.input) served"'
    # Its vocabulary is so small that a word has one to seven tokens, and lengths are right on average.
    check "$2: no prompts are named for their length" holds "$RUN_DIR" 'all(.trials[].verdict.reasons[]; .code != "prompt_length")'
}

chats "$PORT" tokenize
chats "$DOOR" usage
# shellcheck disable=SC2016 # words of jq
check "usage: a long and a short completion were asked before the load" jq -es \
    'map(select(.path == "/v1/chat/completions").body.messages[0].content / " " | length) | .[0] == 256 and .[1] == 4' "$SCRATCH/asked.jsonl"
finish
