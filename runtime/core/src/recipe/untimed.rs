//! Latencies that no answer of a workload has, so that nothing may be judged by them.

use super::{Workload, batch};
use crate::trial::{Api, choices};

/// A latency that the answers of some trial lack.
pub(super) struct Untimed {
    /// Beside what, and why: "beside `stream: false`: …".
    pub why: String,
    /// What may be written instead.
    pub accepted: &'static str,
}

/// Why the answers of some trial of this workload have no such latency: `ttft`, `tpot`, `e2el`, and the ones from due. `usual` is
/// the service's own operation.
pub(super) fn untimed(workload: &Workload, usual: Api, metric: &str) -> Option<Untimed> {
    let is_whole = workload.stream.as_ref().is_some_and(|stream| stream.values().contains(&false));
    if is_whole && !metric.starts_with("e2el") {
        let why = format!("beside `stream: false`: an answer in one piece has no {metric}");
        return Some(Untimed { why, accepted: "e2el, or `stream: true`" });
    }
    if metric != "tpot" {
        return None;
    }
    let by_turns = |what: String| format!("beside `{what}`: several answers come in one stream by turns, and none has a tpot");
    let has_several = batch::operations(workload, usual).into_iter().any(Api::takes_several_prompts);
    let most_prompts = workload.batches().map(|batch| batch.get()).max().unwrap_or(1);
    if most_prompts > 1 && has_several {
        let accepted = "ttft or e2el, or requests of one prompt (leave `batch` out)";
        return Some(Untimed { why: by_turns(format!("batch: {most_prompts}")), accepted });
    }
    let choices = choices(workload.sampling.as_ref()?);
    let accepted = "ttft or e2el, or one answer for each prompt (leave `n` out)";
    (choices > 1).then(|| Untimed { why: by_turns(format!("sampling.n: {choices}")), accepted })
}
