//! A realistic report, drawn; hostile words in it; its structure.

use std::collections::BTreeMap;

use hb_core::{
    report::{Accounting, Distribution, Latencies, NodeFigures, RunSummary, Second, StageFigures, TimedEvent, Window},
    verdict::{Reason, Verdict},
};
use serde_json::json;

use super::*;

fn distribution(middle: f64) -> Distribution {
    Distribution {
        count: 4_790,
        mean: middle * 1.1,
        stddev: middle * 0.4,
        min: middle * 0.5,
        p1: middle * 0.55,
        p5: middle * 0.6,
        p10: middle * 0.7,
        p25: middle * 0.85,
        p50: middle,
        p75: middle * 1.2,
        p90: middle * 1.6,
        p95: middle * 1.9,
        p99: middle * 3.1,
        p99_9: middle * 5.4,
        max: middle * 8.0,
        ci: [("p50".to_owned(), [middle * 0.98, middle * 1.02]), ("p99".to_owned(), [middle * 2.8, middle * 3.6])].into(),
        ..Distribution::default()
    }
}

/// A trial as a server under growing load would give it; no randomness, so that pages can be compared.
fn trial(concurrency: u32) -> TrialReport {
    let load = f64::from(concurrency);
    let rate = 60.0 * load / (load + 12.0);
    let slow = 0.035 + load * load * 0.000_04;
    let wave = |at: u32, period: u32| ((at * 7919 + concurrency * 31) % period) as f64 / f64::from(period);
    let second = |at: u32| {
        let warm = (f64::from(at) / 8.0).min(1.0) * if at > 94 { 0.25 } else { 1.0 };
        Second {
            at,
            sent: (rate * warm) as u64,
            completed: (rate * warm * (0.85 + 0.3 * wave(at, 17))) as u64,
            failed: u64::from(at == 47) * 4,
            output_tokens: rate * 128.0 * warm * (0.9 + 0.2 * wave(at, 13)),
            in_flight: load * warm,
            ttft_p50: (at != 48).then_some(slow * (0.9 + 0.2 * wave(at, 11))),
            ttft_p99: (at != 48).then_some(slow * (2.2 + 1.8 * wave(at, 7))),
            e2el_p50: Some(load / rate * (0.95 + 0.1 * wave(at, 5))),
            e2el_p99: Some(load / rate * (1.4 + 0.6 * wave(at, 19))),
        }
    };
    let mut one = TrialReport {
        id: format!("concurrency-{concurrency}.r1").into(),
        parameters: [("concurrency".to_owned(), json!(concurrency))].into(),
        repetition: 1,
        complete: true,
        window: Window { start: 10.0, end: 95.0, seconds: 85.0 },
        accounting: Accounting {
            due: 4_800,
            completed: 4_790,
            failed: [("http_503".to_owned(), 6), ("truncated".to_owned(), 1)].into(),
            timed_out: 3,
            ..Accounting::default()
        },
        other_accounting: [("warmup".to_owned(), Accounting { due: 300, completed: 300, ..Accounting::default() })].into(),
        latency: Latencies {
            ttft_seconds: Some(distribution(slow)),
            ttft_scheduled_seconds: Some(distribution(slow * 1.05)),
            ttfot_seconds: None,
            e2el_seconds: Some(distribution(load / rate)),
            e2el_scheduled_seconds: Some(distribution(load / rate * 1.02)),
            tpot_seconds: Some(distribution(load / rate / 128.0)),
            itl_seconds: Some(distribution(load / rate / 130.0)),
            icl_seconds: None,
            dispatch_delay_seconds: Some(distribution(0.000_08)),
            queue_delay_seconds: None,
            client_delay_seconds: None,
            connect_seconds: None,
        },
        percentile_source: [
            ("ttft_seconds".to_owned(), "records".to_owned()),
            ("itl_seconds".to_owned(), "histogram".to_owned()),
        ]
        .into(),
        slo: [("ttft_p99 ≤ 500 ms".to_owned(), 0.998)].into(),
        server: [("server-0".to_owned(), json!("http://mel2033:8000"))].into(),
        cost: [("node_hours".to_owned(), 0.0833)].into(),
        timeline: (0..100).map(second).collect(),
        events: vec![TimedEvent {
            at_seconds: 47.2,
            what: "server_exited".to_owned(),
            message: "server-0 answered 503 four times".to_owned(),
        }],
        ..TrialReport::default()
    };
    one.load.model = "closed".to_owned();
    one.load.requested_concurrency = Some(concurrency);
    (one.load.achieved_rate, one.load.concurrency_mean, one.load.concurrency_peak) = (rate, load * 0.99, concurrency);
    one.throughput.requests_per_second = rate;
    one.throughput.output_tokens_per_second = Some(rate * 128.0);
    one.throughput.total_tokens_per_second = Some(rate * 640.0);
    one.throughput.goodput_requests_per_second = Some(rate * 0.97);
    (one.tokens.output, one.tokens.requested_output, one.tokens.input, one.tokens.requested_input) =
        (Some(613_120), 613_120, Some(2_452_480), 2_457_600);
    (one.client.cpu_ratio, one.client.executors) = (0.183, 4);
    one.client.lag_seconds = [("mean".to_owned(), 0.000_04), ("max".to_owned(), 0.0021)].into();
    let node = |role: &str| NodeFigures {
        roles: vec![role.to_owned()],
        host: format!("{role}.cluster"),
        address: String::new(),
        cores: 64,
        memory_bytes: None,
        gpu_names: Vec::new(),
        clock_offset_seconds: Some(-0.000_12),
        clock_bound_seconds: Some(0.000_05),
        clock_moved_seconds: None,
        cpu_percent_mean: Some(23.4),
        memory_used_bytes_max: Some(41_000_000_000),
        gpus: if role == "server" {
            [("0".to_owned(), json!({"name": "A100-SXM4-40GB", "utilization_percent_mean": 87.2}))].into()
        } else {
            BTreeMap::new()
        },
        lost_at_seconds: None,
    };
    one.resources.nodes = [("mel2033-0".to_owned(), node("server")), ("mel2040-1".to_owned(), node("client"))].into();
    one
}

fn sample(scenario: &str, concurrencies: &[u32]) -> Report {
    let mut trials: Vec<TrialReport> = concurrencies.iter().copied().map(trial).collect();
    let doubt = Reason {
        code: "client_lag".to_owned(),
        status: Status::Suspect,
        message: "timers on the load runtime were late".to_owned(),
        value: 0.0124,
        limit: 0.005,
    };
    let mut verdict = Verdict::default();
    if let (Some(last), true) = (trials.last_mut(), concurrencies.len() > 1) {
        verdict = Verdict { status: Status::Suspect, reasons: vec![doubt] };
        last.verdict = verdict.clone();
    }
    Report {
        schema_version: "1.0".to_owned(),
        run: RunSummary {
            id: "20260314-091500-k3f9".to_owned(),
            scenario: scenario.to_owned(),
            started_at: "2026-03-14T09:15:00Z".to_owned(),
            ended_at: "2026-03-14T09:27:41Z".to_owned(),
            hbnode_version: "hbnode 0.1.0".to_owned(),
            complete: true,
            incomplete_reason: None,
            phase_seconds: [("service_deployment".to_owned(), 61.3), ("execution".to_owned(), 640.0)].into(),
            trials_planned: concurrencies.len() as u32,
            parts: Vec::new(),
        },
        verdict,
        trials,
        searches: Vec::new(),
        repeated: Vec::new(),
        warnings: vec!["the Pushgateway at http://127.0.0.1:9091 refused 3 pushes".to_owned()],
    }
}

const SWEEP: [u32; 7] = [1, 2, 4, 8, 16, 32, 64];

/// Every element is closed by its own end, in order, as far as HTML asks for one.
pub(super) fn assert_well_formed(page: &str) {
    const VOID: [&str; 3] = ["meta", "link", "br"];
    let mut open: Vec<String> = Vec::new();
    let mut rest = page;
    while let Some(start) = rest.find('<') {
        rest = &rest[start + 1..];
        let end = rest.find('>').unwrap();
        let tag = &rest[..end];
        rest = &rest[end + 1..];
        assert_eq!(tag.matches('"').count() % 2, 0, "<{tag}>");
        let name: String = tag.trim_start_matches('/').chars().take_while(char::is_ascii_alphanumeric).collect();
        if tag.starts_with('!') || tag.ends_with('/') || VOID.contains(&name.as_str()) {
            continue;
        }
        if tag.starts_with('/') {
            assert_eq!(open.pop().as_deref(), Some(name.as_str()), "before {:.60}", rest);
            continue;
        }
        if name == "script" || name == "style" {
            rest = &rest[rest.find(&format!("</{name}>")).unwrap()..];
        }
        open.push(name);
    }
    assert!(open.is_empty(), "left open: {open:?}");
}

/// Nothing in the page makes a browser ask anybody for anything.
fn assert_self_contained(page: &str) {
    let without_names = page.replace("http://www.w3.org/2000/svg", "").replace("href=\"data:,\"", "");
    for word in ["src=", "@import", "url(", "<iframe", "<object", "<embed", "href=\"http", "href=\"//", "srcset"] {
        assert!(!without_names.contains(word), "{word}");
    }
}

#[test]
fn a_report_is_one_whole_page_that_asks_for_nothing_else() {
    for report in [sample("single", &[8]), sample("sweep", &SWEEP), sample("empty", &[])] {
        let page = report_html(&report);
        assert_well_formed(&page);
        assert_self_contained(&page);
    }
    let bare = report_html(&sample("empty", &[]));
    assert!(bare.len() < 150_000 && bare.contains("nothing to judge"), "{} bytes without data", bare.len());
}

#[test]
fn the_share_that_prefix_caches_gave_is_a_percentage() {
    let mut report = sample("cached", &[8]);
    report.trials[0].server.insert("prefix_cache".to_owned(), json!({ "queries": 2_000, "hits": 500, "share": 0.25 }));
    let page = report_html(&report);
    assert_well_formed(&page);
    assert!(page.contains("prefix_cache</th><td>share</td><td>25.0 %</td>"), "{page}");
}

#[test]
fn hostile_words_stay_words() {
    const HOSTILE: &str = "</title></script><script>alert(1)</script>\"onload='x'";
    let mut report = sample(HOSTILE, &[8, 16]);
    report.warnings.push(HOSTILE.to_owned());
    report.run.incomplete_reason = Some(HOSTILE.to_owned());
    report.run.complete = false;
    report.run.id = HOSTILE.to_owned();
    let one = &mut report.trials[0];
    one.id = HOSTILE.into();
    one.parameters.insert(HOSTILE.to_owned(), json!(HOSTILE));
    one.server.insert(HOSTILE.to_owned(), json!({ HOSTILE: HOSTILE }));
    one.accounting.failed.insert(HOSTILE.to_owned(), 1);
    one.events.push(TimedEvent { at_seconds: 1.0, what: HOSTILE.to_owned(), message: HOSTILE.to_owned() });
    one.percentile_source.insert("ttft_seconds".to_owned(), HOSTILE.to_owned());
    one.slo.insert(HOSTILE.to_owned(), 1.0);
    let node = NodeFigures { host: HOSTILE.to_owned(), roles: vec![HOSTILE.to_owned()], ..NodeFigures::default() };
    one.resources
        .nodes
        .insert(HOSTILE.into(), NodeFigures { gpus: [(HOSTILE.to_owned(), json!({ HOSTILE: HOSTILE }))].into(), ..node });
    for page in [report_html(&report), live_html(HOSTILE, HOSTILE)] {
        assert_well_formed(&page);
        assert_eq!(page.matches("<script").count(), 1, "only our own script");
        assert!(!page.contains("alert(1)</script>") && page.contains("alert(1)&lt;/script&gt;"));
    }
}

#[test]
fn missing_and_wild_figures_do_not_break_the_page() {
    let mut report = sample("wild", &[8, 16]);
    let one = &mut report.trials[0];
    one.throughput.output_tokens_per_second = Some(f64::NAN);
    one.latency =
        Latencies { ttft_seconds: Some(Distribution { p50: f64::INFINITY, ..Distribution::default() }), ..Latencies::default() };
    one.accounting = Accounting::default();
    one.timeline = vec![Second::default()];
    one.window = Window::default();
    report.trials[1] = TrialReport::default();
    let page = report_html(&report);
    assert_well_formed(&page);
    for word in ["NaN", "inf "] {
        assert!(!page.split("<script>").next().unwrap().contains(word), "{word}");
    }
}

/// The page's headings, figures and table heads, in order: what a reader finds where.
fn structure(page: &str) -> String {
    let mut lines = String::new();
    let mut rest = page;
    while let Some(start) = rest.find('<') {
        rest = &rest[start + 1..];
        for tag in ["h1>", "h2>", "h3>", "h4>", "th scope=\"col\">", "figcaption><b>", "p class=\"word\">", "dt>"] {
            if let Some(text) = rest.strip_prefix(tag) {
                let name = &tag[..tag.find(['>', ' ']).unwrap()];
                lines.push_str(&format!("{name}: {}\n", &text[..text.find('<').unwrap()]));
            }
        }
    }
    lines
}

#[test]
fn a_report_has_its_parts_in_order() {
    insta::assert_snapshot!(structure(&report_html(&sample("one trial", &[8]))));
}

#[test]
fn a_sweep_shows_its_trials_side_by_side() {
    let page = report_html(&sample("sweep", &SWEEP));
    assert_eq!(page.matches("<g class=\"point").count(), 2 * SWEEP.len());
    assert_eq!(page.matches("<details class=\"trial\"").count(), SWEEP.len());
    assert!(page.contains("class=\"numbers sort trials\""));
}

/// A trial of an open loop whose requests waited, of 82 answers.
fn late() -> TrialReport {
    let mut one = trial(8);
    (one.load.model, one.load.requested_concurrency, one.load.requested_rate) = ("staged".to_owned(), None, Some(38.984_255));
    let stage = |start: f64, from, to| StageFigures {
        start,
        end: start + 30.0,
        rate_from: Some(from),
        rate_to: Some(to),
        due: 1_200,
        sent: 1_199,
        completed: 1_190,
        concurrency_mean: 7.25,
        concurrency_peak: 12,
        ..StageFigures::default()
    };
    one.load.stages = vec![stage(10.0, 10.0, 10.0), stage(40.0, 10.0, 80.0)];
    one.latency.ttft_scheduled_seconds = Some(distribution(0.304));
    one.client.calibration = Some(json!({
        "executors": 1, "due": 400, "completed": 399, "achieved_rate": 100.0,
        "ttft_error_seconds_p50": 0.001_550_838_999_999_998_3, "ttft_error_seconds_p99": 0.004_08,
        "tpot_error_seconds_p50": 0.000_09, "tpot_error_seconds_p99": 0.000_175,
    }));
    one
}

#[test]
fn an_open_loop_shows_both_clocks_its_stages_and_the_client_s_floor() {
    let mut report = sample("late", &[]);
    report.trials = vec![late()];
    let page = report_html(&report);
    assert_well_formed(&page);
    for text in [
        "99th percentile, from when it was due",
        "<th scope=\"col\">TTFT p99 from due</th>",
        "<th scope=\"col\">Answer p99 from due</th>",
        "requests waited before they were sent",
        "the client itself adds up to 4.08 ms to TTFT and 175 µs to TPOT (p99)",
        "1.55 ms at the median, 4.08 ms (p99)",
        "stages 10→80 req/s",
        // Heads of tables of facts are hidden; these are not.
        "<table class=\"numbers stages\"><thead><tr><th scope=\"col\">stage</th>",
        "<td>10→80 req/s</td><td>1,200</td><td>1,199</td><td>1,190</td><td>7.25</td><td>0</td><td>0</td><td>–</td><td>–</td><td>–</td><td>12</td>",
    ] {
        assert!(page.contains(text), "{text}");
    }
    for text in ["ttft_error_seconds", "0.00155083", "38.98"] {
        assert!(!page.contains(text), "{text}");
    }
    let closed = report_html(&sample("closed", &[8]));
    assert!(!closed.contains("from due</th>") && !closed.contains("requests waited"));
}

#[test]
fn too_few_samples_are_said_wherever_a_percentile_would_stand() {
    let mut report = sample("short", &[8]);
    let latency = &mut report.trials[0].latency;
    for one in [&mut latency.ttft_seconds, &mut latency.e2el_seconds].into_iter().flatten() {
        (one.count, one.p99, one.p99_9) = (82, 0.123_4, 0.123_4);
    }
    let page = report_html(&report);
    // The trial's row has two, the table of latencies p99 and p99.9 of both.
    assert_eq!(page.matches("class=\"too-few\">too few samples<").count(), 6);
    assert_eq!(page.matches("99th percentile: too few samples").count(), 2);
    assert!(!page.contains("123 ms"));
}

#[test]
fn a_failed_run_says_why_once() {
    let why = "service deployment could not be finished: no server";
    let run = RunSummary { incomplete_reason: Some(why.to_owned()), ..RunSummary::default() };
    let page = report_html(&hb_core::report::run(run, Vec::new(), vec![why.to_owned()]));
    assert_eq!((page.matches(why).count(), page.contains("against a limit")), (1, false));
}

/// Writes pages to look at: `PAGES=DIR cargo test -p hbnode --lib pages_to_look_at -- --ignored`.
#[test]
#[ignore = "writes pages for a person to look at"]
fn pages_to_look_at() {
    let folder = std::path::PathBuf::from(std::env::var_os("PAGES").expect("PAGES names a folder"));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("one.html"), report_html(&sample("Llama 3 8B on one A100", &[8]))).unwrap();
    std::fs::write(folder.join("sweep.html"), report_html(&sample("Llama 3 8B, concurrency sweep", &SWEEP))).unwrap();
    std::fs::write(folder.join("live.html"), live_html("Llama 3 8B on one A100", "20260314-091500-k3f9")).unwrap();
}
