#!/usr/bin/env bash
# Faults for real, on one machine with real processes: a panicking executor, a killed worker, a killed leader,
# a killed worker that runs a server, and Ctrl-C in each phase. What the report says, the books, and what is left.
set -euo pipefail
. "$(dirname "$0")/lib/common.bash"

# Everything that a run starts carries the results folder or the guard in its words; nothing of it may stay.
MARK=$SCRATCH
left() { pgrep -f -- "$MARK" | grep -vx "$$" || true; }
none_left() { [ -z "$(left)" ]; }
nothing_is_left() { wait_for 25 none_left; }
# A fault belongs into the measured window: a second of warm-up has passed, and so have the windows that were to be reported.
into_the_window() { sleep 4; }

recipe() { # recipe NAME DURATION [FURTHER WORKLOAD LINE]
    cat >"$SCRATCH/$1.yaml" <<YAML
scenario: $1
orchestration:
  mode: local
  node_allocation:
    servers: {nodes: 1}
    clients: {nodes: 3, clients_per_node: 4}
workload:
  service: dummy
  model: dummy
  warmup: 1s
  duration: $2
  ${3:-}
servers:
  service_config: {ttft: 20ms, tpot: 2ms}
YAML
}
begin() { # begin NAME ARGS…: leads in the background
    local name=$1
    shift
    "$HBNODE" --leader "$SCRATCH/$name.yaml" --results "$SCRATCH/results" --json "$@" >"$SCRATCH/$name.out" 2>"$SCRATCH/$name.err" &
    LEADER=$!
}
in_phase() { grep -qs "\"$2\"" "$SCRATCH/results/$1"/*/events.jsonl; }
run_dir() { find "$SCRATCH/results/$1" -maxdepth 1 -mindepth 1 -type d | sort | tail -n 1; }
# The worker that is a client (or the one with the server), by the words of its children.
with_server() { pgrep -P "$1" -f "__guard" >/dev/null; }
workers() { pgrep -P "$LEADER" -f -- "--join" || true; }

say "(1) an executor is made to panic by a drill"
recipe drill 8s "drills: [{at: 3s, kill: executor}]"
EXIT=0; begin drill --local-nodes 4; wait "$LEADER" || EXIT=$?
DIR=$(run_dir drill)
cat "$DIR/summary.md"
check "the run goes on to its end" test "$EXIT" = 0
check "the verdict says that an executor was restarted" holds "$DIR" '.trials[0].verdict | .status == "SUSPECT" and ([.reasons[].code] | index("executor_restarted") != null)'
check "what was in flight is lost, and no more" holds "$DIR" '.trials[0].accounting.lost | . >= 1 and . <= 4'
check "the books balance" balances "$DIR"
check "nothing is left" nothing_is_left

say "(2) a worker is killed"
recipe worker 25s
begin worker --local-nodes 4
check "it comes to its execution" wait_for 30 in_phase worker execution
into_the_window
victim=''
for pid in $(workers); do with_server "$pid" || victim=$pid; done
check "a client node is found" test -n "$victim"
kill -9 "$victim"
EXIT=0; wait "$LEADER" || EXIT=$?
DIR=$(run_dir worker)
cat "$DIR/summary.md"
check "the verdict names the lost node" holds "$DIR" '[.trials[0].verdict.reasons[].code] | index("node_lost") != null'
check "requests are lost" holds "$DIR" '.trials[0].accounting.lost > 0'
check "the books balance" balances "$DIR"
check "nothing is left" nothing_is_left

say "(3) the leader is killed"
recipe leader 60s
begin leader --local-nodes 4
check "it comes to its execution" wait_for 30 in_phase leader execution
into_the_window
kill -9 "$LEADER"; wait "$LEADER" 2>/dev/null || true
check "workers and servers end by themselves" nothing_is_left

say "(4) a worker that runs a server is killed"
recipe server 30s
begin server --local-nodes 4
check "it comes to its execution" wait_for 30 in_phase server execution
into_the_window
victim=''
for pid in $(workers); do if with_server "$pid"; then victim=$pid; fi; done
check "the server's node is found" test -n "$victim"
kill -9 "$victim"
EXIT=0; wait "$LEADER" || EXIT=$?
DIR=$(run_dir server)
cat "$DIR/summary.md"
check "the run fails and says why" test "$EXIT" = 1
check "the books balance" balances "$DIR"
check "nothing is left, the server included" nothing_is_left

say "(5) Ctrl-C in each phase"
recipe interrupted 20s
for phase in initialization service_deployment monitoring_setup client_launch execution teardown report; do
    rm -rf "$SCRATCH/results/interrupted"
    [ "$phase" = teardown ] || [ "$phase" = report ] && sed -i 's/duration: .*/duration: 2s/' "$SCRATCH/interrupted.yaml"
    begin interrupted
    wait_for 30 in_phase interrupted "$phase" || true
    kill -INT "$LEADER" 2>/dev/null || true
    started=$SECONDS
    EXIT=0; wait "$LEADER" || EXIT=$?
    DIR=$(run_dir interrupted)
    say "$phase: exit $EXIT after $((SECONDS - started)) s, complete: $(report "$DIR" .run.complete)"
    # An interrupt that comes when the report is being written may find the run over already.
    case $phase in
    teardown | report) check "$phase: 130, or the run was over" test "$EXIT" = 130 -o "$EXIT" = 0 -o "$EXIT" = 3 ;;
    *) check "$phase: 130" test "$EXIT" = 130 ;;
    esac
    check "$phase: a valid report is there" holds "$DIR" '.schema_version != null'
    check "$phase: within 15 s" test $((SECONDS - started)) -le 15
    check "$phase: nothing is left" nothing_is_left
done
finish
