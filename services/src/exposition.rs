//! What a server's `/metrics` says of its process, of the prompts it took, of their time in its queue, of its prefix cache
//! and of speculation, in Prometheus' text format.

use hb_core::counted::{Drafted, PrefixCache, Queued};

/// Counters of prompts or requests, each under every label: vLLM's, SGLang's, the Dummy's.
const PROMPTS: [&str; 4] =
    ["vllm:request_success_total", "vllm:request_success", "sglang:num_requests_total", "dummy_server_prompts_total"];

/// Histograms of the time from a request's arrival to the beginning of its work: vLLM's, SGLang's, the Dummy's.
const QUEUES: [&str; 3] =
    ["vllm:request_queue_time_seconds", "sglang:queue_time_seconds", "dummy_server_request_queue_time_seconds"];

/// Counters of what was looked for in a prefix cache and of what was found: vLLM's, those of its older
/// versions, the Dummy's. A version that has both tells the same twice.
const PREFIX_CACHES: [[&str; 2]; 3] = [
    ["vllm:prefix_cache_queries_total", "vllm:prefix_cache_hits_total"],
    ["vllm:gpu_prefix_cache_queries_total", "vllm:gpu_prefix_cache_hits_total"],
    ["dummy_server_prefix_cache_queries_total", "dummy_server_prefix_cache_hits_total"],
];
/// What vLLM found in a cache beside its own, as of another node; nothing of it is among the hits above.
const FOUND_ELSEWHERE: &str = "vllm:external_prefix_cache_hits_total";

/// What counters of speculation have before and after the name of what they count: vLLM's, llama.cpp's.
const DRAFTED: [&str; 2] = ["vllm:spec_decode_num_", "llamacpp:spec_decode_num_"];

/// A process and what it took.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Taken {
    /// When the process was started, Unix seconds.
    pub started: Option<f64>,
    /// Prompts it took; answers it gave, where it counts only those.
    pub prompts: Option<u64>,
    /// What its requests waited.
    pub queued: Option<Queued>,
    /// What its prefix cache gave; `None`, too, where another cache helps it, of which these counters know nothing.
    pub prefix_cache: Option<PrefixCache>,
    /// What it drafted ahead of its model; zeros where it can and does not.
    pub drafted: Option<Drafted>,
}

/// Reads an exposition; what it does not hold is not known.
#[must_use]
pub fn taken(exposition: &str) -> Taken {
    let mut taken = Taken::default();
    let mut counter: Option<&str> = None;
    let (mut caches, mut is_helped) = ([[None; 2]; PREFIX_CACHES.len()], false);
    for line in exposition.lines().filter(|line| !line.starts_with('#')) {
        let name_ends = line.find(['{', ' ']).unwrap_or(line.len());
        let (name, rest) = line.split_at(name_ends);
        // A label's text may hold blanks; a value does not, and a stamp may follow it.
        let values = rest.rsplit_once('}').map_or(rest, |(_, values)| values);
        let Some(value) = values.split_ascii_whitespace().next().and_then(|value| value.parse::<f64>().ok()) else { continue };
        if name == "process_start_time_seconds" {
            taken.started = Some(value);
        } else if PROMPTS.contains(&name) && counter.is_none_or(|counter| counter == name) {
            counter = Some(name);
            taken.prompts = Some(taken.prompts.unwrap_or(0) + value.max(0.0) as u64);
        } else if let Some((cache, which)) = prefix_cache_counter(name) {
            *caches[cache][which].get_or_insert(0) += value.max(0.0) as u64;
        } else if let Some(what) = DRAFTED.iter().find_map(|known| name.strip_prefix(known)?.strip_suffix("_total")) {
            let drafted = taken.drafted.get_or_insert_default();
            let value = value.max(0.0) as u64;
            match what {
                "drafts" => drafted.drafts += value,
                "draft_tokens" => drafted.tokens += value,
                "accepted_tokens" => drafted.accepted += value,
                _ => {}
            }
        } else if name == FOUND_ELSEWHERE {
            is_helped |= value > 0.0;
        } else if let Some((histogram, part)) = name.rsplit_once('_')
            && QUEUES.contains(&histogram)
        {
            let queued = taken.queued.get_or_insert_default();
            match part {
                "sum" => queued.seconds += value,
                "count" => queued.requests += value.max(0.0) as u64,
                _ => {}
            }
        }
    }
    let told = caches.into_iter().find_map(|[queries, hits]| Some(PrefixCache { queries: queries?, hits: hits? }));
    Taken { prefix_cache: told.filter(|_| !is_helped), ..taken }
}

/// Whose counter this is, and which of the two.
fn prefix_cache_counter(name: &str) -> Option<(usize, usize)> {
    let place = |names: &[&str; 2]| names.iter().position(|known| *known == name);
    PREFIX_CACHES.iter().enumerate().find_map(|(cache, names)| Some((cache, place(names)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_summed_over_labels_and_other_lines_say_nothing() {
        let text = "# HELP vllm:request_success_total Count of successfully processed requests.\n\
            # TYPE vllm:request_success_total counter\n\
            vllm:request_success_total{engine=\"0\",finished_reason=\"stop\",model_name=\"a } b\"} 3.0\n\
            vllm:request_success_total{engine=\"0\",finished_reason=\"length\",model_name=\"a } b\"} 40.0 1700000000\n\
            vllm:num_requests_running{engine=\"0\"} 7.0\n\
            vllm:request_queue_time_seconds_bucket{engine=\"0\",le=\"0.3\"} 40.0\n\
            vllm:request_queue_time_seconds_count{engine=\"0\"} 41.0\n\
            vllm:request_queue_time_seconds_sum{engine=\"0\"} 1.5\n\
            vllm:request_queue_time_seconds_count{engine=\"1\"} 2.0\n\
            vllm:request_queue_time_seconds_sum{engine=\"1\"} 0.25\n\
            process_start_time_seconds 1.7639e+09\n\
            nonsense\n";
        assert_eq!(
            taken(text),
            Taken {
                started: Some(1.7639e9),
                prompts: Some(43),
                queued: Some(Queued { requests: 43, seconds: 1.75 }),
                prefix_cache: None,
                drafted: None,
            }
        );
        assert_eq!(taken("llamacpp:requests_processing 1\n"), Taken::default());
        assert_eq!(taken("dummy_server_prompts_total 12\nvllm:request_success_total 5\n").prompts, Some(12));
    }

    #[test]
    fn a_recorded_page_of_vllm_has_all_of_it() {
        let told = taken(include_str!("../tests/expositions/vllm-0.32.0.txt"));
        assert_eq!(told.prefix_cache, Some(PrefixCache { queries: 1_048, hits: 0 }));
        assert!(told.started.is_some() && told.prompts.is_some() && told.queued.is_some(), "{told:?}");
    }

    #[test]
    fn what_was_drafted_is_summed_over_engines() {
        let of = |engine: &str, drafts: u32| {
            format!(
                "vllm:spec_decode_num_drafts_total{{engine=\"{engine}\"}} {drafts}.0\n\
                 vllm:spec_decode_num_draft_tokens_total{{engine=\"{engine}\"}} {}.0\n\
                 vllm:spec_decode_num_accepted_tokens_total{{engine=\"{engine}\"}} {}.0\n\
                 vllm:spec_decode_num_accepted_tokens_per_pos_total{{engine=\"{engine}\",position=\"0\"}} {drafts}.0\n",
                4 * drafts,
                2 * drafts
            )
        };
        let drafted = taken(&format!("{}{}", of("0", 10), of("1", 5))).drafted;
        assert_eq!(drafted, Some(Drafted { drafts: 15, tokens: 60, accepted: 30 }));
        let llamacpp = "llamacpp:spec_decode_num_drafts_total 0\nllamacpp:spec_decode_num_draft_tokens_total 0\n";
        assert_eq!(taken(llamacpp).drafted, Some(Drafted::default()));
    }

    #[test]
    fn a_prefix_cache_is_told_once_and_by_both_counters() {
        let cache = |text: &str| taken(text).prefix_cache.map(|cache| (cache.queries, cache.hits));
        let old = "vllm:gpu_prefix_cache_queries_total{engine=\"0\"} 20.0\nvllm:gpu_prefix_cache_hits_total{engine=\"0\"} 5.0\n";
        let new = "vllm:prefix_cache_queries_total{engine=\"0\"} 300.0\nvllm:prefix_cache_hits_total{engine=\"0\"} 70.0\n\
            vllm:prefix_cache_queries_total{engine=\"1\"} 20.0\nvllm:prefix_cache_hits_total{engine=\"1\"} 10.0\n\
            vllm:prefix_cache_hits_created{engine=\"0\"} 1.79e+09\n";
        assert_eq!(cache(old), Some((20, 5)));
        assert_eq!(cache(new), Some((320, 80)), "summed over engines");
        assert_eq!(cache(&format!("{old}{new}")), Some((320, 80)));
        assert_eq!(cache("vllm:prefix_cache_queries_total 300.0\n"), None);
        let elsewhere = |hits: &str| cache(&format!("{new}vllm:external_prefix_cache_hits_total{{engine=\"0\"}} {hits}\n"));
        assert_eq!((elsewhere("0.0"), elsewhere("16.0")), (Some((320, 80)), None), "another cache helped, too");
    }
}
