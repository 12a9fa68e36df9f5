#!/usr/bin/env bash
# monitoring/ against a real Prometheus: its configuration and rules, what it scrapes from a node, what comes by way
# of a Pushgateway, and every query of every board.
set -euo pipefail
. "$(dirname "$0")/lib/common.bash"

if ! command -v prometheus >/dev/null || ! command -v promtool >/dev/null || ! command -v prometheus-pushgateway >/dev/null; then
    [ "$(id -u)" = 0 ] || skip "the packages prometheus and prometheus-pushgateway are not installed, and only root can install them"
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends prometheus prometheus-pushgateway; } \
        >"$SCRATCH/apt" 2>&1 || skip "the packages prometheus and prometheus-pushgateway cannot be installed: $(tail -n 1 "$SCRATCH/apt")"
fi

MONITORING=$REPO/monitoring
NODE=$(free_port)
GATEWAY=$(free_port)
PROMETHEUS=$(free_port)
API=http://127.0.0.1:$PROMETHEUS/api/v1
started=()
stop() { kill "${started[@]}" 2>/dev/null || true; }
trap stop EXIT

check "the configuration is one" promtool check config --lint-fatal "$MONITORING/prometheus.yml"
check "the rules are some" promtool check rules "$MONITORING/rules.yml"

# The same configuration on free ports, looking every second.
cp -r "$MONITORING/rules.yml" "$MONITORING/targets" "$SCRATCH"
sed -e "s/localhost:25000/127.0.0.1:$NODE/; s/localhost:9091/127.0.0.1:$GATEWAY/; s/_interval: 5s/_interval: 1s/" \
    "$MONITORING/prometheus.yml" >"$SCRATCH/prometheus.yml"
prometheus-pushgateway --web.listen-address="127.0.0.1:$GATEWAY" >"$SCRATCH/gateway.log" 2>&1 &
started+=($!)
prometheus --config.file="$SCRATCH/prometheus.yml" --storage.tsdb.path="$SCRATCH/series" \
    --web.listen-address="127.0.0.1:$PROMETHEUS" >"$SCRATCH/prometheus.log" 2>&1 &
started+=($!)
check "the gateway is ready" wait_for 20 curl -fs "http://127.0.0.1:$GATEWAY/-/ready"
check "Prometheus is ready" wait_for 20 curl -fs "http://127.0.0.1:$PROMETHEUS/-/ready"

cat >"$SCRATCH/recipe.yaml" <<YAML
scenario: scraped
orchestration: {mode: local}
monitoring: {enabled: true, pushgateway: {url: "http://127.0.0.1:$GATEWAY", interval: 1s}, metrics: [{type: system, scrape_interval: 1s}]}
workload: {service: dummy, model: dummy, concurrency: 4, warmup: 1s, duration: 15s}
YAML

# ask QUERY: what Prometheus answers; fails when it refuses the query.
ask() { curl -fsG "$API/query" --data-urlencode "query=$1"; }
# there_is QUERY: at least one series answers it.
there_is() { ask "$1" | jq -e '.data.result | length > 0' >/dev/null; }

lead "$SCRATCH/recipe.yaml" --client-port "$NODE" &
leading=$!
check "the node serves its share" wait_for 60 curl -fs "http://127.0.0.1:$NODE/metrics/prometheus"
# What a node shows itself has no label `run`; what was pushed has one.
check "requests that ended are scraped" wait_for 30 there_is 'hbnode_requests_total{outcome="completed",run=""} > 0'
check "requests that ended are pushed" wait_for 30 there_is 'hbnode_requests_total{outcome="completed",run!=""} > 0'
check "a pushed series keeps its own job" there_is 'hbnode_requests_total{job="hbnode",run!=""}'
check "the target is up" there_is "up{job=\"hbnode\",instance=\"127.0.0.1:$NODE\"} == 1"
for name in dummy_requests_total dummy_throughput_rps dummy_workload_running cpu_usage_percent ram_used_megabytes hbnode_cpu_usage_ratio \
    hbnode_memory_used_bytes hbnode_network_receive_bytes_total hbnode_requests_in_flight hbnode_request_latency_seconds_sum; do
    check "$name is scraped" wait_for 10 there_is "$name{run=\"\"}"
done
check "a rate can be taken" wait_for 15 there_is 'rate(hbnode_output_tokens_total{run=""}[10s]) > 0'

# The older names break Prometheus' advice on units, as they always did; the others may not.
curl -fs "http://127.0.0.1:$NODE/metrics/prometheus" >"$SCRATCH/metrics"
promtool check metrics <"$SCRATCH/metrics" >"$SCRATCH/lint" 2>&1 || true
clean() { ! grep -E '^(hbnode_|error)' "$SCRATCH/lint"; }
check "promtool has no complaint about hbnode's own names" clean

say "boards"
# queries BOARD: its queries with Grafana's variables filled in, one a line.
queries() {
    jq -r '.panels[].targets[].expr' "$1" | sed 's/[$]__rate_interval/10s/g; s/[$]run/.*/g; s/[$]instance/.*/g'
}
for board in "$MONITORING"/dashboards/*.json; do
    refused=0
    while read -r query; do
        ask "$query" >/dev/null || { refused=$((refused + 1)) && say "refused: $query"; }
    done < <(queries "$board")
    check "Prometheus takes every query of $(basename "$board")" test "$refused" = 0
done
# Without a GPU and its energy every board of the run and its node has something to show.
for board in runs nodes; do
    empty=0
    while read -r query; do
        there_is "$query" || { empty=$((empty + 1)) && say "empty: $query"; }
    done < <(queries "$MONITORING/dashboards/$board.json" | grep -v hbnode_gpu)
    check "every panel of $board.json but those of GPUs shows something" test "$empty" = 0
done
rules_are_well() { curl -fs "$API/rules" | jq -e '[.data.groups[].rules[] | .health == "ok"] | length == 3 and all' >/dev/null; }
check "the rules are evaluated" wait_for 10 rules_are_well

wait "$leading" || true
RUN_DIR=$(jq -r '.run_dir' "$SCRATCH/out")
check "the run is whole" holds "$RUN_DIR" '.run.complete'
check "the books balance" balances "$RUN_DIR"
scraped=$(ask 'max_over_time(hbnode_requests_total{outcome="completed",run=""}[5m])' | jq -r '.data.result[0].value[1]')
completed=$(jq -s '[.[] | select(.outcome == "completed")] | length' "$RUN_DIR"/*/requests.jsonl)
say "completed, as last scraped: $scraped; by the rows: $completed"
check "no scrape shows more than the rows" test "$scraped" -le "$completed"
check "the last scrape shows most of them" test $((scraped * 10)) -ge $((completed * 5))
finish
