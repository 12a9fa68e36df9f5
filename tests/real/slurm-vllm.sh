#!/usr/bin/env bash
# From an empty home folder to a fetched report of real vLLM, as a person does it on a login host: `hbnode run --follow`
# of one vLLM on one host of a real Slurm, then of one over two hosts by its own means (tensor parallel 2): each host has
# its own address, and the ranks find each other by those. On CPU, with a tiny model.
# Not over Ray: there vLLM's CPU backend takes all ranks for neighbours in one /dev/shm, which two hosts do not share.
set -euo pipefail
. "$(dirname "$0")/lib/common.bash"
. "$HERE/lib/bed.bash"

V=${HB_TESTBED:-/var/tmp/hb-testbed}
ls "$V"/vllm/ready-* >/dev/null 2>&1 || skip "vLLM is not installed; HB_REAL_VLLM=1 tests/real/vllm.sh installs it"
available=$(awk '/MemAvailable/ {print int($2 / 1048576)}' /proc/meminfo)
[ "$available" -ge 8 ] || skip "two ranks need about 6 GiB of memory, and $available GiB are available"
VLLM=$V/vllm/venv/bin/vllm
bed slurm 3 "${SLURM_SSH_PORT:-8823}"
install -m 755 "$HBNODE" "$HB_TESTBED/hbnode-of-the-site"
# Python may lie in a folder of root's own; then root is the person, with a home folder of its own beside the other.
who=(-u bench)
"$TESTBED/on-host" -u bench node001 "$(sed -n '1s/^#!//p' "$VLLM")" -c '' 2>/dev/null || who=()
HOME_DIR=$HB_TESTBED/home/person
mkdir -p "$HOME_DIR"
[ ${#who[@]} = 0 ] || chown 20001:20001 "$HOME_DIR"
person() { "$TESTBED/on-host" "${who[@]}" login env -C "$HOME_DIR" HOME="$HOME_DIR" "$@"; }

# whole_way NAME NODES SERVERS DISTRIBUTED PARTS: a job of that shape from its recipe to its report.
whole_way() {
    cat >"$HOME_DIR/$1.yaml" <<YAML
scenario: $1
partition: gpu
account: p200981
orchestration:
  mode: slurm
  total_nodes: $2
  node_allocation: {servers: {nodes: $3}, clients: {nodes: 1}}
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
  service_config: {max_model_len: 2048, max_num_seqs: 64, enforce_eager: true$4}
workload: {service: vllm, model: $V/vllm/tiny, concurrency: 4, warmup: 2s, duration: 10s, prompt_len: 16, gen_tokens: 16}
YAML
    say "hbnode run $1.yaml --follow"
    person timeout 580 "$HB_TESTBED/hbnode-of-the-site" run "$1.yaml" --follow >"$SCRATCH/$1.out" 2>&1 || true
    cat "$SCRATCH/$1.out"
    RUN_DIR=$(find "$HOME_DIR" -path "*/$1/*/report.json" -printf '%h\n' | head -n 1)
    [ -n "$RUN_DIR" ] || { check "$1: a report comes back" false; return 0; }
    # The home folder goes with the test bed; what a failure left is kept with the rest.
    cp -r "$RUN_DIR" "$SCRATCH/$1"
    check "$1: requests completed and none failed" holds "$RUN_DIR" '.trials[0].accounting | .completed > 4 and (.failed | length) == 0'
    check "$1: the books balance" balances "$RUN_DIR"
    check "$1: each part of the server ran on its host" test "$(parts)" = "$5"
    for host in node001 node002 node003; do
        check "$1: nothing is left on $host" nothing_on "$host"
        "$TESTBED/on-host" "$host" ss -Hltnp | grep hbnode || true
    done
}
parts() { jq -r 'select(.happened.fact.server_started) | "\(.happened.fact.server_started.name)@\(.happened.node)"' "$RUN_DIR/events.jsonl" | sort | tr '\n' ' '; }
nothing_on() { ! "$TESTBED/on-host" "$1" pgrep -af '^[^ ]*hbnode|vllm|VLLM' | grep -v 'pgrep'; }

whole_way one-host 2 1 "" "server-0@node001 "
whole_way two-hosts 3 2 ", distributed: {nodes: 2, tensor_parallel_size: 2}" "server-0-rank-1@node002 server-0@node001 "
finish
