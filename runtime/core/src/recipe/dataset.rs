//! What `workload.dataset` means.

use super::{Dataset, DatasetFile};
use crate::trial::{BadLine, DatasetSpec};

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
