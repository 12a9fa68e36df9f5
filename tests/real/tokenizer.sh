#!/usr/bin/env bash
# A local tokenizer.json before llama.cpp's own server, whose /tokenize is hidden: the server counts what was asked.
set -euo pipefail
. "$(dirname "$0")/lib/common.bash"
. "$HERE/lib/llamacpp.bash"

llamacpp 8089
HIDDEN=/tokenize
relayed
TOKENIZER=${HB_TESTBED:-/var/tmp/hb-testbed}/llamacpp/tiny

ask() { # API TOKENIZER
    cat >"$SCRATCH/recipe.yaml" <<YAML
scenario: tokenizer
orchestration: {mode: local}
servers: {endpoints: ["http://127.0.0.1:$DOOR"]}
workload:
  service: openai
  model: tiny
  api: $1
  concurrency: 4
  requests: 60
  prompt_len: [100, 61]
  gen_tokens: 8
  tokenizer: $2
YAML
    lead "$SCRATCH/recipe.yaml"
    check "$1: the run ends with 0" test "$EXIT_CODE" = 0
    check "$1: every request was answered" holds "$RUN_DIR" 'all(.trials[].accounting; .due == 60 and .completed == 60)'
}

# exact TRIAL TOKENS: the server counts that in every prompt.
exact() { jq -e -s --argjson asked "$2" 'map(.input_tokens) | unique == [$asked]' "$RUN_DIR/$1/requests.jsonl" >/dev/null; }

for api in completions chat; do
    ask $api "$TOKENIZER"
    check "$api: the report says so" holds "$RUN_DIR" 'all(.trials[].tokens; .lengths_by == "tokenizer" and .source == "usage")'
    for trial in $(report "$RUN_DIR" '.trials[].id'); do
        asked=${trial##*-}
        check "$api: the server counts $asked tokens in each prompt" exact "$trial" "$asked"
    done
done

# A tokenizer of another vocabulary: a word a token.
cat >"$SCRATCH/other.json" <<'JSON'
{"version": "1.0", "added_tokens": [], "pre_tokenizer": {"type": "Whitespace"}, "model": {"type": "WordLevel", "vocab": {"?": 0}, "unk_token": "?"}}
JSON
for api in completions chat; do
    ask $api "$SCRATCH/other.json"
    check "$api: lengths go by the server's usage where the tokenizer is another model's" \
        holds "$RUN_DIR" 'all(.trials[].tokens; .lengths_by == "usage")'
    check "$api: and a warning says so" holds "$RUN_DIR" '[.warnings[] | select(contains("is not that of"))] | length >= 1'
done
finish
