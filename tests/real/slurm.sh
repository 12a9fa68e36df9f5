#!/usr/bin/env bash
# Three hosts of a real Slurm: the same command line on every task, rank 0 leads. Then a node that is killed.
set -euo pipefail
. "$(dirname "$0")/lib/common.bash"

[ "$(id -u)" = 0 ] || skip "the Slurm test bed needs root"
export HB_TESTBED=${HB_TESTBED_SLURM:-/var/tmp/hb-slurm}
"$TESTBED/slurm-up" --nodes 3 --port "${SLURM_SSH_PORT:-8823}" >"$SCRATCH/up" 2>&1 || { tail -n 5 "$SCRATCH/up"; skip "the Slurm test bed cannot be started here"; }
trap '"$TESTBED/slurm-down" >/dev/null 2>&1' EXIT

HOME_DIR=$HB_TESTBED/home/bench
install -m 755 "$HBNODE" "$HOME_DIR/hbnode"
user() { "$TESTBED/on-host" -u bench login "$@"; }
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
