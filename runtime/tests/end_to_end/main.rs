//! The binary as people and scripts use it: real processes on loopback, every wait with a deadline, and
//! everything that a test started ended with it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod calibration;
mod cli;
mod cluster;
mod contract;
mod distribution;
mod endings;
mod endpoints;
mod giving_up;
mod https;
mod joining;
mod lies;
mod loads;
mod node_loss;
mod phases;
mod prefetch;
mod resuming;
mod searching;
mod secrets;
mod servers;
mod ssh;
mod support;
mod telling;
mod tokenizer;
mod totals;
mod trials;
mod turns;
