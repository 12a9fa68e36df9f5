#!/usr/bin/env bash
# The real Debian Pushgateway: what is pushed, under which names, and that the groups are gone afterwards.
set -euo pipefail
. "$(dirname "$0")/lib/common.bash"

command -v prometheus-pushgateway >/dev/null || skip "the package prometheus-pushgateway is not installed"
PORT=$(free_port)
URL=http://127.0.0.1:$PORT
prometheus-pushgateway --web.listen-address="127.0.0.1:$PORT" >"$SCRATCH/gateway.log" 2>&1 &
gateway=$!
trap 'kill $gateway 2>/dev/null' EXIT
check "the gateway is ready" wait_for 10 curl -fs "$URL/-/ready"

recipe() {
    cat >"$SCRATCH/recipe.yaml" <<YAML
scenario: pushed
orchestration: {mode: local}
monitoring: {enabled: true, pushgateway: {url: "$1", interval: 1s}}
workload: {service: dummy, model: dummy, concurrency: 4, warmup: 1s, duration: 6s}
YAML
}

recipe "$URL"
lead "$SCRATCH/recipe.yaml" &
leading=$!
pushed() { curl -fs "$URL/metrics" | grep -q '^hbnode_requests_total{'; }
check "requests are pushed while the run goes on" wait_for 30 pushed
curl -fs "$URL/metrics" >"$SCRATCH/metrics"
for name in cpu_usage_percent ram_used_megabytes dummy_requests_total dummy_throughput_rps hbnode_cpu_usage_ratio hbnode_memory_used_bytes hbnode_requests_total; do
    check "$name is there" grep -q "^$name" "$SCRATCH/metrics"
done
check "every push was accepted" sh -c "! grep '^push_failure_time_seconds' '$SCRATCH/metrics' | grep -qv ' 0$'"
wait "$leading"
gone() { ! curl -fs "$URL/metrics" | grep -q '^hbnode_'; }
check "the groups are deleted at the end" wait_for 10 gone

say "the old words"
if (exec 3<>/dev/tcp/127.0.0.1/9091) 2>/dev/null; then
    say "SKIPPED: the old words name a gateway at port 9091, and that is taken here"
else
    URL=http://127.0.0.1:9091
    prometheus-pushgateway --web.listen-address=127.0.0.1:9091 >"$SCRATCH/old.log" 2>&1 &
    old=$!
    trap 'kill $gateway $old 2>/dev/null' EXIT
    check "the gateway is ready" wait_for 10 curl -fs "$URL/-/ready"
    recipe unused
    sed -i '/^monitoring:/d' "$SCRATCH/recipe.yaml"
    lead "$SCRATCH/recipe.yaml" --pushgateway-node localhost --monitor-interval 1 &
    leading=$!
    check "--pushgateway-node pushes there, as often as --monitor-interval says" wait_for 12 pushed
    wait "$leading"
    check "the groups are deleted at the end" wait_for 10 gone
fi

say "a gateway that is away"
recipe "http://127.0.0.1:$(free_port)"
lead "$SCRATCH/recipe.yaml"
check "the run is not disturbed" test "$EXIT_CODE" = 0
check "the report warns of it" holds "$RUN_DIR" '[.warnings[] | tostring | test("ushgateway")] | any'
finish
