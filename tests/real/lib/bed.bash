# A real Slurm on pretended hosts, for the suites that need one, and a person on its login host. Sourced after common.bash.
# shellcheck shell=bash

# bed NAME NODES PORT [OPTIONS…]: starts it under /var/tmp/hb-NAME, or where HB_TESTBED_<NAME> says; it ends with the suite.
bed() {
    local named=HB_TESTBED_${1^^}
    [ "$(id -u)" = 0 ] || skip "the Slurm test bed needs root"
    named=${named//-/_}
    export HB_TESTBED=${!named:-/var/tmp/hb-$1}
    trap bed_down EXIT
    "$TESTBED/slurm-up" --nodes "$2" --port "$3" "${@:4}" >"$SCRATCH/up" 2>&1 ||
        { tail -n 5 "$SCRATCH/up"; skip "the Slurm test bed cannot be started here"; }
    HOME_DIR=$HB_TESTBED/home/bench
}
bed_down() { "$TESTBED/slurm-down" >/dev/null 2>&1; }

# on [-u USER] HOST COMMAND…: as root, unless a user is named.
on() { "$TESTBED/on-host" "$@"; }

# user COMMAND…: the ordinary user at the login host, in the home folder.
user() { on -u bench login env -C "$HOME_DIR" HOME="$HOME_DIR" "$@"; }

# outside ARGS…: hbnode on a laptop, which shares nothing with the cluster.
outside() { (cd "$SCRATCH/laptop" && env -u WORK XDG_STATE_HOME="$SCRATCH/laptop/state" "$HBNODE" "$@"); }

# small_recipe SCENARIO NODES: one host serves a Dummy, the others ask it.
small_recipe() {
    cat <<YAML
scenario: $1
partition: cpu
account: p200981
qos: default
orchestration:
  mode: slurm
  total_nodes: $2
  node_allocation:
    servers: {nodes: 1}
    clients: {nodes: $(($2 - 1))}
  job_config: {time_limit: "00:10:00"}
resources:
  servers: {gpus: 0, cpus_per_task: 1, mem_gb: 1}
  clients: {gpus: 0, cpus_per_task: 1, mem_gb: 1}
workload:
  service: dummy
  model: dummy
  target_rps: 40
  request_distribution: poisson
  warmup: 1s
  duration: 6s
servers:
  service_config: {ttft: 50ms, tpot: 5ms}
artifacts: {runtime: bare}
YAML
}
