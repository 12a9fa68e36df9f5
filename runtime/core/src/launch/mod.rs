//! The batch job: its script, what the scheduler says of it, and where both can go wrong.
//!
//! Everything here is text in, text out: `runtime` asks the scheduler, copies and submits.

mod components;
mod doubts;
mod limit;
mod nodelist;
mod quote;
mod sbatch;
mod states;

pub use self::{
    components::{Component, components},
    doubts::{Partition, doubts},
    limit::{clock, warning_seconds},
    nodelist::{NodeListError, expand},
    quote::{QuoteError, directive, shell},
    sbatch::{SbatchError, SubmitFacts, sbatch},
    states::{JobId, JobState, NotAJobId, pending_reason},
};
