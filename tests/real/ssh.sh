#!/usr/bin/env bash
# Mode ssh over three hosts with a real sshd each: an ordinary user leads on the login host. First as it should be, then
# every way in which a host can refuse, then a leader that is killed and a host that loses power.
set -euo pipefail
. "$(dirname "$0")/lib/common.bash"
. "$HERE/lib/bed.bash"

bed ssh 3 "${SSH_SSH_PORT:-8827}"
HOSTS=(node001 node002 node003)

# An sshd on every node; the user's own key, configuration and known hosts, as a person has them.
KEY=$(cut -d' ' -f1,2 "$HB_TESTBED/etc/ssh_host_ed25519_key.pub")
for host in "${HOSTS[@]}"; do
    on "$host" /usr/sbin/sshd -f "$HB_TESTBED/etc/sshd_config" -E "$HB_TESTBED/hosts/$host/log/sshd.log"
    echo "$host $KEY" >>"$HOME_DIR/.ssh/known_hosts"
done
cp "$HB_TESTBED/id_ed25519" "$HOME_DIR/.ssh/id_ed25519"
printf 'Host *\n    StrictHostKeyChecking yes\n' >"$HOME_DIR/.ssh/config"
install -m 755 "$HBNODE" "$HOME_DIR/hbnode-shared"
HB=$HOME_DIR/hbnode-shared

cat >"$HOME_DIR/recipe.yaml" <<'YAML'
scenario: over-ssh
orchestration:
  mode: ssh
  nodes: [node001, node002, node003]
  node_allocation:
    servers: {nodes: 1}
    clients: {nodes: 2}
workload:
  service: dummy
  model: dummy
  target_rps: 40
  request_distribution: poisson
  warmup: 1s
  duration: 8s
servers:
  service_config: {ttft: 50ms, tpot: 5ms}
YAML
chown -R 20001:20001 "$HOME_DIR"
chmod 600 "$HOME_DIR/.ssh/id_ed25519"
recipe_of() { sed "s/nodes: \[.*\]/nodes: [$1]/; s/servers: {nodes: 1}/servers: {nodes: ${2:-1}}/; s/clients: {nodes: 2}/clients: {nodes: ${3:-2}}/" "$HOME_DIR/recipe.yaml"; }

# Nothing of a run is on any host: no node, no server, no ssh of ours, no session.
left_on() { on "$1" ps -eo args | grep -E 'hbnode|sshd: bench|ssh -o' | grep -v grep; }
nothing_left() { for host in login "${HOSTS[@]}"; do ! left_on "$host" || return 1; done; }
# A verdict is about the figures; beside other work on this machine they may be doubtful, and still whole.
is_believed() { holds "$1" '.verdict.status == "VALID" or (.verdict.status == "SUSPECT" and all(.verdict.reasons[]; .code | test("stall|cpu|foreign|lag|clock")))'; }
newest() { readlink -f "$HOME_DIR/results/over-ssh/latest"; }
measuring() { grep -qs '"load_started"' "$(newest)"/events.jsonl*; }

say "what would be run"
user "$HB" plan recipe.yaml | tee "$SCRATCH/plan" | head -n 12
check "plan shows the ssh command of each node" test "$(grep -c 'started by ssh .*BatchMode=yes.*--join-stdin' "$SCRATCH/plan")" = 3

say "a run over three hosts"
user "$HB" --leader recipe.yaml --json >"$SCRATCH/out" 2>"$SCRATCH/err" &
leading=$!
check "it comes to its load" wait_for 60 measuring
for host in login "${HOSTS[@]}"; do on "$host" ps -eo args; done >"$SCRATCH/ps"
check "the nodes run, each started by its ssh" test "$(grep -c 'hbnode.* --join-stdin --while-stdin' "$SCRATCH/ps")" -ge 3
TOKEN=$(grep -o 'token=[0-9a-f]*' "$SCRATCH/err" | cut -d= -f2)
check "no secret is among the words of any process" sh -c "test -n '$TOKEN' && ! grep -qE '$TOKEN|[0-9a-f]{48}|PRIVATE KEY' '$SCRATCH/ps'"
check "the way in lies in no file" sh -c "! find '$HOME_DIR' -name join.json | grep -q ."
code=0
wait "$leading" || code=$?
RUN_DIR=$(newest)
cat "$RUN_DIR/summary.md" "$SCRATCH/err"
check "it ends with 0" test "$code" = 0
check "the report is believed" is_believed "$RUN_DIR"
check "three nodes took part" holds "$RUN_DIR" '.trials[0].resources.nodes | keys == ["node001", "node002", "node003"]'
check "both clients sent" test "$(jq -r .node "$RUN_DIR"/*/requests.jsonl | sort -u | paste -sd' ')" = "node002 node003"
check "the books balance" balances "$RUN_DIR"
check "nothing was copied" test ! -e "$HOME_DIR/hbnode"
check "nothing is left on any host" wait_for 10 nothing_left

say "a binary that the nodes do not have"
on -u bench login cp "$HB" /run/user/20001/hbnode-here
user /run/user/20001/hbnode-here --leader recipe.yaml --json >"$SCRATCH/out" 2>"$SCRATCH/err" || true
grep -h copying "$SCRATCH/err" || tail -n 20 "$SCRATCH/err"
check "it is brought, and the run is whole" holds "$(newest)" '.run.complete and (.trials[0].accounting | .due > 0 and .due == .completed)'
check "one copy is kept, though three nodes took it to one home folder" test "$(find "$HOME_DIR/hbnode" -type f | wc -l)" = 1
check "nothing is left on any host" wait_for 10 nothing_left

say "a network of one's own choice"
check "an interface that the leader has not is named with those it has" sh -c '{ "$@" 2>&1 || true; } | grep "no network interface .ib7. with an address; it has .*eth0 (10.77.0.3)"' - \
    "$TESTBED/on-host" -u bench login env -C "$HOME_DIR" HOME="$HOME_DIR" "$HB" --leader recipe.yaml --set orchestration.interface=ib7
user "$HB" --leader recipe.yaml --set orchestration.interface=eth0 --set workload.duration=3s --json >"$SCRATCH/out" 2>"$SCRATCH/err" || true
check "one that all have carries the run" holds "$(newest)" '.run.complete and (.trials[0].accounting | .due > 0 and .due == .completed)'
check "nothing is left on any host" wait_for 10 nothing_left

say "the old orchestrator's options, with a bare workload block"
printf 'service: dummy\nmodel: dummy\nduration: 5\nwarmup: 1\nclients_per_node: 4\n' >"$HOME_DIR/workload.yaml"
code=0
user "$HB" --server-nodes node003 --client-nodes node001 node002 --workload-config-file workload.yaml --server-port 11434 --client-port 5005 \
    --timeout 60 --enable-monitoring --monitor-interval 2 --json >"$SCRATCH/out" 2>"$SCRATCH/err" || code=$?
RUN_DIR=$(readlink -f "$HOME_DIR/results/dummy-dummy/latest")
cat "$RUN_DIR/summary.md" || tail -n 20 "$SCRATCH/err"
check "it ends well" test "$code" = 0
check "the clients are those that were named" test "$(jq -r .node "$RUN_DIR"/*/requests.jsonl | sort -u | paste -sd' ')" = "node001 node002"
check "the server is, too, at its port" sh -c "jq -e '.trials[0].server | tostring | test(\"node003\")' '$RUN_DIR/report.json' >/dev/null && grep -q 11434 '$RUN_DIR/report.json'"
check "the samples have their old second place" cmp "$HOME_DIR/benchmark_metrics.csv" "$RUN_DIR/metrics.csv"
check "nothing is left on any host" wait_for 10 nothing_left

say "what is refused"
# refused PART…: it ends with 4 within 20 s, says all of this, and leaves nothing.
refused() {
    local exit_code=0 began=$SECONDS part before after
    before=$(find "$HOME_DIR/results" "$HOME_DIR/hbnode" | sort)
    user "$HB" --leader odd.yaml "${words[@]}" >"$SCRATCH/refused" 2>&1 || exit_code=$?
    grep -vE '^(warning|  *[|=0-9-]|$)' "$SCRATCH/refused" | head -n 6
    for part in "$@"; do grep -qE -- "$part" "$SCRATCH/refused" || { say "not said: $part"; return 1; }; done
    after=$(find "$HOME_DIR/results" "$HOME_DIR/hbnode" | sort)
    say "ended with $exit_code after $((SECONDS - began)) s"
    [ "$exit_code" = 4 ] && [ $((SECONDS - began)) -lt 20 ] && [ "$before" = "$after" ] && wait_for 10 nothing_left
}
words=()
recipe_of "node001, nowhere" 1 1 >"$HOME_DIR/odd.yaml"
check "an unknown host" refused "1 of 2 nodes" "nowhere: .*Could not resolve hostname.*is the name right"
recipe_of "node001, nobody@node002" 1 1 >"$HOME_DIR/odd.yaml"
check "a refused key" refused "nobody@node002: .*Permission denied.*ssh-add"
cp "$HOME_DIR/.ssh/known_hosts" "$SCRATCH/known_hosts"
ssh-keygen -q -t ed25519 -N '' -f "$SCRATCH/other_key"
sed -i "s|^node003 .*|node003 $(cut -d' ' -f1,2 "$SCRATCH/other_key.pub")|; /^node002/d" "$HOME_DIR/.ssh/known_hosts"
recipe_of "node001, node002, node003" >"$HOME_DIR/odd.yaml"
check "a changed host key, and one that is not known yet" refused "node003: .*ssh-keygen -R" "node002: .*log in once by hand"
cp "$SCRATCH/known_hosts" "$HOME_DIR/.ssh/known_hosts"
recipe_of "node001, node002" 1 1 >"$HOME_DIR/odd.yaml"
user "$HB" --leader odd.yaml --binary /bin/true >"$SCRATCH/refused" 2>&1 || true
check "another build is named per node" sh -c "grep -q 'node001: .*is another build (' '$SCRATCH/refused' && grep -q 'node002: .*is another build (' '$SCRATCH/refused'"
words=(--binary /etc/passwd)
check "a binary that is none" refused "node001: .*no binary for Linux"
recipe_of "node001" 1 1 | sed 's/  node_allocation:/  node_allocation: {servers: {nodes: 1}, clients: {nodes: 1, share_servers: true}}/; /^    servers: {nodes/d; /^    clients: {nodes/d' >"$HOME_DIR/odd.yaml"
on node001 sh -c "mkdir -p '$HOME_DIR/small' && mount -t tmpfs -o size=4m,mode=777 none '$HOME_DIR/small'"
words=(--binary "$HB" --remote-dir small)
check "no space" refused "node001: .*KiB free"
on node001 umount "$HOME_DIR/small"
recipe_of "node001, node002" 1 1 >"$HOME_DIR/odd.yaml"
code=0 began=$SECONDS
user "$HB" --leader odd.yaml --address 10.77.0.99 --json >"$SCRATCH/out" 2>"$SCRATCH/refused" || code=$?
grep -h "cannot join\|error" "$SCRATCH/refused" | head -n 4
check "an address at which no node finds the leader ends it with 4, long before the time to join is over" test "$code" = 4 -a $((SECONDS - began)) -lt 40
check "and each node says so" sh -c "grep -q 'node001: error: cannot join: no leader at 10.77.0.99' '$SCRATCH/refused'"
check "nothing is left on any host" wait_for 10 nothing_left

say "Ctrl-C while it measures"
sed -i 's/duration: 8s/duration: 60s/' "$HOME_DIR/recipe.yaml"
# The leader's process on the login host, among its ssh children.
leader() { on login pgrep -f "$HB --leader"; }
user "$HB" --leader recipe.yaml --json >"$SCRATCH/out" 2>"$SCRATCH/err" &
leading=$!
before=$(newest)
begun() { [ "$(newest)" != "$before" ] && measuring; }
check "it comes to its load" wait_for 60 begun
on login kill -INT "$(leader | head -n 1)"
code=0
wait "$leading" || code=$?
check "it ends with 130 and a report of a part" test "$code" = 130
check "the books balance" balances "$(newest)"
check "nothing is left on any host" wait_for 10 nothing_left

say "a host loses power while it is measured"
user "$HB" --leader recipe.yaml --json --set workload.duration=20s >"$SCRATCH/out" 2>"$SCRATCH/err" &
leading=$!
before=$(newest)
check "it comes to its load" wait_for 60 begun
# The fault belongs into the measured window, after the first windows were reported.
sleep 4
"$TESTBED/cut" --power node003 >/dev/null
wait "$leading" || true
RUN_DIR=$(newest)
cat "$RUN_DIR/summary.md"
check "the report names the lost node" holds "$RUN_DIR" '[.trials[].verdict.reasons[].code] | index("node_lost") != null'
check "the run went on to its end" holds "$RUN_DIR" '.run.complete'
check "the books balance all the same" balances "$RUN_DIR"
"$TESTBED/heal" node003 >/dev/null
on node003 /usr/sbin/sshd -f "$HB_TESTBED/etc/sshd_config" -E "$HB_TESTBED/hosts/node003/log/sshd.log"
check "nothing is left on any host" wait_for 20 nothing_left

say "the leader is killed"
user "$HB" --leader recipe.yaml --json >"$SCRATCH/out" 2>"$SCRATCH/err" &
leading=$!
before=$(newest)
check "it comes to its load" wait_for 60 begun
on login kill -KILL "$(leader | head -n 1)"
wait "$leading" || true
check "nothing is left on any host after a while" wait_for 45 nothing_left
# The folder of the socket stays, empty, until the person's next ssh.
check "no socket, no way in" wait_for 20 sh -c "! find /tmp -path '/tmp/hbnode-ssh-*' -type s 2>/dev/null | grep -q . && ! find '$HOME_DIR' -name join.json | grep -q ."
check "what was measured until then is a report" user "$HB" report "$(newest)"
finish
