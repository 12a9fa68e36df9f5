//! Whether several prompts at a time can be had of this load: what beside `workload.batch` contradicts it.

use super::{
    super::{OneOrMany, Problem, Workload, dataset},
    values,
};

pub(super) fn check(workload: &Workload, problems: &mut Vec<Problem>) {
    if dataset::replays(workload) {
        replay(workload, problems);
    }
}

/// Each entry of a trace has an instant and a length of its own.
fn replay(workload: &Workload, problems: &mut Vec<Problem>) {
    for (path, batch) in written(workload).into_iter().filter(|(_, batch)| *batch > 1) {
        let problem =
            Problem::error(path, format!("`{batch}` beside `request_distribution: trace`"), "1, or another distribution");
        problems.push(problem.advise("a trace says when each of its entries is due, and with which length; leave batch out"));
    }
}

/// Every number of prompts with its path.
fn written(workload: &Workload) -> Vec<(String, u32)> {
    let of = |path: &str, field: &Option<OneOrMany<_>>| -> Vec<(String, u32)> {
        values(path, field).map(|(path, batch): (String, &std::num::NonZeroU32)| (path, batch.get())).collect()
    };
    let mut all = of("workload.batch", &workload.batch);
    for (index, entry) in workload.benchmark_suite.iter().enumerate() {
        all.extend(of(&format!("workload.benchmark_suite[{index}].batch"), &entry.batch));
    }
    all
}
