//! What a person is told about recipes that are wrong or doubtful, page by page.

use hb_core::{
    recipe::{KnownService, Reading, read, show},
    trial::Api,
};

const SERVICES: [KnownService; 4] = [
    KnownService { name: "ollama", default_api: Api::Generate, is_started: true },
    KnownService { name: "vllm", default_api: Api::Completions, is_started: true },
    KnownService { name: "dummy", default_api: Api::Completions, is_started: true },
    KnownService { name: "openai", default_api: Api::Chat, is_started: false },
];

/// The shortest recipe, ready for further lines of its workload and then of its top level.
const LOCAL: &str = "scenario: s\norchestration: {mode: local}\nworkload:\n  service: dummy\n  duration: 10s\n";

/// A recipe for a cluster, ready for further lines of its workload and then of its top level.
const SLURM: &str = "\
scenario: s
partition: gpu
account: p1
orchestration:
  mode: slurm
  node_allocation: {servers: {nodes: 2}, clients: {nodes: 2, clients_per_node: 4}}
resources: {servers: {gpus: 2}}
artifacts: {service: {path: vllm.sif}}
workload:
  service: vllm
  model: m
  duration: 1m
";

/// An endpoint that runs already, ready for further lines of its workload and then of its top level.
const ENDPOINT: &str = "\
scenario: s
orchestration: {mode: local}
servers: {endpoints: [\"http://h:8000\"]}
workload:
  service: openai
  model: m
  duration: 10s
";

/// What is put behind a base, by what is wrong with it.
const WRONG: &[(&str, &str, &str)] = &[
    ("a key that is misspelt", LOCAL, "  concurency: 4\n"),
    ("a key that belongs elsewhere", LOCAL, "time_limit: 1h\n"),
    ("a key that belongs elsewhere and resembles another", LOCAL, "service: dummy\n"),
    ("a key that nothing resembles", LOCAL, "colour: blue\n"),
    ("a key that stands twice", LOCAL, "  duration: 20s\n"),
    ("zero clients", LOCAL, "  concurrency: 0\n"),
    ("a word in a list of numbers", LOCAL, "  concurrency: [1, two, 4]\n"),
    ("an empty list", LOCAL, "  concurrency: []\n"),
    ("no stages", LOCAL, "  stages: []\n"),
    ("a limit that an answer in one piece cannot meet", LOCAL, "  stream: false\n  slo: {ttft_p99: 1s, e2el_p99: 2s}\n"),
    ("a limit on the time per token of choices", LOCAL, "  sampling: {n: 3}\n  slo: {tpot_p50: 10ms, ttft_p50: 1s}\n"),
    (
        "a figure of batches that is never there",
        "scenario: s\norchestration: {mode: local}\nworkload:\n  service: dummy\n",
        "  benchmark_suite: [{name: a, batch: 1}, {name: b, batch: 4}]\n  stop_when: {metric: tpot_p50, ci: 5%}\n",
    ),
    (
        "a search by the time per token of batches",
        LOCAL,
        "  batch: [1, 8]\n  slo: {tpot_p50: 10ms}\n  search: {maximize: rate, from: 4}\n",
    ),
    ("no tokenizer", LOCAL, "  tokenizer: \"\"\n"),
    ("a negative number", LOCAL, "  concurrency: -4\n"),
    ("a number in quotes", LOCAL, "  concurrency: \"4\"\n"),
    ("half a client", LOCAL, "  concurrency: 1.5\n"),
    ("a block where a number is meant", LOCAL, "  concurrency: {is: 4}\n"),
    ("a length of time in words", LOCAL, "  warmup: soon\n"),
    ("a length of time that nobody lives to see", LOCAL, "  warmup: 100000000000y\n"),
    ("lengths of time that come to too much", LOCAL, "  warmup: 4days\n  benchmark_suite: [{name: a, duration: 5days}]\n"),
    ("more requests than their rate can send", LOCAL, "  target_rps: 0.001\n  requests: 1000000000000000000\n"),
    (
        "a search whose longest window has no time",
        "scenario: s\norchestration: {mode: local}\nworkload:\n  service: dummy\n",
        "  slo: {ttft_p90: 1s}\n  stop_when: {metric: ttft_p90, ci: 5%, max: 10m}\n  search: {maximize: rate, from: 4, budget: 5m}\n",
    ),
    ("a negative length of time", LOCAL, "  warmup: -1s\n"),
    ("a rate that is no number", LOCAL, "  target_rps: .nan\n"),
    ("an endless rate", LOCAL, "  target_rps: .inf\n"),
    ("no rate", LOCAL, "  target_rps: 0\n"),
    ("a count beyond all numbers", LOCAL, "  requests: 1e30\n"),
    ("an operation that is not there", LOCAL, "  api: telepathy\n"),
    ("an operation of another protocol", LOCAL, "  api: generate\n"),
    ("a word with another spelling", LOCAL, "  request_distribution: Poison\n  target_rps: 1\n"),
    ("half a range", LOCAL, "  prompt_len: {uniform: [1]}\n"),
    ("a range from above", LOCAL, "  prompt_len: {uniform: [256, 64]}\n"),
    ("two distributions", LOCAL, "  prompt_len: {uniform: [1, 2], normal: [1, 2]}\n"),
    ("an SLO that is misspelt", LOCAL, "  slo: {tfft_p99: 1s}\n"),
    ("an SLO that nothing meets", LOCAL, "  slo: {ttft_p99: 0s}\n"),
    ("both loops", LOCAL, "  target_rps: 4\n  concurrency: 4\n"),
    ("a deadline of no time", LOCAL, "  timeouts: {total: 0s}\n"),
    ("a drill after the window", LOCAL, "  drills: [{at: 15s, kill: executor}]\n"),
    ("fields that the request owns", LOCAL, "  sampling: {temperature: 0.5, stream: false, max_tokens: 4}\n"),
    ("an entry of a suite without a name", LOCAL, "  benchmark_suite:\n    - {concurrency: 4}\n"),
    ("two loads in one entry", LOCAL, "  benchmark_suite:\n    - {name: a, concurrency: 4, target_rps: 2}\n"),
    ("more trials than anybody waits for", LOCAL, "  requests: [1, 2, 3, 4, 5]\nrepetitions: 3000\n"),
    ("a line break in a name", LOCAL, "account: \"p1\\n#SBATCH --wrap=x\"\n"),
    ("a zero byte in a word", LOCAL, "artifacts: {extra_args: [\"a\\0b\"]}\n"),
    ("a colour in a text", LOCAL, "qos: \"\\e[31mred\"\n"),
    ("a variable with a space", LOCAL, "environment: {\"A B\": 1, 1A: 2, OK: 3}\n"),
    ("a bind without a target", LOCAL, "binds: [/data, \"/a:/b:rx\", \"/a:/b:ro\"]\n"),
    ("a search without an SLO", LOCAL, "  search: {maximize: rate}\n"),
    ("a search from above", LOCAL, "  slo: {ttft_p90: 1s}\n  search: {maximize: rate, from: 20, to: 10}\n"),
    ("a search of no precision", LOCAL, "  slo: {ttft_p90: 1s}\n  search: {maximize: rate, from: 4, precision: 0, budget: 0s}\n"),
    (
        "a search from half a client",
        LOCAL,
        "  slo: {ttft_p90: 1s}\n  search: {maximize: concurrency, from: 0.5, to: 8, precision: fine}\n",
    ),
    (
        "a search beside the loads that it sets",
        LOCAL,
        "  slo: {ttft_p90: 1s}\n  search: {maximize: rate, from: 4}\n  target_rps: [1, 2]\n  concurrency: 4\n  sleep_seconds: 1s\n  drills: [{at: 5s, kill: server}]\n",
    ),
    (
        "a search beside a load that changes",
        "scenario: s\norchestration: {mode: local}\nworkload:\n  service: dummy\n",
        "  slo: {ttft_p90: 1s}\n  search: {maximize: concurrency}\n  stages: [{duration: 10s, target_rps: 4}]\n  max_in_flight: 8\n",
    ),
    (
        "a search beside a trace",
        LOCAL,
        "  slo: {ttft_p90: 1s}\n  search: {maximize: rate, from: 4}\n  request_distribution: trace\n  dataset: t.jsonl\n",
    ),
    (
        "a search beside an entry's own load",
        LOCAL,
        "  slo: {ttft_p90: 1s}\n  search: {maximize: goodput}\n  benchmark_suite:\n    - {name: a, concurrency: 4}\n    - {name: b, prompt_len: 64}\n",
    ),
    (
        "a search that has no time",
        LOCAL,
        "  slo: {ttft_p90: 1s}\n  warmup: 5s\n  search: {maximize: rate, from: 4, budget: 14s}\n",
    ),
    ("a search whose windows judge nothing", LOCAL, "  slo: {ttft_p99: 1s}\n  search: {maximize: rate, from: 1, to: 30}\n"),
    (
        "a search by too few requests",
        "scenario: s\norchestration: {mode: local}\nworkload:\n  service: dummy\n",
        "  slo: {ttft_p99: 1s}\n  requests: 100\n  search: {maximize: concurrency}\n",
    ),
    ("a custom service under a taken name", LOCAL, "custom_services: {vllm: {command: [x], protocol: openai}}\n"),
    ("turns of an open loop, and of batches", LOCAL, "  turns: [1, 4]\n  target_rps: 4\n  batch: 2\n  sampling: {n: 2}\n"),
    (
        "several prompts for one instant of a trace",
        LOCAL,
        "  request_distribution: trace\n  dataset: t.jsonl\n  batch: [1, 4]\n  benchmark_suite: [{name: a, batch: 2}, {name: b}]\n",
    ),
    ("more prompts than anybody holds", LOCAL, "  batch: [8, 4000000000]\n"),
    (
        "too many requests together",
        ENDPOINT,
        "  batch: 400\n  benchmark_suite: [{name: a, concurrency: 64}, {name: b, concurrency: 3000}]\n",
    ),
    ("no turns, and too many", LOCAL, "  turns: [0, 2000]\n"),
    ("a custom service without a protocol", LOCAL, "custom_services: {mine: {command: [x], ready: {timeout: 0s}}}\n"),
    ("settings that every service has", LOCAL, "servers: {service_config: {port: 99999, extra_args: --flag x}}\n"),
    ("an empty sweep of the service", LOCAL, "servers: {service_config: {ttft: []}}\n"),
    ("a pause of no time between questions", LOCAL, "servers: {health_check: {interval: 0, timeout: 0, endpoint: health}}\n"),
    ("a gateway without an address", LOCAL, "monitoring: {pushgateway: {interval: 15s}}\n"),
    ("a seed that is no number, far below", LOCAL, "\n# Far below.\n\n\n\n\n\nmetadata: {seed: x}\n"),
    ("a model in more parts than GPUs", SLURM, "servers: {service_config: {tensor_parallel_size: 8}}\n"),
    (
        "replicas of a model on more GPUs than their node has",
        SLURM,
        "servers: {service_config: {tensor_parallel_size: 2, data_parallel_size: 2}}\n",
    ),
    ("two things at once", SLURM, "  api: generate\nbinds: [a]\n"),
    (
        "a model in more parts than the GPUs of all nodes",
        SLURM,
        "servers: {service_config: {distributed: {backend: ray, tensor_parallel_size: 4, pipeline_parallel_size: 2}}}\n",
    ),
    (
        "endpoints with more than a base URL",
        LOCAL,
        "servers: {endpoints: [\"http://h:99999\", \"http://h:1/v1/chat/completions\", \"http://h:1?key=a\", \"http://[::1]:8000/v1\"]}\n",
    ),
    ("a field that is not finite", LOCAL, "  sampling: {temperature: .inf}\n"),
    ("a number of tokens under the server's own name", LOCAL, "  sampling: {max_completion_tokens: 5}\n"),
    ("a hundred million clients", LOCAL, "  concurrency: [8, 100000000]\n"),
    ("too many clients by many nodes", SLURM, "  clients_per_node: 600000\n"),
    ("an alias without its anchor", LOCAL, "  model: *x\n"),
    ("endpoints that are no URLs", LOCAL, "servers: {endpoints: [\"host:8000\", \"http://\", \"http://me:secret@h:1\"]}\n"),
    ("a name that no answer has", LOCAL, "servers: {answers_as: [m, \"\"]}\n"),
    (
        "headers that are none, the load's own, or secret",
        LOCAL,
        "servers:\n  endpoints: [\"http://h:1\"]\n  headers:\n    X Tenant: a\n    Host: b\n    content-type: c\n    Authorization: Bearer x\n    \
         X-A: 1\n    x-a: 2\n    X-B: \"\"\n    X-C: \u{e9}\n",
    ),
    (
        "headers of no known source",
        LOCAL,
        "servers:\n  endpoints: [\"http://h:1\"]\n  headers:\n    X-A: {enviroment: A}\n    X-B: {env: A, file: b}\n    X-C: [a]\n    X-D: {}\n",
    ),
    ("a secret in a variable's name", LOCAL, "servers: {endpoints: [\"http://h:1\"], headers: {X-Key: {env: \"$KEY\"}}}\n"),
    (
        "a header beside the key that it is",
        LOCAL,
        "servers: {endpoints: [\"http://h:1\"], api_key_env: KEY, headers: {authorization: {env: KEY}}}\n",
    ),
    ("a drill against a server that was not started", ENDPOINT, "  drills: [{at: 1s, kill: server}]\n"),
];

/// What is doubtful, and may be meant.
const DOUBTFUL: &[(&str, &str, &str)] = &[
    ("a load without a unit", LOCAL, "  warmup: 90\n"),
    ("a value that stands twice", LOCAL, "  concurrency: [4, 8, 4]\n"),
    ("words about the other loop", LOCAL, "  target_rps: 4\n  sleep_seconds: 1\n  clients_per_node: 3\n"),
    ("words about an open loop", LOCAL, "  burstiness: 0.5\n  max_in_flight: 4\n"),
    ("two ends", LOCAL, "  requests: 100\n"),
    ("a prefix as long as the prompts", LOCAL, "  shared_prefix: {groups: 4, tokens: 128}\n"),
    ("a suite with short windows and one name", LOCAL, "  benchmark_suite:\n    - {name: a, duration: 2s}\n    - {name: A}\n"),
    (
        "a drill that some trials miss",
        LOCAL,
        "  benchmark_suite: [{name: a, duration: 30s}, {name: b}]\n  drills: [{at: 15s, kill: node}]\n",
    ),
    ("several prompts where a request takes one", ENDPOINT, "  batch: [1, 4]\n  slo: {tpot_p50: 10ms}\n"),
    (
        "several prompts of an open loop where some requests take one",
        LOCAL,
        "  target_rps: 8\n  api: [completions, chat]\n  benchmark_suite: [{name: a, batch: 4}, {name: b}]\n  max_in_flight: 2\n",
    ),
    (
        "a search whose lowest rates judge nothing, four requests at a time",
        ENDPOINT,
        "  slo: {ttft_p90: 1s}\n  search: {maximize: rate, from: 0.5, to: 30}\n  batch: 4\n",
    ),
    ("a key without endpoints", LOCAL, "servers: {api_key_env: KEY}\n"),
    ("headers without endpoints", LOCAL, "servers: {headers: {X-Tenant: a}}\n"),
    ("words that have no effect", LOCAL, "logging: {flush_interval: 5s, retention: 7d}\ncost: {node_hour: 2}\n"),
    ("what starts servers beside endpoints", ENDPOINT, "binds: [\"/a:/b\"]\nenvironment: {A: 1}\n"),
    ("fewer GPUs used than there are", SLURM, "servers: {service_config: {tensor_parallel_size: 1}}\n"),
    ("a load that is smaller than the cluster", SLURM, "  concurrency: 1\n"),
    ("a custom service that is not used", SLURM, "custom_services: {mine: {command: [x], protocol: openai}}\n"),
    ("where to pull from, without a path", LOCAL, "artifacts: {service: {remote: \"docker://a/b\"}}\n"),
    ("two images and a client's", LOCAL, "artifacts: {service: {path: a.sif}, container: b.sif, python: {path: c.sif}}\n"),
    ("lengths with too wide a spread", LOCAL, "  prompt_len: {normal: [64, 100]}\n  gen_tokens: {lognormal: [64, 20]}\n"),
    ("one question before the deadline", LOCAL, "servers: {health_check: {interval: 10s, timeout: 5s}}\n"),
    (
        "probes that cannot be chosen",
        LOCAL,
        "monitoring:\n  metrics:\n    - {type: gpu, scrape_interval: 1s, targets: [servers]}\n    - {type: cpu, scrape_interval: 2s}\n",
    ),
    ("two numbers of clients", SLURM, "  clients_per_node: 8\n"),
    ("deadlines that come too late", LOCAL, "  timeouts: {total: 1s, first_byte: 2s}\n"),
];

/// Whole texts.
const WHOLE: &[(&str, &str)] = &[
    ("nothing", ""),
    ("comments only", "# only words\n"),
    ("a list", "- a\n- b\n"),
    ("one text", "just words\n"),
    ("a bracket that stays open", "scenario: [a, b\nworkload: {}\n"),
    ("a tab before a key", "scenario: s\nworkload:\n\tservice: dummy\n"),
    ("a tab after a value's line", "scenario: s\nworkload:\n  service: dummy\n\tmodel: m\n"),
    ("a block that begins in the wrong column", "scenario: s\n  workload: {}\n orchestration: {}\n"),
    ("required keys left out", "scenario: s\npartition: gpu\n"),
    (
        "a service that is misspelt, without a model",
        "scenario: ../up\norchestration: {mode: locl}\nworkload: {service: vlm, duration: 1m}\nartifacts: {runtime: docker}\n",
    ),
    (
        "an image that is no image",
        "scenario: s\norchestration: {mode: local}\nworkload: {service: vllm, model: m, duration: 1m}\nartifacts: {runtime: apptainer, container: vllm.tar}\n",
    ),
    ("values of the wrong kind", "scenario: [s]\norchestration: local\nworkload: 4\nmodules: Apptainer\nrepetitions: 0\n"),
    ("a block without its keys", "scenario: s\norchestration:\nworkload:\n"),
    (
        "a slurm recipe without its words",
        "scenario: s\norchestration: {mode: slurm}\nworkload: {service: vllm, model: m, duration: 1m}\n",
    ),
    (
        "nodes that do not add up, in a job that is too short",
        "scenario: s\npartition: cpu\naccount: p1\nrepetitions: 3\norchestration:\n  mode: slurm\n  total_nodes: 2\n  node_allocation:\n    \
         servers: {nodes: 2}\n    clients: {nodes: 1}\n  job_config: {time_limit: 00:10:00}\nresources: {servers: {gpus: 1}, clients: {gpus: 1}}\n\
         workload: {service: dummy, duration: 5m, concurrency: [1, 8]}\n",
    ),
    (
        "a static mapping that does not fit",
        "scenario: s\norchestration:\n  mode: local\n  node_allocation:\n    servers: {nodes: 2}\n    clients:\n      nodes: 1\n      \
         clients_per_node: 4\n      distribution_strategy: static\n      target_mapping:\n        0: [0, 2]\n        1: 5\n        7: 0\n        x: 0\n\
         workload: {service: dummy, duration: 10s}\n",
    ),
    (
        "an operation that Ollama does not have",
        "scenario: s\norchestration: {mode: local}\nworkload: {service: ollama, model: m, duration: 10s, api: [chat, completions]}\n",
    ),
    (
        "nodes and sharing beside endpoints",
        "scenario: s\norchestration:\n  mode: local\n  total_nodes: 4\n  node_allocation:\n    servers: {nodes: 2}\n    \
         clients: {nodes: 1, share_servers: true}\nservers: {endpoints: [\"http://h:1\"]}\n\
         workload: {service: openai, model: m, duration: 10s}\n",
    ),
    (
        "shared nodes that are not equal",
        "scenario: s\norchestration:\n  mode: local\n  node_allocation:\n    servers: {nodes: 1}\n    \
         clients: {nodes: 3, share_servers: true}\nworkload: {service: dummy, duration: 10s, concurrency: 3}\n",
    ),
    (
        "two endpoints and one open client",
        "scenario: s\norchestration: {mode: local}\nservers: {endpoints: [\"http://a:1\", \"http://b:1\", \"http://a:1\"]}\n\
         workload: {service: openai, model: m, target_rps: 4, duration: 10s}\n",
    ),
    (
        "clients of each node that are to go by cores",
        "scenario: s\norchestration:\n  mode: local\n  node_allocation: {clients: {nodes: 2, clients_per_node: 4, shares_by: cores}}\n\
         workload: {service: dummy, duration: 10s}\n",
    ),
    (
        "hosts of mode ssh that cannot be",
        "scenario: s\norchestration:\n  mode: ssh\n  nodes: [a, a, -oProxyCommand=id, 'b c', '']\n  total_nodes: 2\n  node_allocation: \
         {servers: {nodes: 2}, clients: {nodes: 4}}\nworkload: {service: dummy, duration: 10s}\n",
    ),
    (
        "a line that is too long to be shown",
        "scenario: s\norchestration: {mode: local}\nworkload: {service: dummy, duration: 10s, prompt_len: 128, gen_tokens: 64, warmup: 1s, \
         stream: true, slo: {ttft_p99: 500ms, tpot_p99: 50ms, e2el_p99: 10s}, concurrency: many, sampling: {temperature: 0.5, top_p: 0.9}}\n",
    ),
];

/// What is well written and not built yet.
const LATER: &[(&str, &str, &str)] =
    &[("own metrics", LOCAL, "monitoring:\n  custom: [{name: m, url: \"http://h\"}]\nreporting:\n  formats: [json, pdf]\n")];

fn reading(text: &str) -> Reading {
    read(text.as_bytes(), &[], &SERVICES)
}

fn chapter(name: &str, page: &str) -> String {
    format!("──── {name}\n\n{page}\n")
}

fn whole(cases: &[(&str, &str, &str)]) -> Vec<(String, String)> {
    cases.iter().map(|(name, base, more)| ((*name).to_owned(), format!("{base}{more}"))).collect()
}

#[test]
fn the_bases_have_nothing_wrong() {
    for base in [LOCAL, SLURM, ENDPOINT] {
        let found = reading(base);
        assert!(found.recipe.is_some() && found.problems.is_empty(), "{}", show(&found.problems, base, "base.yaml"));
    }
}

#[test]
fn what_fits_is_not_complained_about() {
    let mapped = "scenario: s\norchestration:\n  mode: local\n  node_allocation:\n    servers: {nodes: 2}\n    clients: \
                  {nodes: 2, clients_per_node: 2, distribution_strategy: static, target_mapping: {0: 0, 1: 1, 2: [0, 1], 3: [1]}}\n\
                  workload: {service: dummy, duration: 10s}\n";
    let ray = "servers: {service_config: {distributed: {backend: ray, tensor_parallel_size: 2, pipeline_parallel_size: 2}}}\n";
    let rotating = "scenario: s\norchestration: {mode: local, node_allocation: {clients: {nodes: 1, distribution_strategy: all-to-all}}}\n\
                    servers: {endpoints: [\"http://a:1\", \"http://b:1\"]}\n\
                    workload: {service: openai, model: m, target_rps: 4, duration: 10s}\n";
    let by_cores = "scenario: s\norchestration: {mode: local, node_allocation: {clients: {nodes: 2, shares_by: cores}}}\n\
                    workload: {service: dummy, duration: 10s, concurrency: 6}\n";
    let script = format!("{LOCAL}metadata: {{notes: \"two\\nlines\"}}\n");
    let on_cpu = format!("{SLURM}servers: {{service_config: {{distributed: {{nodes: 2, tensor_parallel_size: 2}}}}}}\n");
    let on_cpu = on_cpu.replace("gpus: 2", "gpus: 0");
    for text in [mapped, &format!("{SLURM}{ray}"), rotating, by_cores, &script, &on_cpu] {
        let found = reading(text);
        assert!(found.problems.is_empty(), "{}", show(&found.problems, text, "recipe.yaml"));
    }
}

#[test]
fn what_is_wrong_is_refused_with_its_line() {
    let mut book = String::new();
    let mut count = 0;
    let others = WHOLE.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
    for (name, text) in whole(WRONG).into_iter().chain(others) {
        let found = reading(&text);
        let page = show(&found.problems, &text, "recipe.yaml");
        assert!(!found.problems.is_empty(), "{name}");
        assert_eq!(found.recipe.is_none(), found.problems.iter().any(|problem| problem.is_error()), "{name}");
        assert!(page.chars().all(|c| c == '\n' || !c.is_control()), "{name}");
        book.push_str(&chapter(&name, &page));
        count += usize::from(found.recipe.is_none());
    }
    assert!(count >= 45, "{count}");
    insta::assert_snapshot!("wrong", book);
}

#[test]
fn what_is_doubtful_can_be_run_all_the_same() {
    let mut book = String::new();
    for (name, text) in whole(DOUBTFUL) {
        let found = reading(&text);
        let page = show(&found.problems, &text, "recipe.yaml");
        assert!(found.recipe.is_some() && !found.problems.is_empty(), "{name}: {page}");
        book.push_str(&chapter(&name, &page));
    }
    insta::assert_snapshot!("doubtful", book);
}

#[test]
fn what_is_not_built_yet_is_named_with_its_line() {
    let mut book = String::new();
    for (name, text) in whole(LATER) {
        let found = reading(&text);
        assert!(found.recipe.is_some(), "{name}: {}", show(&found.problems, &text, "recipe.yaml"));
        assert!(
            !found.later.is_empty() && found.later.iter().all(|problem| problem.is_error() && problem.line.is_some()),
            "{name}"
        );
        book.push_str(&chapter(&name, &show(&found.later, &text, "recipe.yaml")));
    }
    insta::assert_snapshot!("later", book);
}

#[test]
fn a_bare_number_is_seconds_and_says_so() {
    let found = reading("scenario: s\norchestration: {mode: local}\nworkload: {service: dummy, duration: 90}\n");
    let trials = hb_core::recipe::trials(&found.recipe.unwrap());
    assert_eq!(trials[0].load.stop, hb_core::trial::Stop::After(hb_core::units::Span::from_secs(90)));
    assert_eq!(found.problems.len(), 1);
    assert_eq!(found.problems[0].advice.as_deref(), Some("it is read as seconds; write `90s`"));
}

/// Nine levels of nine aliases each would be 9^9 values.
#[test]
fn an_alias_bomb_is_refused_before_it_grows() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..=9 {
        let inner = vec![format!("*a{}", level - 1); 9].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{inner}]\n"));
    }
    bomb.push_str("workload: *a9\n");
    let found = reading(&bomb);
    assert!(found.recipe.is_none() && found.problems.len() == 1, "{:?}", found.problems);
}

#[test]
fn deep_nesting_is_refused_and_does_not_end_the_process() {
    for text in [format!("workload: {}{}", "[".repeat(100_000), "]".repeat(100_000)), "{a: ".repeat(20_000), "- ".repeat(50_000)]
    {
        let found = reading(&text);
        assert!(found.recipe.is_none() && found.problems.iter().any(|problem| problem.is_error()));
    }
}

#[test]
fn a_text_that_is_all_mistakes_is_told_up_to_a_thousand_of_them() {
    let page_of = |count: u32| {
        let keys: String = (0..count).map(|index| format!("  unknown{index}: 1\n")).collect();
        let text = format!("{LOCAL}{keys}");
        let found = reading(&text);
        assert!(found.recipe.is_none());
        show(&found.problems, &text, "recipe.yaml")
    };
    assert!(page_of(500).ends_with("recipe.yaml: 500 errors, no warnings\n"));
    let page = page_of(1_500);
    assert!(page.contains("found 500 further problems"));
    assert!(page.ends_with("recipe.yaml: 1001 errors, no warnings\n"));
}

/// Warnings alone never keep a recipe from being run, however many there are.
#[test]
fn a_thousand_warnings_are_still_no_error() {
    // Below the most trials, with more than a thousand repeated values.
    let text = format!("{LOCAL}servers: {{service_config: {{ttft: [{}]}}}}\n", vec!["1ms"; 1_500].join(", "));
    let found = reading(&text);
    assert!(found.recipe.is_some() && found.problems.iter().all(|problem| !problem.is_error()));
}
