#!/usr/bin/env bash
# One vLLM over two hosts of a real Slurm by its own means, tensor parallel 2, on CPU with a tiny model: each host has
# its own address, and the ranks find each other by those. HOW=ray does the same on a Ray cluster of the two hosts.
set -euo pipefail
. "$(dirname "$0")/lib/common.bash"

HOW=${HOW:-ranks}
[ "$(id -u)" = 0 ] || skip "the Slurm test bed needs root"
V=${HB_TESTBED:-/var/tmp/hb-testbed}
ls "$V"/vllm/ready-* >/dev/null 2>&1 || skip "vLLM is not installed; HB_REAL_VLLM=1 tests/real/vllm.sh installs it"
available=$(awk '/MemAvailable/ {print int($2 / 1048576)}' /proc/meminfo)
[ "$available" -ge 8 ] || skip "two ranks need about 6 GiB of memory, and $available GiB are available"
VLLM=$V/vllm/venv/bin/vllm
distributed='nodes: 2, tensor_parallel_size: 2'
if [ "$HOW" = ray ]; then
    ls "$V"/vllm-ray/ready-* >/dev/null 2>&1 || skip "Ray is not installed; HB_REAL_VLLM=1 tests/real/vllm-ray.sh installs it"
    VLLM=$V/vllm-ray/venv/bin/vllm
    distributed="$distributed, backend: ray, ray: {num_cpus_per_node: 2, num_gpus_per_node: 1}"
fi
export HB_TESTBED=${HB_TESTBED_SLURM:-/var/tmp/hb-slurm}
"$TESTBED/slurm-up" --nodes 3 --port "${SLURM_SSH_PORT:-8823}" >"$SCRATCH/up" 2>&1 || { tail -n 5 "$SCRATCH/up"; skip "the Slurm test bed cannot be started here"; }
trap '"$TESTBED/slurm-down" >/dev/null 2>&1' EXIT
HOME_DIR=$HB_TESTBED/home/bench
install -m 755 "$HBNODE" "$HOME_DIR/hbnode"
# Python may lie in a folder of root's own; then root submits.
who=(-u bench)
"$TESTBED/on-host" -u bench node001 "$(sed -n '1s/^#!//p' "$VLLM")" -c '' 2>/dev/null || who=()

cat >"$HOME_DIR/recipe.yaml" <<YAML
scenario: slurm-vllm
partition: gpu
account: p200981
orchestration:
  mode: slurm
  total_nodes: 3
  node_allocation: {servers: {nodes: 2}, clients: {nodes: 1}}
  job_config: {time_limit: "00:10:00"}
resources:
  servers: {gpus: 0, cpus_per_task: 1, mem_gb: 1}
  clients: {gpus: 0, cpus_per_task: 1, mem_gb: 1}
artifacts: {runtime: bare, service: {path: "$VLLM"}}
environment:
  VLLM_CPU_KVCACHE_SPACE: "1"
  VLLM_CPU_OMP_THREADS_BIND: nobind
  OMP_NUM_THREADS: "1"
  HF_HUB_OFFLINE: "1"
servers:
  health_check: {timeout: 500, interval: 1}
  service_config: {max_model_len: 2048, max_num_seqs: 64, enforce_eager: true, distributed: {$distributed}}
workload: {service: vllm, model: $V/vllm/tiny, concurrency: 4, warmup: 2s, duration: 10s, prompt_len: 16, gen_tokens: 16}
YAML
chown 20001:20001 "$HOME_DIR/recipe.yaml" "$HOME_DIR/hbnode"

say "srun hbnode --leader recipe.yaml on three hosts ($HOW)"
"$TESTBED/on-host" "${who[@]}" login timeout 580 srun -N3 -n3 --ntasks-per-node=1 --no-kill --kill-on-bad-exit=0 -D "$HOME_DIR" \
    "$HOME_DIR/hbnode" --leader recipe.yaml --results "$HOME_DIR/results" --json >"$SCRATCH/out" 2>"$SCRATCH/err" || tail -n 30 "$SCRATCH/err"
RUN_DIR=$(grep -h '^{"run_dir"' "$SCRATCH/out" | tail -n 1 | jq -r .run_dir)
cat "$RUN_DIR/summary.md"
check "requests completed and none failed" holds "$RUN_DIR" '.trials[0].accounting | .completed > 4 and (.failed | length) == 0'
check "the books balance" balances "$RUN_DIR"
parts() { jq -r 'select(.happened.fact.server_started) | "\(.happened.fact.server_started.name)@\(.happened.node)"' "$RUN_DIR/events.jsonl" | sort | tr '\n' ' '; }
if [ "$HOW" = ray ]; then
    check "each part ran on its host" test "$(parts)" = "server-0-cluster-1@node002 server-0-cluster-head@node001 server-0@node001 "
else
    check "each rank ran on its host" test "$(parts)" = "server-0-rank-1@node002 server-0@node001 "
fi
for host in node001 node002 node003; do
    check "nothing is left on $host" sh -c "! '$TESTBED/on-host' $host pgrep -f 'hbnode|vllm|VLLM|raylet|ray::'"
done
finish
