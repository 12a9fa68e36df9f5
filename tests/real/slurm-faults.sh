#!/usr/bin/env bash
# The fault table on a real Slurm: nodes, links, daemons, disks, clocks and services that fail in the middle of a job. A
# row each: what the report says, whether the books balance, when a lost node was seen, and what is left running.
# Named rows are run alone: tests/real/slurm-faults.sh client-frozen clock
# A login connection that is lost during --follow is a row of submit.sh.
# shellcheck disable=SC2016,SC2317,SC2329 # jq has variables of its own; rows are called by their names
set -euo pipefail
. "$(dirname "$0")/lib/common.bash"
. "$HERE/lib/bed.bash"

bed faults 5 "${FAULTS_SSH_PORT:-8829}"
end_all() {
    local pid
    for pid in $(jobs -p); do kill "$pid" 2>/dev/null || true; done
    bed_down
}
trap end_all EXIT
HB=$HB_TESTBED/hbnode-of-the-site
TABLE=$SCRATCH/table.md
HOSTS=(node001 node002 node003 node004 node005)
install -m 755 "$HBNODE" "$HB"

# recipe NAME POLICY WORKLOAD: the leader's host samples only, two hosts serve, two ask. More lines come from stdin.
# All want the same: Slurm ends a heterogeneous job as a whole when it gives up one of its nodes, --no-kill or not.
recipe() {
    mkdir -p "$HOME_DIR/$1"
    { cat <<YAML
scenario: $1
partition: cpu
account: p200981
orchestration:
  mode: slurm
  total_nodes: 5
  ${2:+on_node_loss: $2}
  node_allocation:
    monitors: {nodes: 1}
    servers: {nodes: 2}
    clients: {nodes: 2}
  job_config: {time_limit: "00:${LIMIT_MINUTES:-10}:00"}
resources:
  monitors: {gpus: 0, cpus_per_task: 1, mem_gb: 1}
  servers: {gpus: 0, cpus_per_task: 1, mem_gb: 1}
  clients: {gpus: 0, cpus_per_task: 1, mem_gb: 1}
workload:
  service: ${SERVICE:-dummy}
  model: ${MODEL:-dummy}
  warmup: 1s
  prompt_len: 16
  gen_tokens: 16
  timeouts: {connect: 3s, first_byte: 3s, between_chunks: 3s, total: 10s}
  $3
YAML
      cat; } >"$HOME_DIR/$1/r.yaml"
    chown -R 20001:20001 "$HOME_DIR/$1"
    ROW=$1 DIR=$HOME_DIR/$1
}
SERVERS='servers: {service_config: {ttft: 20ms, tpot: 2ms}}
artifacts: {runtime: bare}'
# A row's job, as a person submits it.
submit() {
    user "$HB" run "$ROW/r.yaml" --json >"$SCRATCH/run" 2>"$SCRATCH/run.err" || { cat "$SCRATCH/run.err"; return 1; }
    JOB=$(jq -r .job "$SCRATCH/run") DIR=$(jq -r .dir "$SCRATCH/run")
}
# Or in the foreground of an allocation. What stands before the binary's own words is put before it on every host.
direct() {
    user timeout 150 srun -J "$ROW" -N5 -n5 --ntasks-per-node=1 --no-kill --kill-on-bad-exit=0 -D "$DIR" \
        "$@" "$HB" --leader r.yaml --results "${RESULTS:-$DIR/results}" --json >"$DIR.out" 2>"$DIR.err" &
    SRUN=$!
    wait_for 30 in_queue "$ROW" || true
    JOB=$(user squeue -h -n "$ROW" -o %A | head -n 1)
}
in_queue() { user squeue -h -n "$1" -o %A | grep -q .; }
is_over() { ! user squeue -h -j "$JOB" -t all -o %T 2>/dev/null | grep -Eq 'PENDING|CONFIGURING|RUNNING|COMPLETING'; }
run_dir() { find "$DIR/results" -mindepth 2 -maxdepth 2 -type d ! -path '*/.hbnode/*' 2>/dev/null | sort | tail -n 1 || true; }
events() { cat "$(run_dir)"/events.jsonl* 2>/dev/null; }
has_event() { events | grep -q "\"event\":\"$1\""; }
measuring() { has_event load_started; }
reported() { [ -s "$(run_dir)/report.json" ]; }
# Faults belong into the measured window, after the first windows were told.
into_the_window() {
    wait_for 90 measuring || { say "$ROW did not come to its load"; tail -n 5 "$DIR.err" "$DIR"/*.out 2>/dev/null || true; return 1; }
    sleep 4
}
fault() {
    STRUCK=$(date +%s%N)
    "$@" >/dev/null
}
# Seconds from the fault until the leader declared a node lost.
seen() { events | jq -rs --argjson at "$STRUCK" '[.[] | select(.happened.event == "node_lost") | .unix_nanos][0] // empty | (. - $at) / 1e9 | . * 10 | round / 10'; }
# By their name: the words of Slurm's own srun, which waits for a lost host until Slurm gives it up, name the binary, too.
processes() { on "$1" pgrep '^hbnode-' 2>/dev/null || true; }
# What is left on the hosts that are on: processes of ours, and ports that they listen on.
left() {
    local host
    for host in "${HOSTS[@]}"; do
        on "$host" true 2>/dev/null || continue
        processes "$host" | sed "s/^/$host: process /"
        on "$host" ss -Hltnp 2>/dev/null | grep -o 'users:(("hbnode[^)]*' | sed "s/^/$host: port of /" || true
    done
}
none_left() { [ -z "$(left)" ]; }
# told FAULT [FURTHER]: the row of the table, from the report that the leader wrote.
told() {
    local dir said sums after=''
    dir=$(run_dir)
    if [ -s "$dir/report.json" ]; then
        said=$(jq -r '[.trials[] | "\(.verdict.status): \([.verdict.reasons[].code] | join(", "))"] + [.run.incomplete_reason // empty] | join("; ") | gsub("\\s+"; " ")' "$dir/report.json" | sed "s|$HB_TESTBED|…|g" | cut -c 1-260)
        sums=$(jq -r '[.trials[].accounting | "\(.completed) of \(.due) completed, \(.lost) lost"] | join("; ")' "$dir/report.json")
    else
        said="no report"
        tail -n 5 "$DIR.err" 2>/dev/null || true
    fi
    [ -z "${STRUCK:-}" ] || after=$(seen)
    # A host that is cut off or frozen keeps what it has until it is healed.
    wait_for "${ENDS_WITHIN:-15}" none_left || true
    printf '| %s | %s | %s | %s | %s |\n' "$1" "$said${2:+; $2}" "${sums:-–}" "${after:+$after s}" "$(left | wc -l | sed 's/^0$/nothing/; s/^[1-9].*/& (until it was healed)/')" >>"$TABLE"
    tail -n 1 "$TABLE"
}
not() { ! "$@"; }
reason() { holds "$(run_dir)" "[.trials[].verdict.reasons[].code] | index(\"$1\") != null"; }
once() { [ -z "$(jq -r .index "$(run_dir)"/*/requests.jsonl | sort | uniq -d | head -n 1)" ]; }
says() { jq -r '.run.incomplete_reason // empty, .warnings[]?, (.trials[].events[]? | .message)' "$(run_dir)/report.json" | grep -q -- "$1"; }
soon() { local at; at=$(seen); [ -n "$at" ] && jq -en --argjson at "$at" '$at <= 15' >/dev/null; }
# Every row ends so: hosts are whole again, and nothing of it goes on.
end_row() {
    STRUCK=''
    "$TESTBED/heal" --all >/dev/null 2>&1 || true
    user scancel -u bench 2>/dev/null || true
    check "$ROW: nothing is left" wait_for 30 none_left
    left | head -n 5
}

# --- nodes ------------------------------------------------------------------------------------
# node ROLE HOST HOW POLICY: a host fails in the middle of an open loop of 26 s.
node() {
    local role=$1 host=$2 how=$3 policy=$4 what="$1 node, ${3#--}, \`$4\`"
    recipe "$role${how/--/-}-$policy" "$policy" $'target_rps: 40\n  request_distribution: poisson\n  duration: 26s' <<<"$SERVERS"
    submit
    into_the_window || return 0
    fault "$TESTBED/cut" "$how" "$host"
    check "$ROW: a report is written" wait_for 90 reported
    told "$what" "$(events | jq -r 'select(.happened.event == "load_handed_on").happened | "taken over by \(.to | join(", ")) at \(.since_seconds | round) s"')"
    check "$ROW: the books balance" balances "$(run_dir)"
    check "$ROW: no request is counted twice" once
    if [ "$how" = --slurmd ]; then
        check "$ROW: nobody is lost" not has_event node_lost
    else
        check "$ROW: the loss is seen within 15 s" soon
        if [ "$policy" = fail ] ; then
            check "$ROW: the run fails and names the node" says "$host.* was lost"
        else
            check "$ROW: the verdict says it" reason node_lost
            check "$ROW: the run goes on to its end" holds "$(run_dir)" .run.complete
        fi
        [ "$policy$role" != redistributeclient ] || check "$ROW: others take over" has_event load_handed_on
        [ "$policy$role" != redistributeserver ] || check "$ROW: its clients ask the other server" says "ask the servers that are left"
    fi
    end_row
}
row_client_power_fail() { node client node005 --power fail; }
row_client_power_continue() { node client node005 --power continue; }
row_client_power() { node client node005 --power redistribute; }
row_client_silent() { node client node005 --silent redistribute; }
row_client_frozen() { node client node005 --freeze redistribute; }
row_client_slurmd() { node client node005 --slurmd continue; }
row_server_power() { node server node003 --power redistribute; }
row_server_silent() { node server node003 --silent fail; }
row_server_frozen() { node server node003 --freeze continue; }
row_server_slurmd() { node server node003 --slurmd continue; }

row_leader_killed() {
    recipe leader-killed continue $'concurrency: 4\n  duration: 60s' <<<"$SERVERS"
    submit
    into_the_window || return 0
    # The one that answers for the others: it holds their links.
    fault on node001 pkill -9 -f -- '--leader'
    check "$ROW: the other nodes end by themselves" wait_for 30 none_left
    user "$HB" report "$(run_dir)" >"$SCRATCH/rebuilt" 2>&1 || tail -n 3 "$SCRATCH/rebuilt"
    check "$ROW: a report can be made of what it left" reported
    told "leader, SIGKILL" "after \`hbnode report\`"
    check "$ROW: the books balance" balances "$(run_dir)"
    end_row
}
row_link() {
    recipe link continue $'concurrency: 4\n  duration: 26s' <<<"$SERVERS"
    submit
    into_the_window || return 0
    fault "$TESTBED/cut" --silent node004 node002
    check "$ROW: a report is written" wait_for 90 reported
    told "link between one client and one server, cut"
    check "$ROW: the books balance" balances "$(run_dir)"
    check "$ROW: no node is lost by it" not reason node_lost
    check "$ROW: what ran into it timed out" holds "$(run_dir)" '.trials[0].accounting | .timed_out + ([.failed[]?] | add // 0) > 0'
    end_row
}
row_pushgateway() {
    recipe pushgateway "" $'concurrency: 4\n  duration: 10s' <<<"$SERVERS
monitoring: {pushgateway: {url: 'http://node002:9', interval: 1s}}"
    submit
    check "$ROW: a report is written" wait_for 90 reported
    told "Pushgateway away"
    check "$ROW: the run is whole" holds "$(run_dir)" .run.complete
    check "$ROW: the report warns" says Pushgateway
    check "$ROW: the books balance" balances "$(run_dir)"
    end_row
}

# --- the scheduler ----------------------------------------------------------------------------
row_slurmctld() {
    recipe slurmctld "" $'concurrency: 4\n  duration: 15s' <<<"$SERVERS"
    submit
    into_the_window || return 0
    fault "$TESTBED/cut" --daemon ctl
    sleep 4
    "$TESTBED/heal" ctl >/dev/null 2>&1
    check "$ROW: a report is written" wait_for 90 reported
    told "slurmctld killed and back"
    check "$ROW: the run is whole" holds "$(run_dir)" .run.complete
    check "$ROW: the books balance" balances "$(run_dir)"
    end_row
}
row_scancel() {
    recipe scancel "" $'concurrency: 4\n  duration: 60s' <<<"$SERVERS"
    submit
    into_the_window || return 0
    fault user scancel "$JOB"
    check "$ROW: a report of what there is is written" wait_for 30 reported
    told "\`scancel\`"
    check "$ROW: the books balance" balances "$(run_dir)"
    end_row
}
# Its server outlives Slurm's KillWait, as one that is loaded with gigabytes may.
row_scancel_slow() {
    SERVICE=slow recipe scancel-slow "" $'concurrency: 4\n  duration: 60s' <<YAML
custom_services:
  slow:
    command: [bash, -c, "trap '' TERM; '$HB' dummy --host 0.0.0.0 --port {port} & while :; do sleep 1; done"]
    ready: {path: /health}
    protocol: openai
    stop_grace: 15s
artifacts: {runtime: bare}
YAML
    submit
    into_the_window || return 0
    fault user scancel "$JOB"
    check "$ROW: a report of what there is is written" wait_for 30 reported
    told "\`scancel\`, and servers that take 15 s to end"
    check "$ROW: it says what ended the run" says "ended by SIG"
    check "$ROW: the books balance" balances "$(run_dir)"
    end_row
}
row_time_limit() {
    # A count of requests has no known length, so it is begun. Of four minutes two are kept for the notice and the end.
    LIMIT_MINUTES=04 recipe time-limit "" $'concurrency: 2\n  requests: 1000000' <<<"$SERVERS"
    submit
    into_the_window || return 0
    check "$ROW: a report of what there is is written" wait_for 240 reported
    told "time limit"
    check "$ROW: the books balance" balances "$(run_dir)"
    end_row
}
row_munge() {
    recipe munge "" $'concurrency: 4\n  duration: 8s' <<<"$SERVERS"
    sed -i 's/^orchestration:/orchestration:\n  join_within: 20s/' "$DIR/r.yaml"
    user "$HB" validate "$ROW/r.yaml" >/dev/null 2>&1 || sed -i '/join_within/d' "$DIR/r.yaml"
    on node005 pkill -9 -x munged
    submit
    wait_for 100 is_over || true
    local said
    said=$(tail -n 30 "$DIR"/*.out 2>/dev/null | grep -iE 'munge|joined in time|Invalid|authentication|error' | head -n 1 | cut -c 1-160)
    told "munge broken on one node" "${said:-$(user squeue -h -j "$JOB" -t all -o '%T %r')}"
    check "$ROW: the job does not measure with less" not measuring
    end_row
}

# --- disks ------------------------------------------------------------------------------------
row_disk_client() {
    recipe disk-client "" $'concurrency: 4\n  duration: 12s' <<<"$SERVERS"
    on node004 sh -c "mkdir -p /run/small && mount -t tmpfs -o size=64k,mode=1777 none /run/small && head -c 1M /dev/zero >/run/small/full 2>/dev/null; true"
    direct env TMPDIR=/run/small
    wait "$SRUN" || true
    told "full disk on a client (its temporary folder)"
    check "$ROW: the run is whole" holds "$(run_dir)" .run.complete
    check "$ROW: the books balance" balances "$(run_dir)"
    on node004 umount /run/small
    end_row
}
row_disk_leader() {
    recipe disk-leader "" $'concurrency: 16\n  duration: 16s' <<<"$SERVERS"
    on node001 sh -c "mkdir -p /run/small && mount -t tmpfs -o size=40m,mode=1777 none /run/small"
    RESULTS=/run/small direct env HBNODE_STATE="$DIR/state"
    wait_for 60 on node001 sh -c "grep -q load_started /run/small/*/*/events.jsonl*" || say "$ROW did not come to its load"
    sleep 3
    on node001 sh -c "cat /dev/zero >/run/small/filler 2>/dev/null; df -k /run/small | tail -n 1"
    sleep 5
    on node001 rm /run/small/filler
    wait "$SRUN" || true
    on node001 sh -c "mkdir -p '$DIR/results' && cp -r /run/small/. '$DIR/results'"
    told "full disk on the leader for 5 s"
    check "$ROW: the books balance, as what could not be written came again" balances "$(run_dir)"
    on node001 umount /run/small
    end_row
}

# --- services ---------------------------------------------------------------------------------
row_server_oom() {
    recipe server-oom "" $'concurrency: 4\n  duration: 30s' <<<"$SERVERS"
    submit
    into_the_window || return 0
    fault on node002 pkill -9 -f -- '^[^ ]* dummy --host'
    check "$ROW: a report is written" wait_for 60 reported
    told "a server's process killed, as when memory is out"
    check "$ROW: the report names the server and the signal" says 'server .*\(signal 9\|SIGKILL\)'
    check "$ROW: the verdict says it" reason server_exited
    check "$ROW: the books balance" balances "$(run_dir)"
    end_row
}
# A service of a recipe: what it runs, and what is expected of its report.
custom() { # custom ROW FAULT PATTERN COMMAND ARTIFACTS FURTHER_KEY
    SERVICE=made recipe "$1" "" $'concurrency: 4\n  duration: 8s' <<<"custom_services: {made: {command: $4, protocol: openai, ready: {path: /health, timeout: 20s}${6:-}}}
artifacts: $5"
    direct env PATH="$SCRATCH_BIN:/usr/bin:/bin"
    wait "$SRUN" || true
    told "$2"
    check "$ROW: the run fails and says why" says "$3"
    end_row
}
SCRATCH_BIN=$HB_TESTBED/bin
mkdir -p "$SCRATCH_BIN"
ln -sf "$TESTBED/apptainer" "$SCRATCH_BIN/apptainer"
DUMMY="[$HB, dummy, --host, '{host}', --port, '{port}', --model, '{model}']"
row_container_exits() {
    command -v bwrap >/dev/null || { say "container-exits: SKIPPED: no bwrap; apt-get install bubblewrap"; return 0; }
    "$TESTBED/make-image" "$HB_TESTBED/image" hbnode="$HBNODE" >/dev/null
    tar -cf "$HB_TESTBED/image.sif" -C "$HB_TESTBED/image" .
    custom container-exits "container that exits at once" 'no such device' \
        "[sh, -c, 'echo no such device >&2; exit 3']" "{runtime: apptainer, service: {path: $HB_TESTBED/image.sif}}"
}
row_image_missing() { custom image-missing "image missing" 'cannot read the image' "$DUMMY" "{runtime: apptainer, service: {path: $HB_TESTBED/none.sif}}"; }
row_model_missing() {
    MODEL=wanted custom model-missing "model missing" wanted "[$HB, dummy, --host, '{host}', --port, '{port}', --model, other]" "{runtime: bare}"
}
row_port_taken() {
    on node002 socat TCP-LISTEN:5055,fork,reuseaddr /dev/null &
    local holder=$!
    custom port-taken "port taken" '5055' "$DUMMY" "{runtime: bare}" ", port: 5055"
    on node002 pkill -x socat || true
    wait "$holder" 2>/dev/null || true
}

# --- clocks -----------------------------------------------------------------------------------
row_clock() {
    local lib
    lib=$(find /usr/lib -name libfaketime.so.1 2>/dev/null | head -n 1)
    [ -n "$lib" ] || { DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends faketime >/dev/null 2>&1 || true; }
    lib=$(find /usr/lib -name libfaketime.so.1 2>/dev/null | head -n 1)
    [ -n "$lib" ] || { say "clock: SKIPPED: no libfaketime; apt-get install faketime"; return 0; }
    recipe clock "" $'target_rps: 40\n  duration: 12s' <<<"$SERVERS"
    # A time namespace does not move the wall clock; what the process is told can be moved.
    cat >"$SCRATCH_BIN/with-clock" <<SH
#!/bin/sh
[ "\$(hostname)" = node005 ] || exec "\$@"
export LD_PRELOAD=$lib FAKETIME=+5s FAKETIME_DONT_FAKE_MONOTONIC=1 DONT_FAKE_MONOTONIC=1
exec "\$@"
SH
    chmod 755 "$SCRATCH_BIN/with-clock"
    direct "$SCRATCH_BIN/with-clock"
    wait "$SRUN" || true
    local offset
    offset=$(report "$(run_dir)" '[.trials[0].resources.nodes[] | select(.host == "node005") | .clock_offset_seconds][0]')
    told "clock of a client wrong by 5 s" "offset of node005 estimated as $offset s"
    check "$ROW: the offset is found" jq -en --argjson offset "$offset" '($offset - 5 | fabs) < 0.1'
    check "$ROW: it starts with the others" holds "$(run_dir)" '.trials[0].latency.dispatch_delay_seconds.p99 < 1'
    check "$ROW: its windows are aligned by it, and nobody doubts them" holds "$(run_dir)" '[.trials[].verdict.reasons[].code] | all(test("clock") | not)'
    check "$ROW: the books balance" balances "$(run_dir)"
    end_row
}
ROWS=(client_power_fail client_power_continue client_power client_silent client_frozen client_slurmd
    server_power server_silent server_frozen server_slurmd leader_killed pushgateway link slurmctld scancel scancel_slow time_limit
    disk_client disk_leader server_oom container_exits image_missing model_missing port_taken munge clock)
[ $# = 0 ] || ROWS=("${@//-/_}")
printf '| fault | the report says | accounting | loss seen after | left running |\n| --- | --- | --- | --- | --- |\n' >"$TABLE"
for name in "${ROWS[@]}"; do
    say "== ${name//_/ } ($SECONDS s)"
    "row_$name"
done
cat "$TABLE"
[ -z "${FAULT_TABLE:-}" ] || cp "$TABLE" "$FAULT_TABLE"
finish
