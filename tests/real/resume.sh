#!/usr/bin/env bash
# A job that ends before its run is through, on a real Slurm: the next one goes on, a requeued one goes on by itself,
# and nothing that was finished is measured again. Then an allocation without a step.
set -euo pipefail
. "$(dirname "$0")/lib/common.bash"
. "$HERE/lib/bed.bash"

bed resume 3 "${RESUME_SSH_PORT:-8826}"
HB=$HB_TESTBED/hbnode-of-the-site
install -m 755 "$HBNODE" "$HB"
is_over() { ! user squeue -h -j "$1" -t all -o %T 2>/dev/null | grep -Eq 'PENDING|CONFIGURING|RUNNING|COMPLETING'; }
# submitted ARGS…: runs `hbnode run ARGS --json`, sets JOB and DIR.
submitted() {
    user "$HB" run "$@" --json >"$SCRATCH/run" 2>"$SCRATCH/run.err" || { cat "$SCRATCH/run.err"; return 1; }
    JOB=$(jq -r .job "$SCRATCH/run") DIR=$(jq -r .dir "$SCRATCH/run")
}
newest_run() { find "$1/results" -mindepth 2 -maxdepth 2 -type d ! -path '*/.hbnode/*' | sort | tail -n 1; }

# recipe SCENARIO WORKLOAD TIME_LIMIT
recipe() {
    cat <<YAML
scenario: $1
partition: cpu
account: p200981
qos: default
orchestration:
  mode: slurm
  total_nodes: 3
  node_allocation:
    servers: {nodes: 1}
    clients: {nodes: 2}
  job_config: {time_limit: "$3"}
resources:
  servers: {gpus: 0, cpus_per_task: 1, mem_gb: 1}
  clients: {gpus: 0, cpus_per_task: 1, mem_gb: 1}
workload:
  service: dummy
  model: dummy
  concurrency: 4
  warmup: 0s
  $2
servers:
  service_config: {ttft: 50ms, tpot: 5ms}
artifacts: {runtime: bare}
YAML
}

say "a trial that would outlast the job"
recipe outlasting "duration: [20s, 45s]" "00:03:00" >"$HOME_DIR/r.yaml"
submitted r.yaml
check "the job ends by itself before its limit" wait_for 150 is_over "$JOB"
RUN_DIR=$(newest_run "$DIR")
cat "$RUN_DIR/summary.md"
check "one trial was measured" holds "$RUN_DIR" '(.trials | length == 1) and .trials[0].complete and (.run.complete | not)'
check "the report says what is left" holds "$RUN_DIR" 'any(.warnings[]; test("left: duration-45s; .*hbnode run --resume '"$JOB"'"))'
# 45 s of load, and 5 s in which the client measures its own floor: the run is longer than 60 s.
check "and why" holds "$RUN_DIR" '.run.incomplete_reason | startswith("ended by the wall-time limit: duration-45s needs 50s")'
cp "$RUN_DIR/duration-20s/trial.json" "$SCRATCH/first.json"
FIRST=$JOB
check "a dry run shows how it goes on" sh -c '"$@" | grep -q -- "--resume results/outlasting/"' - \
    "$TESTBED/on-host" -u bench login env -C "$HOME_DIR" HOME="$HOME_DIR" "$HB" run --resume "$JOB" --dry-run
submitted --resume "$JOB"
again() { { user "$HB" run --resume "$FIRST" 2>&1 || true; } | tee "$SCRATCH/again" | grep "job $JOB is not over"; }
check "resumed a second time, it names the job that goes on with it" again
check "and submits nothing" test "$("$TESTBED/on-host" -u bench login squeue -h -o %A | sort -u | wc -l)" = 1
user "$HB" status
check "its continuation is another job in the same folder" test "$JOB" != "$FIRST" -a -s "$DIR/job.id"
check "it is followed to its end" user timeout 150 "$HB" fetch --follow "$JOB"
FETCHED=$(readlink -f "$HOME_DIR/results/outlasting/latest")
cat "$FETCHED/summary.md"
check "the whole is complete" holds "$FETCHED" '.run.complete and (.trials | length == 2) and all(.trials[]; .complete)'
check "the parts name both jobs" holds "$FETCHED" '[.run.parts[].job] == ["'"$FIRST"'", "'"$JOB"'"]'
check "each with its nodes and trials" holds "$FETCHED" 'all(.run.parts[]; (.nodes | length == 3) and (.trials | length == 1))'
check "the finished trial is as it was" cmp -s "$RUN_DIR/duration-20s/trial.json" "$SCRATCH/first.json"
check "the books balance" balances "$FETCHED"
check "the outputs of both jobs came along" test -s "$FETCHED/job/slurm-$FIRST.out" -a -s "$FETCHED/job/slurm-$JOB.out"
check "nothing is left to do" sh -c '"$@" 2>&1 | grep -q "nothing to do"' - \
    "$TESTBED/on-host" -u bench login env -C "$HOME_DIR" HOME="$HOME_DIR" "$HB" run --resume "$JOB"

say "a job that is requeued"
recipe requeued "duration: [12s, 13s, 14s]" "00:10:00" >"$HOME_DIR/q.yaml"
submitted q.yaml --set 'orchestration.job_config.extra_sbatch=[--requeue]'
begun() { grep -qs '"trial_begun","number":2' "$DIR"/results/*/*/events.jsonl; }
check "it comes to its second trial" wait_for 90 begun
"$TESTBED/on-host" login scontrol requeue "$JOB"
waits() { user squeue -h -j "$JOB" -o %T | grep -q PENDING; }
check "it waits again" wait_for 60 waits
user "$HB" status "$JOB"
check "and is not taken for over" sh -c '! "$@" 2>/dev/null' - \
    "$TESTBED/on-host" -u bench login env -C "$HOME_DIR" HOME="$HOME_DIR" "$HB" fetch "$JOB"
# Slurm holds a requeued job for two minutes.
"$TESTBED/on-host" login scontrol update "JobId=$JOB" StartTime=now
check "it comes to its end" wait_for 180 is_over "$JOB"
RUN_DIR=$(newest_run "$DIR")
cat "$RUN_DIR/summary.md"
check "it went on in the same run" test "$(find "$DIR/results/requeued" -mindepth 1 -maxdepth 1 -type d | wc -l)" = 1
check "three trials are complete" holds "$RUN_DIR" '.run.complete and (.trials | length == 3) and all(.trials[]; .complete)'
check "the parts are of one job" holds "$RUN_DIR" '(.run.parts | length == 2) and ([.run.parts[].job] | unique == ["'"$JOB"'"]) and ([.run.parts[].restart] == [0, 1])'
check "the first trial was not repeated" holds "$RUN_DIR" '.run.parts[1].trials == ["duration-13s", "duration-14s"]'
check "the books balance" balances "$RUN_DIR"
check "the job's output was not overwritten" test "$(grep -c 'live page' "$DIR/slurm-$JOB.out")" = 2

say "a job whose shell is told to end"
recipe told "duration: 5m" "00:20:00" >"$HOME_DIR/t.yaml"
submitted t.yaml
# A batch is on disk.
measures() { [ -n "$(find "$DIR/results" -name 'batches*' -size +0)" ]; }
check "it comes to its execution" wait_for 60 measures
"$TESTBED/on-host" -u bench login scancel --batch --signal=TERM "$JOB"
check "it ends" wait_for 60 is_over "$JOB"
RUN_DIR=$(newest_run "$DIR")
check "with a report of its part" holds "$RUN_DIR" '(.run.complete | not) and (.trials | length == 1)'

say "an allocation without a step"
recipe by-hand "duration: 5s" "00:10:00" >"$HOME_DIR/s.yaml"
allocated() { user timeout 120 salloc -Q -N3 --ntasks-per-node=2 -p cpu -t 10 "$@"; }
code=0
allocated "$HB" --leader s.yaml --json >"$SCRATCH/out" 2>"$SCRATCH/err" || { code=$?; tail -n 20 "$SCRATCH/err"; }
check "it ends with the leader's code" test "$code" = 0
check "and with the contract's last line" test "$(tail -n 1 "$SCRATCH/out" | jq .exit_code)" = 0
RUN_DIR=$(tail -n 1 "$SCRATCH/out" | jq -r .run_dir)
check "one task ran on each of three nodes" holds "$RUN_DIR" '.run.complete and (.trials[0].resources.nodes | length == 3)'
check "the books balance" balances "$RUN_DIR"
code=0
allocated "$HB" --leader s.yaml --set workload.duration=5m --json >"$SCRATCH/out" 2>"$SCRATCH/err" &
allocated=$!
executes() { [ "$(find "$HOME_DIR/results/by-hand" -name 'batches*' -size +0 | wc -l)" = 2 ]; }
check "a second one comes to its execution" wait_for 60 executes
# The kernel keeps 15 letters of a name.
check "Ctrl-C reaches it" wait_for 10 "$TESTBED/on-host" login pkill -INT -x hbnode-of-the-s
wait "$allocated" || code=$?
tail -n 4 "$SCRATCH/err"
check "Ctrl-C ends it with its report" test "$code" = 130
RUN_DIR=$(tail -n 1 "$SCRATCH/out" | jq -r .run_dir)
check "which is of a part" holds "$RUN_DIR" '(.run.complete | not) and (.trials | length == 1)'
code=0
allocated "$HB" --leader s.yaml --set workload.service=nope --json >"$SCRATCH/out" 2>"$SCRATCH/err" || code=$?
check "a wrong recipe is refused before any step" test "$code" = 2
check "nothing stays behind of the way in" sh -c "! ls -A '$HOME_DIR/results/.hbnode' 2>/dev/null | grep -q ."
for host in node001 node002 node003; do
    check "no process is left on $host" sh -c "! '$TESTBED/on-host' $host pgrep -f hbnode"
done
finish
