//! From a recipe on this machine to a job on a cluster, and back with its results.
//!
//! ```text
//! recipe ─► probe ─► binary, recipe, script copied ─► sbatch ─► job list ─► questions ─► results fetched
//! ```
//!
//! All that is done on the cluster is a short POSIX shell script, run here where this is a login node, else over
//! the person's own `ssh` ([`Target`]); what varies in it is quoted by `hb_core::launch`.

mod binary;
mod continued;
mod fetch;
mod follow;
mod jobs;
mod live;
mod probe;
mod question;
mod send;
mod ssh;
mod target;

pub use self::{
    binary::Binary,
    continued::{Resumable, resumable},
    fetch::{Fetched, fetch},
    follow::{NodeLines, Watched, follow, node_lines},
    jobs::{Job, JobList},
    probe::{Found, found, probe, probe_script},
    question::{JobNow, Outcome, ask},
    send::{Along, Continued, Sending, cancel, send},
    ssh::Ssh,
    target::{Target, TargetError, Where},
};
