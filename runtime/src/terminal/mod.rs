//! Progress for whoever watches: a bar with live figures on a terminal, plain lines elsewhere.
//!
//! All of it goes to standard error; what stands at the end is [`summary`].

mod sentences;
mod table;

use std::{io::IsTerminal, time::Duration};

use hb_core::{
    events::{Happened, RunEvent},
    tally::Live,
};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

pub use self::{
    sentences::{figures, sentence},
    table::summary,
};

/// How often plain output tells the live figures.
const PLAIN_PAUSE_SECONDS: f64 = 10.0;

/// What a run shows while it goes on.
#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
    is_quiet: bool,
    /// Whether the bar counts towards a known end.
    expected_seconds: Option<f64>,
    told_at_seconds: f64,
}

impl Progress {
    /// A bar where standard error is a terminal and `NO_COLOR` is not set; plain lines elsewhere.
    #[must_use]
    pub fn on_stderr(is_quiet: bool) -> Self {
        let is_plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) || !std::io::stderr().is_terminal();
        Self::new(!is_plain && !is_quiet, is_quiet)
    }

    fn new(has_bar: bool, is_quiet: bool) -> Self {
        let bar = has_bar.then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(8));
            bar.set_style(spinner());
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Self { bar, is_quiet, expected_seconds: None, told_at_seconds: 0.0 }
    }

    /// Shows what happened.
    pub fn event(&mut self, event: &RunEvent) {
        match &event.happened {
            Happened::PhaseEntered { phase } => {
                if let Some(bar) = &self.bar {
                    bar.set_message(phase.name().replace('_', " "));
                }
            }
            Happened::TrialBegun { expected_seconds, .. } => self.begin_trial(*expected_seconds),
            Happened::TrialFinished { .. } => self.begin_trial(None),
            _ => {}
        }
        if let Some(text) = sentence(event).filter(|_| !self.is_quiet) {
            self.say(&text);
        }
    }

    /// Shows the figures as they are now.
    pub fn live(&mut self, live: &Live) {
        if live.trial.is_none() {
            return;
        }
        let text = sentences::figures(live);
        match &self.bar {
            Some(bar) => {
                bar.set_position(live.elapsed_seconds as u64);
                bar.set_message(text);
            }
            None if !self.is_quiet && (live.elapsed_seconds - self.told_at_seconds).abs() >= PLAIN_PAUSE_SECONDS => {
                self.told_at_seconds = live.elapsed_seconds;
                self.say(&text);
            }
            None => {}
        }
    }

    /// Takes the bar away; what was said stays.
    pub fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }

    fn begin_trial(&mut self, expected_seconds: Option<f64>) {
        (self.expected_seconds, self.told_at_seconds) = (expected_seconds, 0.0);
        let Some(bar) = &self.bar else { return };
        bar.reset();
        match self.expected_seconds {
            Some(seconds) => {
                bar.set_length(seconds.ceil() as u64);
                bar.set_style(counting());
            }
            None => bar.set_style(spinner()),
        }
    }

    fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => eprintln!("{text}"),
        }
    }
}

fn spinner() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {wide_msg}").expect("the template is a constant")
}

fn counting() -> ProgressStyle {
    let style = ProgressStyle::with_template("{spinner} [{bar:24}] {eta} left  {wide_msg}").expect("the template is a constant");
    style.progress_chars("━╸─")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_progress_bear_a_run_without_a_terminal() {
        for has_bar in [true, false] {
            let mut progress = Progress::new(has_bar, true);
            let begun = Happened::TrialBegun { number: 1, of: 1, expected_seconds: Some(0.5) };
            progress.event(&RunEvent { unix_nanos: 0, trial: None, happened: begun });
            progress.live(&Live { trial: Some("t".into()), elapsed_seconds: 99.0, ..Live::default() });
            assert_eq!(progress.bar.as_ref().map(|bar| (bar.length(), bar.position())), has_bar.then_some((Some(1), 99)));
            progress.finish();
        }
    }
}
