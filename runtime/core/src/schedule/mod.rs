//! Placeholder: schedule.
