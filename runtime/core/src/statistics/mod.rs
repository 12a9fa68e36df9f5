//! Percentiles, and how far they can be trusted: plain functions over numbers.
//!
//! Percentiles are NumPy's linear interpolation, as in the field's other tools; the standard
//! deviation is the population's within a trial and the sample's across repetitions. Percentiles
//! are never averaged.

mod intervals;
mod percentiles;

pub use intervals::{TInterval, early_stopping_rank, order_statistic_ranks, t_interval, wilson};
pub use percentiles::{Independence, WITH_INTERVAL, among_answered, distribution, distribution_of_histogram, percentile, sort};
