//! Progress for whoever watches: a bar with live figures on a terminal, plain lines elsewhere.
//!
//! All of it goes to standard error; what stands at the end is [`summary`].

mod sentences;
mod table;

use std::{io::IsTerminal, time::Duration};

use hb_core::{
    events::{Happened, RunEvent},
    facts::Fact,
    tally::Live,
};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

pub use self::{
    sentences::{figures, is_trouble, sentence},
    table::summary,
};

/// How often plain output tells the live figures.
const PLAIN_PAUSE_SECONDS: f64 = 10.0;

/// How much is said while a run goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Talk {
    /// What happens, and the figures as they are.
    All,
    /// What went wrong.
    Troubles,
    /// Nothing: the result is all that is asked for.
    Nothing,
}

/// What a run shows while it goes on.
#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
    talk: Talk,
    /// Why a node said that something failed, so that the phase that fails for it does not say it again.
    told_why: Option<String>,
    /// Whether the bar counts towards a known end.
    expected_seconds: Option<f64>,
    told_at_seconds: f64,
}

impl Progress {
    /// A bar where standard error is a terminal and `NO_COLOR` is not set; plain lines elsewhere.
    #[must_use]
    pub fn on_stderr(talk: Talk) -> Self {
        let is_plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) || !std::io::stderr().is_terminal();
        Self::new(!is_plain && talk == Talk::All, talk)
    }

    fn new(has_bar: bool, talk: Talk) -> Self {
        let bar = has_bar.then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(8));
            bar.set_style(spinner());
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Self { bar, talk, told_why: None, expected_seconds: None, told_at_seconds: 0.0 }
    }

    /// Shows what happened.
    pub fn event(&mut self, event: &RunEvent) {
        match &event.happened {
            Happened::PhaseEntered { phase } => {
                if let Some(bar) = &self.bar {
                    bar.set_message(phase.to_string());
                }
            }
            Happened::TrialBegun { expected_seconds, .. } => self.begin_trial(*expected_seconds),
            Happened::TrialFinished { .. } => self.begin_trial(None),
            _ => {}
        }
        let is_said = match self.talk {
            Talk::All => true,
            Talk::Troubles => is_trouble(event),
            Talk::Nothing => false,
        };
        if let Some(text) = self.fresh(event).filter(|_| is_said) {
            self.say(&text);
        }
    }

    /// What happened in a line, without a cause that was just told.
    fn fresh(&mut self, event: &RunEvent) -> Option<String> {
        match &event.happened {
            Happened::NodeTold { fact: Fact::ServerFailed { why, .. } | Fact::LoadFailed { why, .. }, .. } => {
                self.told_why = Some(why.clone());
                sentence(event)
            }
            Happened::PhaseFailed { phase, cause } => {
                let told = self.told_why.take().and_then(|why| cause.strip_suffix(&format!(": {why}")));
                let cause = told.unwrap_or(cause).to_owned();
                sentence(&RunEvent { happened: Happened::PhaseFailed { phase: *phase, cause }, ..event.clone() })
            }
            _ => sentence(event),
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
            None if self.talk == Talk::All && (live.elapsed_seconds - self.told_at_seconds).abs() >= PLAIN_PAUSE_SECONDS => {
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
    fn a_cause_that_a_node_told_is_not_told_again_by_the_phase() {
        let mut progress = Progress::new(false, Talk::Nothing);
        let event = |happened| RunEvent { unix_nanos: 0, trial: None, happened };
        let fact = Fact::ServerFailed { server: 0, why: "no such file".to_owned() };
        progress.fresh(&event(Happened::NodeTold { node: "n0".into(), fact }));
        let failed = || Happened::PhaseFailed {
            phase: hb_core::phases::Phase::ServiceDeployment,
            cause: "server 0 did not become ready: no such file".to_owned(),
        };
        let told = progress.fresh(&event(failed())).unwrap();
        assert_eq!(told, "✕  service deployment could not be finished: server 0 did not become ready");
        assert!(progress.fresh(&event(failed())).unwrap().ends_with(": no such file"), "it was told of another failure");
    }

    #[test]
    fn both_kinds_of_progress_bear_a_run_without_a_terminal() {
        for has_bar in [true, false] {
            let mut progress = Progress::new(has_bar, Talk::Nothing);
            let begun = Happened::TrialBegun { number: 1, of: 1, expected_seconds: Some(0.5) };
            progress.event(&RunEvent { unix_nanos: 0, trial: None, happened: begun });
            progress.live(&Live { trial: Some("t".into()), elapsed_seconds: 99.0, ..Live::default() });
            assert_eq!(progress.bar.as_ref().map(|bar| (bar.length(), bar.position())), has_bar.then_some((Some(1), 99)));
            progress.finish();
        }
    }
}
