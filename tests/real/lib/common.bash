# Shared by the suites in this folder: where the binary is, how a check is stated, how a suite is skipped.
# Sourced, not run.
# shellcheck shell=bash

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
REPO=$(cd "$HERE/../.." && pwd)
TESTBED=$REPO/tests/testbed
SUITE=$(basename "$0" .sh)
SCRATCH=$(mktemp -d "${TMPDIR:-/tmp}/hb-$SUITE.XXXXXX")
passed=0
failed=0

# The binary under test: $HBNODE, else the release build, made now if it is not there.
if [ -z "${HBNODE:-}" ]; then
    HBNODE=$REPO/target/release/hbnode
    [ -x "$HBNODE" ] || (cd "$REPO" && cargo build --release --quiet)
fi

say() { printf '%s: %s\n' "$SUITE" "$*"; }

# A suite that cannot run here says so and ends well: SKIPPED is neither passed nor failed.
skip() {
    say "SKIPPED: $*"
    exit 0
}

# check "statement" COMMAND…: the statement is true when the command succeeds.
check() {
    local statement=$1
    shift
    if "$@"; then
        passed=$((passed + 1))
        say "ok: $statement"
    else
        failed=$((failed + 1))
        say "NOT TRUE: $statement"
    fi
}

# report DIR FILTER: a value out of DIR/report.json.
report() { jq -r "$2" "$1/report.json"; }

# holds DIR EXPRESSION: the expression is true of DIR/report.json.
holds() { jq -e "$2" "$1/report.json" >/dev/null || { jq "$2" "$1/report.json"; return 1; }; }

# lead ARGS…: runs `hbnode --leader ARGS --json`, sets RUN_DIR and EXIT_CODE.
lead() {
    EXIT_CODE=0
    "$HBNODE" --leader "$@" --results "$SCRATCH/results" --json >"$SCRATCH/out" 2>"$SCRATCH/err" || EXIT_CODE=$?
    RUN_DIR=$(tail -n 1 "$SCRATCH/out" | jq -r '.run_dir // empty' 2>/dev/null || true)
    [ -n "$RUN_DIR" ] || { say "no run folder; the leader said:"; tail -n 30 "$SCRATCH/err"; }
}

# balances DIR: in every trial the outcomes add up to what was due, and the rows are as many.
balances() {
    local dir=$1 id due rows
    holds "$dir" 'all(.trials[]; .accounting | .due == .completed + .timed_out + .cancelled + .lost
        + ([.failed[]?] | add // 0) + ([.dropped[]?] | add // 0))' || return 1
    while read -r id due; do
        rows=$(jq -c 'select(.phase == "measure")' "$dir/$id/requests.jsonl" | wc -l)
        [ "$rows" = "$due" ] || { say "$id: $rows rows, $due due"; return 1; }
    done < <(jq -r '.trials[] | "\(.id) \(.accounting.due)"' "$dir/report.json")
}

# wait_for SECONDS COMMAND…: until the command succeeds, or the time is over.
wait_for() {
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.2
    done
}

# free_port: a port that nobody listens on now.
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

finish() {
    printf '%s: %s passed, %s failed\n' "$SUITE" "$passed" "$failed"
    if [ "$failed" = 0 ]; then rm -rf "$SCRATCH"; else say "kept: $SCRATCH"; fi
    [ "$failed" = 0 ]
}
