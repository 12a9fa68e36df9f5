#!/usr/bin/env bash
# Three hosts of a real Slurm: the same command line on every task, rank 0 leads. Then a leader that refuses, and a node
# that is killed.
set -euo pipefail
. "$(dirname "$0")/lib/common.bash"
. "$HERE/lib/bed.bash"

# A shared file system that is nearly full. What is mounted later, the hosts do not see.
SMALL=$(mktemp -d /var/tmp/hb-small.XXXXXX)
chmod 755 "$SCRATCH" "$SMALL"
mount -t tmpfs -o size=4m,mode=777 none "$SMALL" || skip "no file system can be mounted here"
bed slurm 3 "${SLURM_SSH_PORT:-8823}"
trap 'bed_down; umount "$SMALL"; rmdir "$SMALL"' EXIT

install -m 755 "$HBNODE" "$HOME_DIR/hbnode"
# submitted by the ordinary user, from the ordinary user's folder, as one would by hand
srun() { user timeout 150 srun -N3 -n3 --ntasks-per-node=1 --no-kill --kill-on-bad-exit=0 -D "$HOME_DIR" "$@"; }

cat >"$HOME_DIR/recipe.yaml" <<'YAML'
scenario: three-hosts
partition: gpu
account: p200981
orchestration:
  mode: slurm
  total_nodes: 3
  node_allocation:
    servers: {nodes: 1}
    clients: {nodes: 2, clients_per_node: 4}
  job_config: {time_limit: "00:10:00"}
resources:
  servers: {gpus: 0, cpus_per_task: 1, mem_gb: 1}
  clients: {gpus: 0, cpus_per_task: 1, mem_gb: 1}
workload:
  service: dummy
  model: dummy
  warmup: 1s
  duration: 6s
artifacts: {runtime: bare}
YAML
chown -R 20001:20001 "$HOME_DIR/recipe.yaml" "$HOME_DIR/hbnode"

say "srun hbnode --leader recipe.yaml on three hosts"
srun "$HOME_DIR/hbnode" --leader recipe.yaml --results "$HOME_DIR/results" --json >"$SCRATCH/out" 2>"$SCRATCH/err" || { tail -n 40 "$SCRATCH/err"; }
RUN_DIR=$(grep -h '^{"run_dir"' "$SCRATCH/out" | tail -n 1 | jq -r .run_dir)
cat "$RUN_DIR/summary.md"
check "three nodes took part" holds "$RUN_DIR" '.trials[0].resources.nodes | length == 3'
check "both clients sent" test "$(jq -r .node "$RUN_DIR"/*/requests.jsonl | sort -u | wc -l)" = 2
check "no request failed" holds "$RUN_DIR" '.trials[0].accounting | .due > 0 and .due == .completed + .cancelled'
check "the books balance" balances "$RUN_DIR"
check "the way in is gone" sh -c "! find '$HOME_DIR/results/.hbnode' -name join.json 2>/dev/null | grep -q ."
for host in node001 node002 node003; do
    check "nothing is left on $host" sh -c "! '$TESTBED/on-host' $host pgrep -x hbnode"
done

say "the old orchestrator's options place roles on the step's hosts"
srun "$HOME_DIR/hbnode" --server-nodes node003 --client-nodes node001 --workload-config-file recipe.yaml --server-port 11434 --results "$HOME_DIR/results" --json \
    --set scenario=placed >"$SCRATCH/out" 2>"$SCRATCH/err" || { tail -n 40 "$SCRATCH/err"; }
RUN_DIR=$(grep -h '^{"run_dir"' "$SCRATCH/out" | tail -n 1 | jq -r .run_dir)
check "the one client is the leader's own host, which was named" test "$(jq -r .node "$RUN_DIR"/*/requests.jsonl | sort -u)" = node001
check "the server is on the host that was named, at its port" sh -c "jq -e '.trials[0].server | tostring | test(\"node003\")' '$RUN_DIR/report.json' >/dev/null && grep -q 11434 '$RUN_DIR/report.json'"
check "the third host took part without a role" grep -q '"node":"node002","host":"node002","roles":\[\]' "$RUN_DIR/events.jsonl"
missing() { { srun "$HOME_DIR/hbnode" --server-nodes node009 --client-nodes node001 --leader recipe.yaml 2>&1 || true; } | grep 'this job has no node .node009.; it has node001, node002, node003'; }
check "a host that the job has not is named" missing

say "a client node with fewer cores sends less, and all of them together what equal ones do"
# sent NAME TASK: the run of an open loop in which each task is started so; leaves its folder in RUN_DIR.
sent() {
    srun bash -c "$2" task --leader recipe.yaml --results "$HOME_DIR/results" --json --set scenario="$1" \
        --set workload.target_rps=60 --set workload.request_distribution=gamma >"$SCRATCH/out" 2>"$SCRATCH/err" || tail -n 40 "$SCRATCH/err"
    RUN_DIR=$(grep -h '^{"run_dir"' "$SCRATCH/out" | tail -n 1 | jq -r .run_dir)
    check "the run of $1 has a report" test -s "$RUN_DIR/report.json"
}
schedule() { jq -c '[.index, .phase, .due, .asked_tokens]' "$1"/*/requests.jsonl; }
if [ "$(nproc)" -lt 2 ]; then
    say "SKIPPED: one core cannot be told from fewer"
else
    first_core=$(taskset -cp $$ | sed 's/.*: *//; s/[-,].*//')
    sent unlike-hosts "[ \"\$SLURM_PROCID\" = 2 ] && exec taskset -c $first_core ./hbnode \"\$@\"; exec ./hbnode \"\$@\""
    unlike=$RUN_DIR
    jq -c '.trials[0] | .client.by_executor | map({node, share, requests})' "$unlike/report.json"
    # shellcheck disable=SC2016 # jq's own variables
    check "a share is the node's cores over all of them" holds "$unlike" '.trials[0] | .resources.nodes as $nodes | [.client.by_executor[] | .node] as $clients |
        ([$clients[] | $nodes[.].cores] | add) as $all | .client.by_executor | length == 2 and ([.[].share] | add) == 1 and all(.[]; .share == $nodes[.node].cores / $all)'
    # shellcheck disable=SC2016 # jq's own variables
    check "each sent that part of the requests, to one" holds "$unlike" '.trials[0].client.by_executor | ([.[].requests] | add) as $all |
        all(.[]; (.requests - .share * $all | fabs) <= 1)'
    check "the stronger one sent more" holds "$unlike" '[.trials[0].client.by_executor[].requests] | max > min * 1.5'
    check "the report says so in a sentence" grep -q "client nodes differ; their shares of the load" "$unlike/summary.md"
    # shellcheck disable=SC2016 # the task's shell expands it
    sent like-hosts 'exec ./hbnode "$@"'
    check "equal ones have equal shares" holds "$RUN_DIR" '[.trials[0].client.by_executor[].share] == [0.5, 0.5]'
    check "both sent the same requests at the same instants" diff <(schedule "$unlike") <(schedule "$RUN_DIR")
    check "the books balance" balances "$unlike"
fi

say "a leader that refuses ends the tasks that wait for it"
# gives_up CODE PART TOLD COMMAND…: a step ends with this code within 20 s, all of its tasks by themselves; this is said so
# often in all, and nothing lies where the way in would have been.
gives_up() {
    local code=$1 part=$2 told=$3 exit_code=0 began=$SECONDS
    shift 3
    srun "$@" >"$SCRATCH/given-up" 2>&1 || exit_code=$?
    grep -h "^error" "$SCRATCH/given-up" | sort | uniq -c
    say "ended with $exit_code after $((SECONDS - began)) s"
    [ "$exit_code" = "$code" ] && [ $((SECONDS - began)) -lt 20 ] &&
        [ "$(grep -c "^error.*$part" "$SCRATCH/given-up")" = "$told" ] && ! find "$HOME_DIR/results/.hbnode" "$SMALL" -name 'given-up*' 2>/dev/null | grep -q .
}
check "a recipe that is not there: said once" gives_up 2 "cannot read the recipe" 1 "$HOME_DIR/hbnode" --leader nope.yaml --results "$HOME_DIR/results"
# shellcheck disable=SC2016 # the task's shell expands it
check "a recipe that is wrong where the leader is" gives_up 2 "workload.duration: found the text" 3 \
    bash -c '[ "$SLURM_PROCID" = 0 ] && further=(--set workload.duration=soon); exec ./hbnode --leader recipe.yaml "${further[@]}"'
"$TESTBED/on-host" node001 timeout 15 python3 -c 'import socket, time
taken = socket.create_server(("0.0.0.0", 6100))
time.sleep(60)' >/dev/null 2>&1 &
check "the port is taken" wait_for 10 "$TESTBED/on-host" node001 sh -c "ss -ltn | grep -q :6100"
check "a port that is taken where the leader is" gives_up 2 "port 6100 on .* is in use" 3 "$HOME_DIR/hbnode" --leader recipe.yaml --results "$HOME_DIR/results" --client-port 6100
check "no space for the run" gives_up 1 "MiB are free for results" 3 "$HOME_DIR/hbnode" --leader recipe.yaml --results "$SMALL"
dd if=/dev/zero of="$SMALL/full" bs=64k >/dev/null 2>&1 || true
check "no space for a single byte of the reason" gives_up 4 "nothing to join: .*its own words say why" 2 "$HOME_DIR/hbnode" --leader recipe.yaml --results "$SMALL"
check "a folder of results that cannot be: the others are ended by a signal" gives_up 143 "cannot create the results folder" 1 "$HOME_DIR/hbnode" --leader recipe.yaml --results /proc/nothing

say "a client's host loses power while it is measured"
sed -i 's/duration: 6s/duration: 40s/; s/three-hosts/lost-host/' "$HOME_DIR/recipe.yaml"
srun "$HOME_DIR/hbnode" --leader recipe.yaml --results "$HOME_DIR/results" --json >"$SCRATCH/out2" 2>"$SCRATCH/err2" &
leading=$!
measuring() { grep -qs '"execution"' "$HOME_DIR"/results/lost-host/*/events.jsonl; }
check "the second run comes to its execution" wait_for 60 measuring
# The fault belongs into the measured window, after the first windows were reported.
sleep 4
"$TESTBED/cut" --power node003 >/dev/null
wait "$leading" || true
RUN_DIR=$(find "$HOME_DIR/results/lost-host" -maxdepth 1 -mindepth 1 -type d | sort | tail -n 1)
cat "$RUN_DIR/summary.md" || { tail -n 40 "$SCRATCH/err2"; }
check "the report names the lost node" holds "$RUN_DIR" '[.trials[].verdict.reasons[].code] | index("node_lost") != null'
check "requests are accounted for as lost" holds "$RUN_DIR" '.trials[0].accounting.lost > 0'
check "the books balance all the same" balances "$RUN_DIR"
finish
