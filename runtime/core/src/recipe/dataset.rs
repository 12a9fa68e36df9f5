//! Where prompts and time stamps come from: what a recipe writes, what it means, and what of it makes no sense.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de};

use super::{Problem, RequestDistribution, Workload};
use crate::{
    trial::{BadLine, DatasetSpec},
    units::Span,
};

/// Where prompts come from.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Dataset {
    /// A file.
    Path(String),
    /// A file and how it is read.
    Described(DatasetFile),
}

impl<'de> Deserialize<'de> for Dataset {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Dataset;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a path, or {path, format, time_scale, skip, limit, jitter, on_bad_line}")
            }
            fn visit_str<E: de::Error>(self, path: &str) -> Result<Dataset, E> {
                Ok(Dataset::Path(path.to_owned()))
            }
            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Dataset, A::Error> {
                DatasetFile::deserialize(de::value::MapAccessDeserializer::new(map)).map(Dataset::Described)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// A file of prompts and how it is read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DatasetFile {
    /// The file.
    pub path: String,
    /// `text`, `jsonl`, `sharegpt`, `openai_batch`, `csv`, `csv:COLUMN`, `mooncake`, `burstgpt` or `azure`; unset, it is seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// Factor on its time stamps: 0.5 replays it twice as fast.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_scale: Option<f64>,
    /// Entries to leave out at its start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skip: Option<u64>,
    /// Entries to use at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// The most by which a time stamp is shifted, drawn evenly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jitter: Option<Span>,
    /// What a line that cannot be read does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_bad_line: Option<BadLine>,
}

/// The block, where a path alone stands for one.
pub(super) fn file(written: Option<&Dataset>) -> Option<DatasetFile> {
    match written? {
        Dataset::Path(path) => Some(DatasetFile {
            path: path.clone(),
            format: None,
            time_scale: None,
            skip: None,
            limit: None,
            jitter: None,
            on_bad_line: None,
        }),
        Dataset::Described(file) => Some(file.clone()),
    }
}

/// What a node must know to read it.
pub(super) fn spec(written: Option<&Dataset>) -> Option<DatasetSpec> {
    let file = file(written)?;
    Some(DatasetSpec {
        path: file.path.into(),
        format: file.format,
        skip: file.skip.unwrap_or(0),
        limit: file.limit,
        on_bad_line: file.on_bad_line.unwrap_or(BadLine::Fail),
    })
}

/// Whether a trial of this workload replays its dataset's time stamps.
pub(super) fn replays(workload: &Workload) -> bool {
    let written = workload.request_distribution.as_ref();
    written.is_some_and(|written| written.values().contains(&RequestDistribution::Trace))
}

/// What cannot be read, or has no effect.
pub(super) fn check(workload: &Workload, problems: &mut Vec<Problem>) {
    let file = file(workload.dataset.as_ref());
    if replays(workload) {
        if file.is_none() {
            let problem = Problem::error("workload.request_distribution", "`trace` without a dataset", "one beside `dataset`");
            problems.push(problem.advise("name the trace as `workload.dataset`"));
        }
        if !workload.stages.is_empty() {
            problems.push(Problem::error("workload.stages", "stages beside `request_distribution: trace`", "one of both"));
        }
    }
    let Some(file) = file else { return };
    let scale = file.time_scale;
    if scale.is_some_and(|scale| !(scale.is_finite() && scale > 0.0)) {
        problems.push(Problem::error("workload.dataset.time_scale", "no factor", "a number above 0"));
    }
    if file.limit == Some(0) {
        problems.push(Problem::error("workload.dataset.limit", "`0`", "1 entry or more"));
    }
    let of_traces = [
        ("workload.dataset.time_scale", scale.is_some()),
        ("workload.dataset.jitter", file.jitter.is_some_and(|jitter| jitter > Span::ZERO)),
    ];
    for (path, _) in of_traces.into_iter().filter(|(_, is_written)| *is_written && !replays(workload)) {
        let problem = Problem::warning(path, "a word about time stamps", "one beside `request_distribution: trace`");
        problems.push(problem.advise("without it time stamps have no effect"));
    }
    if workload.shared_prefix.is_some() {
        let problem = Problem::warning("workload.shared_prefix", "a shared prefix beside `dataset`", "one of both");
        problems.push(problem.advise("prompts of a dataset share what they share; it has an effect on lengths alone"));
    }
}

#[cfg(test)]
mod tests {
    use super::{super::OneOrMany, *};

    fn paths(workload: &Workload) -> Vec<String> {
        let mut problems = Vec::new();
        check(workload, &mut problems);
        problems.into_iter().map(|problem| problem.path).collect()
    }

    #[test]
    fn a_path_alone_is_a_whole_dataset() {
        let spec = spec(Some(&Dataset::Path("prompts.txt".into()))).unwrap();
        assert_eq!((spec.skip, spec.limit, spec.on_bad_line), (0, None, BadLine::Fail));
    }

    #[test]
    fn a_replay_needs_a_trace_and_its_words_need_a_replay() {
        let mut workload =
            Workload { request_distribution: Some(OneOrMany::One(RequestDistribution::Trace)), ..Workload::default() };
        assert_eq!(paths(&workload), ["workload.request_distribution"]);
        let mut file = file(Some(&Dataset::Path("trace.jsonl".into()))).unwrap();
        (file.time_scale, file.limit) = (Some(f64::NAN), Some(0));
        workload.dataset = Some(Dataset::Described(file.clone()));
        assert_eq!(paths(&workload), ["workload.dataset.time_scale", "workload.dataset.limit"]);
        (file.time_scale, file.limit) = (Some(0.5), None);
        workload.dataset = Some(Dataset::Described(file));
        assert_eq!(paths(&workload), Vec::<String>::new());
        workload.request_distribution = None;
        assert_eq!(paths(&workload), ["workload.dataset.time_scale"]);
    }
}
