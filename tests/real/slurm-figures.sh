#!/usr/bin/env bash
# How long hbnode's own work takes on a real Slurm, from the records of real jobs: submitting, admitting nodes, the phases
# around the load, the end; with 4 nodes and with 16. And how often the scheduler is asked while a job is followed.
# The limits are for an idle machine; the load of this one is printed beside them.
# shellcheck disable=SC2016 # what stands in single quotes is for jq and for other shells
set -euo pipefail
. "$(dirname "$0")/lib/common.bash"
. "$HERE/lib/bed.bash"

bed figures 16 "${FIGURES_SSH_PORT:-8830}"
HB=$HB_TESTBED/hbnode-of-the-site
install -m 755 "$HBNODE" "$HB"
# Slurm's questions, counted: the user's PATH has these first, on the login host, where the binary asks.
SHIMS=$HB_TESTBED/shims
COUNTED=$HB_TESTBED/asked
mkdir -p "$SHIMS"
install -m 666 /dev/null "$COUNTED"
for tool in squeue sacct scontrol sinfo; do
    printf '#!/bin/sh\necho "$(date +%%s) %s" >>%s\nexec /usr/bin/%s "$@"\n' "$tool" "$COUNTED" "$tool" >"$SHIMS/$tool"
done
cp /usr/bin/sbatch "$SHIMS/sbatch"
chmod 755 "$SHIMS" "$SHIMS"/*
counting() { user env PATH="$SHIMS:/usr/bin:/bin" "$@"; }
loaded() { awk '{printf "load of this machine %s on %s cores", $1, n}' n="$(nproc)" /proc/loadavg; }

# below FIGURE SECONDS LIMIT: states a figure beside its limit, which holds for 4 nodes.
below() {
    if [ "$NODES" = 4 ]; then check "$1: $2 s, limit $3 s ($(loaded))" test "$(jq -n "$2 < $3")" = true; else say "$1: $2 s ($(loaded))"; fi
}
# Seconds since 1970 that Slurm holds for the job, in whole ones: StartTime, EndTime.
slurm_time() { date -d "$(user scontrol -o show job "$JOB" | sed -n "s/.* $1=\([^ ]*\) .*/\1/p")" +%s; }
left_on() { on "$1" pgrep -f hbnode-of-the-site; }

# job NODES: submits and follows a job, sets RUN_DIR, SUBMITTED_MS.
job() {
    local began
    small_recipe "of-$1" "$1" >"$HOME_DIR/r.yaml"
    began=$(date +%s%N)
    counting "$HB" run r.yaml --json "${@:2}" >"$SCRATCH/run" 2>"$SCRATCH/err" || { cat "$SCRATCH/err"; return 1; }
    SUBMITTED_MS=$((($(date +%s%N) - began) / 1000000))
    JOB=$(jq -r .job "$SCRATCH/run")
    counting "$HB" fetch --follow "$JOB" >"$SCRATCH/followed" 2>&1 || { tail -n 20 "$SCRATCH/followed"; return 1; }
    RUN_DIR=$(readlink -f "$HOME_DIR/results/of-$1/latest")
}

for NODES in 4 16; do
    say "$NODES nodes"
    job "$NODES"
    below "from run to submitted" "$(jq -n "$SUBMITTED_MS / 1000")" 3
    admitted=$(jq -s --argjson began "$(slurm_time StartTime)" '[.[] | select(.happened.event == "node_joined") | .unix_nanos / 1e9 - $began] | max * 100 | round / 100' "$RUN_DIR/events.jsonl")
    # Slurm's start is cut to whole seconds, so that this is up to 1 s too much.
    below "from the job's start to all nodes admitted" "$admitted" 3
    jq -c '.run.phase_seconds' "$RUN_DIR/report.json"
    # The load itself: warm-up and window.
    below "our phases beside the load and the service's start" "$(report "$RUN_DIR" '.run.phase_seconds | ([.[]] | add) - .service_deployment - 7 | . * 100 | round / 100')" 5
    below "teardown" "$(report "$RUN_DIR" '.run.phase_seconds.teardown | . * 100 | round / 100')" 10
    say "the job as a whole: $(($(slurm_time EndTime) - $(slurm_time StartTime))) s by Slurm's clock, 7 s of them load"
    check "$NODES nodes took part" holds "$RUN_DIR" ".trials[0].resources.nodes | length == $NODES"
    check "all clients sent" test "$(jq -r .node "$RUN_DIR"/trial/requests.jsonl | sort -u | wc -l)" = $((NODES - 1))
    check "the books balance" balances "$RUN_DIR"
    left=0
    for ((n = 1; n <= NODES; n++)); do ! left_on "$(printf 'node%03d' "$n")" || left=1; done
    check "nothing is left on any host" test "$left" = 0
done

say "how often the scheduler is asked while a job is followed"
: >"$COUNTED"
NODES=4
job 4 --set workload.duration=100s
cut -d' ' -f2 "$COUNTED" | sort | uniq -c
# What one job asked: the submission's own look at the partitions, and then no more than 4 in any 60 s.
most=$(jq -Rn '[inputs | split(" ")[0] | tonumber] as $at | [$at[] as $from | [$at[] | select(. >= $from and . < $from + 60)] | length] | max // 0' < <(grep -v sinfo "$COUNTED"))
say "most questions in any 60 s: $most"
check "the scheduler was asked through the counted commands" test "$most" -gt 0
check "and at most 4 times in any minute" test "$most" -le 4
finish
