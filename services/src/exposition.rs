//! What a server's `/metrics` says of its process, of the prompts it took and of their time in its queue, in
//! Prometheus' text format.

use hb_core::counted::Queued;

/// Counters of prompts or requests, each under every label: vLLM's, SGLang's, the Dummy's.
const PROMPTS: [&str; 4] =
    ["vllm:request_success_total", "vllm:request_success", "sglang:num_requests_total", "dummy_server_prompts_total"];

/// Histograms of the time from a request's arrival to the beginning of its work: vLLM's, SGLang's, the Dummy's.
const QUEUES: [&str; 3] =
    ["vllm:request_queue_time_seconds", "sglang:queue_time_seconds", "dummy_server_request_queue_time_seconds"];

/// A process and what it took.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Taken {
    /// When the process was started, Unix seconds.
    pub started: Option<f64>,
    /// Prompts it took; answers it gave, where it counts only those.
    pub prompts: Option<u64>,
    /// What its requests waited.
    pub queued: Option<Queued>,
}

/// Reads an exposition; what it does not hold is not known.
#[must_use]
pub fn taken(exposition: &str) -> Taken {
    let mut taken = Taken::default();
    let mut counter: Option<&str> = None;
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
    taken
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
            Taken { started: Some(1.7639e9), prompts: Some(43), queued: Some(Queued { requests: 43, seconds: 1.75 }) }
        );
        assert_eq!(taken("llamacpp:requests_processing 1\n"), Taken::default());
        assert_eq!(taken("dummy_server_prompts_total 12\nvllm:request_success_total 5\n").prompts, Some(12));
    }
}
