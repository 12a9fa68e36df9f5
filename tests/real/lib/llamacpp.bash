# llama.cpp's own server with a tiny model, and a relay before it that notes what it is asked. Sourced after common.bash.
# shellcheck shell=bash

# llamacpp PORT: starts it there, unless $PORT says otherwise; it ends with the suite. Sets PORT and URL.
llamacpp() {
    export PORT=${PORT:-$1}
    "$TESTBED/openai-server-up" >"$SCRATCH/server" || skip "llama.cpp's server cannot be had here"
    trap '"$TESTBED/openai-server-down"' EXIT
    URL=$(sed -n 's/^URL=//p' "$SCRATCH/server")
}

# relayed: a relay before it, which hides the path $HIDDEN, if there is one, and notes in $SCRATCH/asked.jsonl what it is asked. Sets
# DOOR, its port.
relayed() {
    DOOR=$(free_port)
    "$TESTBED/relay" "$DOOR" "$PORT" "$SCRATCH/asked.jsonl" ${HIDDEN:+"$HIDDEN"} &
    RELAY=$!
    trap 'kill $RELAY; "$TESTBED/openai-server-down"' EXIT
    wait_for 10 curl -fs "http://127.0.0.1:$DOOR/health" || { say "the relay does not answer"; exit 1; }
}
