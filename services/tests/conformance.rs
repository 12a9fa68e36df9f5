//! What every service must be, and the words that start one.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{collections::BTreeSet, num::NonZeroU32, path::PathBuf};

use hb_core::{
    orders::{Duty, Meeting, Part, ServerOrder},
    trial::{
        Api, ApiKeySource, ContainerRuntime, CustomService, HealthCheck, Layout, Length, ProtocolName, RequestSpec, ServiceSpec,
    },
    units::Span,
};
use hb_services::{
    SERVICES, resolve,
    runtime::{Accelerator, wrap},
    service::{CommandLine, Gathering, OWN_BINARY, Step, request_for},
};
use serde_json::{Map, Value, json};

fn spec(service: &str, config: Value) -> ServiceSpec {
    ServiceSpec {
        service: service.into(),
        model: "llama2".into(),
        config: config.as_object().unwrap().clone(),
        environment: [("HF_HOME".to_owned(), "/scratch/a,b $(id)".to_owned())].into(),
        endpoints: if service == "openai" { vec!["http://127.0.0.1:1".into()] } else { vec![] },
        answers_as: Vec::new(),
        headers: Default::default(),
        api_key: Some(ApiKeySource::Env("THE_KEYS_NAME".into())),
        port: None,
        health: HealthCheck { enabled: true, timeout: Span::from_secs(60), interval: Span::from_secs(1), endpoint: None },
        runtime: ContainerRuntime::Bare,
        path: None,
        binds: vec![],
        extra_args: vec!["--further".into(), "two words".into()],
        gpus: 1,
        custom: None,
        layout: Default::default(),
        remote: None,
        runtime_args: Vec::new(),
    }
}

fn order(service: ServiceSpec) -> ServerOrder {
    ServerOrder {
        server: 0,
        part: Part::default(),
        service,
        port: 8123,
        is_port_fixed: false,
        host: "10.0.0.7".into(),
        request: request(),
        ports: [].into(),
        scratch: None,
    }
}

fn request() -> RequestSpec {
    RequestSpec {
        api: Api::Completions,
        stream: true,
        prompt_len: Length::Fixed(3),
        gen_tokens: Length::Fixed(8),
        batch: NonZeroU32::MIN,
        shared_prefix: None,
        turns: None,
        sampling: Map::new(),
    }
}

fn command(spec: &ServiceSpec) -> CommandLine {
    resolve(spec).unwrap().command(&order(spec.clone())).unwrap()
}

#[test]
fn every_service_has_a_name_of_its_own_and_a_port() {
    let names: BTreeSet<_> = SERVICES.iter().map(|service| service.name()).collect();
    assert_eq!(names.len(), SERVICES.len());
    assert!(SERVICES.iter().all(|service| service.default_port() > 1023 && !service.about().is_empty()));
}

#[test]
fn every_services_operation_belongs_to_its_protocol() {
    for service in SERVICES {
        let is_ollama = service.protocol() == ProtocolName::Ollama;
        assert_eq!(service.default_api() == Api::Generate, is_ollama, "{}", service.name());
    }
}

#[test]
fn every_service_takes_an_empty_config_and_says_what_else_it_knows() {
    for service in SERVICES {
        assert_eq!(service.check(&spec(service.name(), json!({}))), [], "{}", service.name());
        let problems = service.check(&spec(service.name(), json!({"no_such_key_at_all": 1})));
        assert_eq!(problems.len(), 1, "{}", service.name());
        assert_eq!(problems[0].path, "servers.service_config.no_such_key_at_all");
    }
    for (name, wrong, right) in
        [("dummy", "tfft", "ttft"), ("vllm", "max_model_lenn", "max_model_len"), ("ollama", "gpu_layer", "gpu_layers")]
    {
        let spec = spec(name, json!({wrong: 1}));
        assert_eq!(resolve(&spec).unwrap().check(&spec)[0].advice, format!("did you mean `{right}`?"));
    }
}

#[test]
fn every_service_is_ready_only_after_a_real_completion() {
    for service in SERVICES {
        let mut spec = spec(service.name(), json!({}));
        assert_eq!(service.readiness(&spec).last(), Some(&Step::Completes), "{}", service.name());
        spec.health.enabled = false;
        let steps = service.readiness(&spec);
        assert!(!steps.iter().any(|step| matches!(step, Step::Healthy { .. })), "{}", service.name());
        assert_eq!(steps.last(), Some(&Step::Completes));
    }
}

#[test]
fn no_command_names_the_key_and_every_one_names_its_port() {
    for service in SERVICES.iter().filter(|service| service.is_started()) {
        let line = command(&spec(service.name(), json!({})));
        let text = format!("{line:?}");
        assert!(!text.contains("THE_KEYS_NAME") && text.contains("8123"), "{text}");
        assert_eq!(line.args.last().unwrap(), "two words", "{text}");
    }
}

#[test]
fn vllms_config_becomes_its_flags() {
    let config = json!({"max_model_len": 2048, "gpu_memory_utilization": 0.7, "enforce_eager": true, "trust_remote_code": false,
        "enable_prefix_caching": false, "distributed": {"enabled": true, "backend": "mp", "tensor_parallel_size": 4}});
    let spec = spec("vllm", config);
    assert_eq!(resolve(&spec).unwrap().check(&spec), []);
    assert_eq!(
        command(&spec).args.join(" "),
        "serve llama2 --host 10.0.0.7 --port 8123 --max-model-len 2048 --gpu-memory-utilization 0.7 --enforce-eager \
         --tensor-parallel-size 4 --no-enable-prefix-caching --distributed-executor-backend mp --further two words"
    );
}

fn over_two_nodes(config: Value) -> ServiceSpec {
    let mut spec = spec("vllm", config);
    spec.extra_args.clear();
    spec.layout = resolve(&spec).unwrap().layout(&spec).unwrap();
    spec
}

#[test]
fn vllm_spreads_over_as_many_nodes_as_its_parts_need_gpus() {
    let layout = |gpus, config: Value| {
        let spec = ServiceSpec { gpus, ..spec("vllm", config) };
        resolve(&spec).unwrap().layout(&spec)
    };
    let ranks = |nodes| Ok(Layout::Ranks(NonZeroU32::new(nodes).unwrap()));
    assert_eq!(layout(4, json!({"tensor_parallel_size": 4})), Ok(Layout::OneNode));
    assert_eq!(layout(4, json!({"tensor_parallel_size": 8})), ranks(2));
    assert_eq!(layout(4, json!({"tensor_parallel_size": 4, "pipeline_parallel_size": 3})), ranks(3));
    assert_eq!(layout(0, json!({"tensor_parallel_size": 2})), Ok(Layout::OneNode));
    assert_eq!(layout(0, json!({"distributed": {"nodes": 2, "tensor_parallel_size": 2}})), ranks(2));
    assert_eq!(layout(4, json!({"distributed": {"enabled": false, "tensor_parallel_size": 8}})), Ok(Layout::OneNode));
}

#[test]
fn sizes_that_nodes_cannot_share_are_refused_at_their_key() {
    let refused = |gpus, config: Value| {
        let spec = ServiceSpec { gpus, ..spec("vllm", config) };
        let problem = resolve(&spec).unwrap().layout(&spec).unwrap_err();
        problem.path.trim_start_matches("servers.service_config.").to_owned()
    };
    assert_eq!(refused(0, json!({"distributed": {"nodes": 2}})), "distributed.tensor_parallel_size");
    assert_eq!(refused(0, json!({"tensor_parallel_size": 3, "distributed": {"nodes": 2}})), "tensor_parallel_size");
    assert_eq!(refused(2, json!({"tensor_parallel_size": 8, "distributed": {"nodes": 2}})), "distributed.nodes");
    assert_eq!(refused(1, json!({"tensor_parallel_size": 2, "data_parallel_size": 2})), "data_parallel_size");
    assert_eq!(refused(4, json!({"tensor_parallel_size": 4, "data_parallel_size": 2})), "data_parallel_size");
    assert_eq!(refused(1, json!({"distributed": {"tensor_parallel_size": 2, "backend": "uni"}})), "distributed.backend");
}

#[test]
fn the_ranks_of_one_vllm_meet_at_the_first_ones_port_and_only_that_one_listens() {
    let spec = over_two_nodes(json!({"distributed": {"nodes": 2, "tensor_parallel_size": 2, "master_port": 4000}}));
    let service = resolve(&spec).unwrap();
    let mut first = order(spec.clone());
    let wishes: Vec<_> = service.ports(&first).iter().map(|wish| (wish.name, wish.port, wish.is_fixed)).collect();
    assert_eq!(wishes, [("master_port", 4000, true)]);
    first.ports.insert("master_port".into(), 4001);
    let line = service.command(&first).unwrap();
    assert_eq!(
        line.args.join(" "),
        "serve llama2 --host 10.0.0.7 --port 8123 --tensor-parallel-size 2 --nnodes 2 --node-rank 0 \
         --master-addr 10.0.0.7 --master-port 4001"
    );
    assert_eq!(line.env["VLLM_HOST_IP"], "10.0.0.7");
    let meeting = Some(Meeting { host: "10.0.0.7".into(), ports: first.ports.clone() });
    let part = Part { duty: Duty::Follow, of: 0, rank: 1, meeting };
    let second = ServerOrder { server: 1, part, host: "10.0.0.8".into(), ..order(spec) };
    assert_eq!(service.ports(&second), []);
    let line = service.command(&second).unwrap();
    assert_eq!(
        line.args.join(" "),
        "serve llama2 --tensor-parallel-size 2 --nnodes 2 --node-rank 1 --master-addr 10.0.0.7 --master-port 4001 --headless"
    );
    assert_eq!(line.env["VLLM_HOST_IP"], "10.0.0.8");
}

fn over_ray() -> ServiceSpec {
    let ray = json!({"dashboard_port": 9265, "num_cpus_per_node": 4, "num_gpus_per_node": 1});
    over_two_nodes(json!({"distributed": {"backend": "ray", "tensor_parallel_size": 2, "ray": ray}}))
}

fn part(duty: Duty, rank: u32, meeting: Option<Meeting>) -> ServerOrder {
    let mut order = ServerOrder { part: Part { duty, of: 0, rank, meeting }, ..order(over_ray()) };
    let service = resolve(&order.service).unwrap();
    order.ports = service.ports(&order).iter().map(|wish| (wish.name.to_owned(), wish.port)).collect();
    order.scratch = service.wants_scratch(&order).then(|| "/tmp/hb-1".into());
    order
}

#[test]
fn rays_head_nodes_and_driver_know_each_other_by_the_heads_ports() {
    let head = part(Duty::HeadCluster, 0, None);
    let service = resolve(&head.service).unwrap();
    let line = service.command(&head).unwrap();
    assert_eq!(
        text(&line),
        "ray start --block --head --port=6379 --ray-client-server-port=10001 --include-dashboard=true --dashboard-host=10.0.0.7 \
         --dashboard-port=9265 --node-ip-address=10.0.0.7 --object-manager-port=8076 --node-manager-port=8077 \
         --dashboard-agent-listen-port=52365 --num-cpus=4 --num-gpus=1 --temp-dir=/tmp/hb-1 --disable-usage-stats"
    );
    assert_eq!(service.gathering(&head).unwrap().0, "http://10.0.0.7:9265");
    let meeting = Some(Meeting { host: head.host.clone(), ports: head.ports.clone() });
    let node = part(Duty::JoinCluster, 1, meeting.clone());
    assert_eq!(
        text(&service.command(&node).unwrap()),
        "ray start --block --address=10.0.0.7:6379 --node-ip-address=10.0.0.7 --object-manager-port=8076 \
         --node-manager-port=8077 --dashboard-agent-listen-port=52365 --num-cpus=4 --num-gpus=1 --temp-dir=/tmp/hb-1 \
         --disable-usage-stats"
    );
    let (url, step) = service.gathering(&node).unwrap();
    assert_eq!((url.as_str(), step), ("http://10.0.0.7:9265", Step::Gathered { path: "/api/v0/nodes".into(), nodes: 2 }));
    let line = service.command(&part(Duty::Serve, 0, meeting)).unwrap();
    assert_eq!(line.env["RAY_ADDRESS"], "10.0.0.7:6379");
    assert_eq!(
        line.args.join(" "),
        "serve llama2 --host 10.0.0.7 --port 8123 --tensor-parallel-size 2 --distributed-executor-backend ray"
    );
    assert_eq!(service.command(&part(Duty::JoinCluster, 1, None)).unwrap_err().path, "servers.service_config.distributed");
}

#[test]
fn rays_program_lies_beside_vllms() {
    let mut head = part(Duty::HeadCluster, 0, None);
    head.service.path = Some("/opt/vllm/bin/vllm".into());
    assert_eq!(resolve(&head.service).unwrap().command(&head).unwrap().program, PathBuf::from("/opt/vllm/bin/ray"));
}

#[test]
fn a_ray_cluster_is_whole_when_all_nodes_are_alive_and_hold_a_gpu_for_each_part() {
    let spec = over_ray();
    let row = |state: &str, gpus: u32| json!({"node_ip": "10.0.0.8", "state": state, "state_message": "no heartbeat", "resources_total": {"GPU": gpus}});
    let gathered = |rows: Vec<Value>| {
        let body = json!({"data": {"result": {"result": rows}}}).to_string();
        resolve(&spec).unwrap().gathered(body.as_bytes(), 2, &spec)
    };
    assert_eq!(gathered(vec![row("ALIVE", 1), row("ALIVE", 1)]), Gathering::Whole);
    assert_eq!(gathered(vec![row("ALIVE", 1)]), Gathering::Incomplete("Ray has 1 of 2 nodes".into()));
    let empty = json!({"node_ip": "10.0.0.8", "state": "ALIVE", "resources_total": {"CPU": 1.0}});
    assert_eq!(
        gathered(vec![empty.clone(), empty]),
        Gathering::Refused("Ray counts 0 GPUs on 2 nodes, and the model is cut into 2 parts".into())
    );
    assert_eq!(
        gathered(vec![row("ALIVE", 1), row("DEAD", 1)]),
        Gathering::Refused("Ray's node 10.0.0.8 is dead: no heartbeat".into())
    );
    assert_eq!(resolve(&spec).unwrap().gathered(b"not yet", 1, &spec), Gathering::Incomplete("Ray has 0 of 1 nodes".into()));
}

#[test]
fn ollamas_gpu_layers_go_into_every_request_below_the_recipes_own_words() {
    let spec = spec("ollama", json!({"gpu_layers": 0, "num_parallel": 8}));
    let service = resolve(&spec).unwrap();
    assert_eq!(request_for(&*service, &spec, &request()).sampling["num_gpu"], 0);
    let mut asked = request();
    asked.sampling.insert("num_gpu".into(), 7.into());
    assert_eq!(request_for(&*service, &spec, &asked).sampling["num_gpu"], 7);
    let env = command(&spec).env;
    assert_eq!((&env["OLLAMA_HOST"], &env["OLLAMA_NUM_PARALLEL"]), (&"10.0.0.7:8123".to_owned(), &"8".to_owned()));
}

#[test]
fn a_custom_services_words_are_filled_in_once_and_never_split() {
    let mut spec = spec("mine", json!({}));
    spec.model = "a {port} b; rm -rf".into();
    spec.custom = Some(CustomService {
        command: ["my-server", "--at={host}:{port}", "{model}", "{\"json\": 1}"].map(str::to_owned).into(),
        env: [("PORT".to_owned(), "{port}".to_owned())].into(),
        ready_path: Some("/up".into()),
        ready_timeout: None,
        protocol: ProtocolName::Openai,
        port: Some(9000),
        stop_signal: Some("SIGINT".into()),
        stop_grace: None,
    });
    let (service, line) = (resolve(&spec).unwrap(), command(&spec));
    assert_eq!(line.program, PathBuf::from("my-server"));
    assert_eq!(line.args[..3], ["--at=10.0.0.7:8123", "a {port} b; rm -rf", "{\"json\": 1}"]);
    assert_eq!(line.env["PORT"], "8123");
    assert_eq!(service.readiness(&spec), [Step::Healthy { path: "/up".into() }, Step::Completes]);
    assert_eq!((service.default_port(), service.stopping().signal.as_str()), (9000, "SIGINT"));
    spec.custom.as_mut().unwrap().stop_grace = Some(hb_core::units::Span::from_secs(60));
    let long = &resolve(&spec).unwrap().check(&spec)[0];
    assert_eq!((long.path.as_str(), long.what.contains("15s")), ("custom_services.mine.stop_grace", true), "{}", long.what);
    spec.custom.as_mut().unwrap().stop_grace = None;
    spec.custom.as_mut().unwrap().command.clear();
    assert_eq!(resolve(&spec).unwrap().check(&spec)[0].path, "custom_services.mine.command");
}

#[test]
fn an_unknown_service_gets_the_nearest_name() {
    assert_eq!(resolve(&spec("olama", json!({}))).err().unwrap().advice, "did you mean `ollama`?");
}

fn wrapped(runtime: ContainerRuntime, binds: &[&str], accelerator: Accelerator) -> CommandLine {
    let mut spec = spec("vllm", json!({}));
    (spec.runtime, spec.path) = (runtime, Some("vllm.sif".into()));
    spec.binds = binds.iter().map(|bind| (*bind).to_owned()).collect();
    let surroundings =
        [("CUDA_VISIBLE_DEVICES", "0,1"), ("LD_PRELOAD", "evil.so")].map(|(name, value)| (name.into(), value.into()));
    wrap(command(&spec), &spec, accelerator, &surroundings.into()).unwrap()
}

fn text(line: &CommandLine) -> String {
    format!("{} {}", line.program.display(), line.args.join(" "))
}

#[test]
fn each_runtime_wraps_the_words_and_keeps_values_out_of_them() {
    let rest = "serve llama2 --host 10.0.0.7 --port 8123 --further two words";
    let line = wrapped(ContainerRuntime::Apptainer, &["/a:/b:ro"], Accelerator::Nvidia);
    assert_eq!(text(&line), format!("apptainer exec --cleanenv --no-eval --nv --bind /a:/b:ro vllm.sif vllm {rest}"));
    assert_eq!(line.env["APPTAINERENV_HF_HOME"], "/scratch/a,b $(id)");
    assert_eq!(line.env["APPTAINERENV_CUDA_VISIBLE_DEVICES"], "0,1");
    assert!(!line.env.keys().any(|name| name.contains("LD_PRELOAD")));
    let line = wrapped(ContainerRuntime::Apptainer, &[], Accelerator::Amd);
    assert!(text(&line).starts_with("apptainer exec --cleanenv --no-eval --rocm vllm.sif"));
    let line = wrapped(ContainerRuntime::Podman, &["/a:/b"], Accelerator::None);
    assert_eq!(
        text(&line),
        format!(
            "podman run --rm --network host --ipc host --volume /a:/b --env CUDA_VISIBLE_DEVICES --env HF_HOME \
             --env VLLM_NO_USAGE_STATS --entrypoint vllm vllm.sif {rest}"
        )
    );
    let line = wrapped(ContainerRuntime::Charliecloud, &["/a:/b:rw"], Accelerator::None);
    assert_eq!(text(&line), format!("ch-run --bind /a:/b vllm.sif -- vllm {rest}"));
}

#[test]
fn further_words_stand_before_the_image_and_reach_the_runtime_alone() {
    for (runtime, expected) in [
        (ContainerRuntime::Apptainer, "apptainer exec --cleanenv --no-eval --nvccli vllm.sif vllm serve"),
        (ContainerRuntime::Charliecloud, "ch-run --nvccli vllm.sif -- vllm serve"),
        (ContainerRuntime::Podman, "--nvccli --entrypoint vllm vllm.sif serve"),
    ] {
        let mut spec = ServiceSpec { runtime, path: Some("vllm.sif".into()), ..spec("vllm", json!({})) };
        spec.runtime_args = vec!["--nvccli".into()];
        let line = wrap(command(&spec), &spec, Accelerator::None, &[].into()).unwrap();
        assert!(text(&line).contains(expected), "{}", text(&line));
    }
}

#[test]
fn a_container_without_an_image_and_a_bind_that_is_two_are_refused() {
    let mut spec = spec("vllm", json!({}));
    spec.runtime = ContainerRuntime::Apptainer;
    let refused = |spec: &ServiceSpec| wrap(command(spec), spec, Accelerator::None, &[].into()).unwrap_err().path;
    assert_eq!(refused(&spec), "artifacts.service.path");
    spec.path = Some("vllm.sif".into());
    spec.binds = vec!["/a:/b".into(), "/c:/d,/e:/f".into()];
    assert_eq!(refused(&spec), "binds[1]");
}

#[test]
fn the_dummy_runs_bare_whatever_the_runtime_is() {
    let mut spec = spec("dummy", json!({"ttft": "50ms", "error_rate": 0.5}));
    spec.runtime = ContainerRuntime::Apptainer;
    let line = wrap(command(&spec), &spec, Accelerator::Nvidia, &[].into()).unwrap();
    assert_eq!(line.program, PathBuf::from(OWN_BINARY));
    assert!(text(&line).contains("dummy --host 10.0.0.7 --port 8123 --model llama2 --ttft 50ms --error-rate 0.5"), "{line:?}");
}
