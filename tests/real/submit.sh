#!/usr/bin/env bash
# From an empty home folder to a fetched report: on the login host itself, and over ssh from outside. A real Slurm
# that is as strict as a production site takes the jobs. What is refused is a suite of its own: submit-refused.sh.
set -euo pipefail
. "$(dirname "$0")/lib/common.bash"
. "$HERE/lib/bed.bash"

bed submit 3 "${SUBMIT_SSH_PORT:-8824}" --strict
CONFIG=$HB_TESTBED/ssh_config
# What the person has: the binary and a recipe, nothing else. On the login host the binary is on no shared folder.
mkdir -p "$SCRATCH/laptop"
chmod 755 "$SCRATCH"

small_recipe submitted 3 >"$SCRATCH/laptop/r.yaml"
install -m 755 "$HBNODE" "$HB_TESTBED/hbnode-of-the-site"
install -m 644 "$SCRATCH/laptop/r.yaml" "$HOME_DIR/r.yaml"
HB=$HB_TESTBED/hbnode-of-the-site
# A verdict is about the figures; beside other work on this machine they may be doubtful, and still whole.
is_believed() { holds "$1" '.verdict.status == "VALID" or (.verdict.status == "SUSPECT" and all(.verdict.reasons[]; .code | test("stall|cpu|foreign|lag|clock")))'; }
whole() { holds "$1" '.run.complete and (.trials | length == 1) and (.trials[0].accounting | .due > 0 and .due == .completed)'; }

say "on the login host, by its user"
check "a dry run prints the script" sh -c "\"\$@\" >'$SCRATCH/dry' && grep -q '^srun --no-kill --kill-on-bad-exit=0' '$SCRATCH/dry'" - \
    "$TESTBED/on-host" -u bench login env -C "$HOME_DIR" HOME="$HOME_DIR" "$HB" run --dry-run r.yaml
check "and does nothing" test ! -e "$HOME_DIR/hbnode" -a ! -e "$HOME_DIR/.local"
began=$(date +%s%N)
user "$HB" run --recipe r.yaml --json >"$SCRATCH/run" 2>"$SCRATCH/run.err" || cat "$SCRATCH/run.err"
say "submitted after $((($(date +%s%N) - began) / 1000000)) ms"
cat "$SCRATCH/run" "$SCRATCH/run.err"
JOB=$(jq -r .job "$SCRATCH/run")
user "$HB" status
check "the job is in the list" sh -c "user_status() { \"\$@\"; }; user_status \"\$@\" | jq -e '.[0].job == $JOB and .[0].scenario == \"submitted\"' >/dev/null" - \
    "$TESTBED/on-host" -u bench login env -C "$HOME_DIR" HOME="$HOME_DIR" "$HB" status --json
check "results of a job that goes on are not fetched" sh -c '! "$@" 2>/dev/null' - \
    "$TESTBED/on-host" -u bench login env -C "$HOME_DIR" HOME="$HOME_DIR" "$HB" fetch "$JOB"
check "fetch waits for the job, and ends with 0" user timeout 120 "$HB" fetch --follow "$JOB"
RUN_DIR=$(readlink -f "$HOME_DIR/results/submitted/latest")
check "the report is whole" whole "$RUN_DIR"
check "the report is believed" is_believed "$RUN_DIR"
check "three nodes took part" holds "$RUN_DIR" '.trials[0].resources.nodes | length == 3'
check "the books balance" balances "$RUN_DIR"
check "the scheduler holds the job for a success" wait_for 20 sh -c "'$TESTBED/on-host' -u bench login scontrol -o show job $JOB | grep -q 'JobState=COMPLETED .*ExitCode=0:0'"
check "the job's files are for its owner alone" sh -c "! find '$HOME_DIR/hbnode/jobs' -maxdepth 2 -perm /077 | grep -q ."
user "$HB" status "$JOB"
check "the output can be read" sh -c '"$@" | grep -q "^verdict: "' - "$TESTBED/on-host" -u bench login env HOME="$HOME_DIR" "$HB" logs "$JOB"
check "and of one node alone" sh -c '"$@" | grep -q "\[server-0\]"' - "$TESTBED/on-host" -u bench login env HOME="$HOME_DIR" "$HB" logs "$JOB" node001
silent() { { user "$HB" logs "$JOB" node009 2>&1 || true; } | grep "^error: nothing was written on .node009.; there is output of node001"; }
check "a node that wrote nothing is told with those that did" silent

followed() { timeout 60 "$TESTBED/on-host" -u bench login env HOME="$HOME_DIR" "$HB" logs -f "$JOB" node001 | grep -q "\[server-0\]"; }
check "following one node ends with its job" followed

say "from outside over ssh, components that differ"
began=$(date +%s%N)
outside run r.yaml --host login --ssh-config "$CONFIG" --set resources.clients.cpus_per_task=2 --json >"$SCRATCH/run" 2>"$SCRATCH/run.err" || cat "$SCRATCH/run.err"
say "submitted after $((($(date +%s%N) - began) / 1000000)) ms"
JOB=$(jq -r .job "$SCRATCH/run")
check "it waits or runs as a heterogeneous job" sh -c "'$TESTBED/on-host' -u bench login squeue -h -o %i | grep -q '^$JOB+1'"
check "it is followed to its end" outside fetch --follow "$JOB"
RUN_DIR=$(readlink -f "$SCRATCH/laptop/results/submitted/latest")
check "the report is whole" whole "$RUN_DIR"
check "the books balance" balances "$RUN_DIR"
check "job output and script came along" test -s "$RUN_DIR/job/slurm-$JOB.out" -a -s "$RUN_DIR/job/job.sh"

say "a connection that is lost while the job is followed"
following_code=0
outside run r.yaml --host login --ssh-config "$CONFIG" --set workload.duration=40s --follow >"$SCRATCH/followed" 2>&1 &
following=$!
check "the run comes to its execution" wait_for 90 grep -q "── execution" "$SCRATCH/followed"
check "the live page is at a port of this machine" wait_for 30 grep -q "^live page: http://127.0.0.1:" "$SCRATCH/followed"
PAGE=$(sed -n 's/^live page: //p' "$SCRATCH/followed")
check "and a browser finds it there" sh -c "curl -fsS '$PAGE' | grep -q submitted"
check "the figures of the load are shown as it runs" wait_for 30 grep -q "requests/s" "$SCRATCH/followed"
"$TESTBED/cut" --freeze login >/dev/null
check "the loss is told of" wait_for 90 grep -q "trying again" "$SCRATCH/followed"
"$TESTBED/heal" login >/dev/null
wait "$following" || following_code=$?
grep -v "^$" "$SCRATCH/followed" | tail -n 12
check "it goes on by itself and ends with 0" test "$following_code" = 0
check "nothing is told twice" test "$(grep -c "── execution" "$SCRATCH/followed")" = 1
check "the report is whole" whole "$(readlink -f "$SCRATCH/laptop/results/submitted/latest")"

say "the notice before the limit, and cancelling"
outside run r.yaml --host login --ssh-config "$CONFIG" --set workload.duration=5m --json >"$SCRATCH/run" 2>/dev/null
JOB=$(jq -r .job "$SCRATCH/run") DIR=$(jq -r .dir "$SCRATCH/run")
measuring() { grep -qs '"execution"' "$1"/results/*/*/events.jsonl*; }
check "the run comes to its execution" wait_for 60 measuring "$DIR"
"$TESTBED/on-host" -u bench login scancel --batch --signal=USR1 "$JOB"
check "the notice makes it report what it has" wait_for 60 sh -c "ls '$DIR'/results/*/*/report.json"
outside fetch --follow "$JOB" >"$SCRATCH/fetched" 2>&1 || true
RUN_DIR=$(readlink -f "$SCRATCH/laptop/results/submitted/latest")
check "the report is of a part" holds "$RUN_DIR" '.run.complete | not'
check "no node was lost by it" holds "$RUN_DIR" '[.trials[].verdict.reasons[].code] | index("node_lost") == null'
outside run r.yaml --host login --ssh-config "$CONFIG" --set workload.duration=5m --json >"$SCRATCH/run" 2>/dev/null
JOB=$(jq -r .job "$SCRATCH/run")
check "a job is cancelled" outside cancel "$JOB"
gone() { ! "$TESTBED/on-host" -u bench login squeue -h -o %A | grep -q .; }
check "and is gone from the queue" wait_for 60 gone
outside status
check "no process is left on the nodes" sh -c "for host in node001 node002 node003; do ! '$TESTBED/on-host' \$host pgrep -f 'bin/hbnode-' || exit 1; done"

finish
