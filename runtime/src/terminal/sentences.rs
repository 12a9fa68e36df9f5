//! What happened, in a line.

use hb_core::{
    calibration,
    chronicle::handed_on,
    events::{Happened, RunEvent},
    facts::Fact,
    search::{Ending, Probe},
    tally::Live,
    units::plural,
};

use crate::render::{figures, search, status_word};

/// A line for a person, or nothing where the event is for machines.
#[must_use]
pub fn sentence(event: &RunEvent) -> Option<String> {
    let trial = event.trial.as_ref().map_or("", |trial| trial.as_str());
    let text = match &event.happened {
        Happened::PhaseEntered { phase } => format!("── {phase}"),
        Happened::PhaseFailed { phase, cause } => format!("✕  {phase} could not be finished: {cause}"),
        Happened::TrialBegun { number, of, expected_seconds } => {
            let long = expected_seconds.map(|seconds| format!(", about {}", figures::span(seconds)));
            format!("   trial {number} of {of}: {trial}{}", long.unwrap_or_default())
        }
        Happened::LoadStarted { .. } | Happened::ServersCounted { .. } => return None,
        Happened::SureEnough { certainty } => format!("   {certainty}"),
        Happened::Probed { probe } => {
            let Probe { number, load, outcome, why, .. } = &probe.result;
            let unit = probe.spec.unit();
            format!("   probe {number}: {load} {unit} {}: {why}", search::outcome(*outcome))
        }
        Happened::SearchOver { search, ending } => {
            let why = match ending {
                Ending::Found => "it is as precise as was asked",
                Ending::HighestMeets => "even the highest load meets the SLO",
                Ending::LowestMisses => "even the lowest load misses the SLO",
                Ending::Immeasurable => "no higher load can be measured",
                Ending::Unjudged => "no probe could be judged",
                Ending::Budget => "its budget is used up",
                Ending::Contradictory => "its probes contradict each other",
                Ending::Unfinished => "the run ends",
            };
            format!("   search {search} is over: {why}")
        }
        Happened::TrialFinished { verdict } => format!("   trial {trial} is on disk: {}", status_word(*verdict)),
        Happened::NodeJoined { node, host, roles } => format!("   {node} joined ({host}): {}", roles.join(", ")),
        Happened::NodeLost { node, why } => format!("✕  {node} is lost: {why}"),
        Happened::LoadHandedOn { left_by, to, since_seconds } => format!("   {}", handed_on(left_by, to, *since_seconds)),
        Happened::NodeTold { node, fact } => format!("   {node}: {}", told(fact)?),
        Happened::Interrupted { by } => format!("▲  ended by {by}: what was measured so far is reported"),
        Happened::Warned { what } => format!("▲  {what}"),
    };
    // Lines of servers and hosts come from elsewhere: they must not move the cursor.
    Some(text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect())
}

/// Whether it went wrong, or is to be read even where only that is asked for.
#[must_use]
pub fn is_trouble(event: &RunEvent) -> bool {
    match &event.happened {
        Happened::PhaseFailed { .. } | Happened::NodeLost { .. } | Happened::Interrupted { .. } | Happened::Warned { .. } => true,
        Happened::NodeTold { fact, .. } => matches!(
            fact,
            Fact::ServerFailed { .. }
                | Fact::ServerExited { .. }
                | Fact::LoadFailed { .. }
                | Fact::ExecutorRestarted { .. }
                | Fact::ExecutorGaveUp { .. }
                | Fact::ChildRestarted { .. }
                | Fact::OtherModel { .. }
                | Fact::Warned { .. }
        ),
        _ => false,
    }
}

/// What a node told, where it is for people.
fn told(fact: &Fact) -> Option<String> {
    Some(match fact {
        Fact::ServerStarted { name, pid, .. } => format!("{name} started (process {pid})"),
        Fact::ServerProgressed { server, what } => format!("server {server}: {what}"),
        Fact::ServerReady { server, url, took, .. } => {
            format!("server {server} is ready at {url} after {}", figures::seconds(took.as_secs_f64()))
        }
        Fact::PartReady { name, took, .. } => format!("{name} is in place after {}", figures::seconds(took.as_secs_f64())),
        Fact::ServerFailed { server, why } => format!("server {server} failed: {why}"),
        Fact::ServerExited { server, why } => format!("server {server} ended by itself: {why}"),
        Fact::ServerStopped { server } => format!("server {server} is stopped"),
        Fact::Calibrated { executor, floor, .. } => {
            let [ttft, tpot] = [floor.ttft_error_p99, floor.tpot_error_p99].map(figures::seconds);
            let worth = calibration::worth(floor.completed);
            format!("executor {executor} adds up to {ttft} to the time to first token and {tpot} to the time per token ({worth})")
        }
        Fact::LoadPrepared { .. } | Fact::LoadFinished { .. } | Fact::ImageRead { .. } | Fact::DatasetRead { .. } => return None,
        Fact::LoadFailed { executor, why, .. } => format!("executor {executor} cannot do its share: {why}"),
        Fact::ExecutorRestarted { executor, lost, gap, why, .. } => {
            format!("executor {executor} was started again after {gap} without load, {} lost: {why}", plural(*lost, "request"))
        }
        Fact::ExecutorGaveUp { executor, why, .. } => format!("executor {executor} gave up: {why}"),
        Fact::ChildRestarted { child, why } => format!("{child} was started again: {why}"),
        Fact::OtherModel { what, .. } | Fact::Warned { what } => what.clone(),
    })
}

/// The live figures in a line.
#[must_use]
pub fn figures(live: &Live) -> String {
    let (number, of) = live.position;
    let accounting = &live.accounting;
    let bad: u64 = accounting.failed.values().sum::<u64>() + accounting.timed_out + accounting.lost;
    let failed = if bad == 0 { String::new() } else { format!(" · {} not completed", figures::count(bad)) };
    let ttft = live.latency.get("ttft_p99").map(|ttft| format!(" · TTFT p99 {}", figures::seconds(*ttft)));
    format!(
        "trial {number}/{of} · {} · {} requests/s · {} tokens/s · {} in flight{}{failed}",
        figures::span(live.elapsed_seconds),
        figures::three_digits(live.requests_per_second),
        figures::three_digits(live.output_tokens_per_second),
        figures::count(live.in_flight),
        ttft.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use hb_core::phases::Phase;

    use super::*;

    fn said(happened: Happened) -> Option<String> {
        sentence(&RunEvent { unix_nanos: 0, trial: Some("t".into()), happened })
    }

    #[test]
    fn what_happened_is_a_line_that_cannot_move_the_cursor() {
        let over = Happened::SearchOver { search: "t".into(), ending: Ending::Budget };
        assert_eq!(said(over).unwrap(), "   search t is over: its budget is used up");
        let begun = Happened::TrialBegun { number: 2, of: 7, expected_seconds: Some(95.0) };
        assert_eq!(said(begun).unwrap(), "   trial 2 of 7: t, about 1 min 35 s");
        let failed = Fact::ServerFailed { server: 0, why: "\u{1b}[2Jout of\nmemory".to_owned() };
        let told = said(Happened::NodeTold { node: "n0".into(), fact: failed }).unwrap();
        assert_eq!(told, "   n0: server 0 failed:  [2Jout of memory");
        assert_eq!(said(Happened::LoadStarted { start_unix_nanos: 1 }), None);
    }

    #[test]
    fn only_what_went_wrong_is_a_trouble() {
        let of = |happened| is_trouble(&RunEvent { unix_nanos: 0, trial: None, happened });
        let told = |fact| Happened::NodeTold { node: "n0".into(), fact };
        assert!(of(Happened::PhaseFailed { phase: Phase::ServiceDeployment, cause: "c".into() }));
        assert!(of(Happened::Warned { what: "w".into() }) && of(told(Fact::Warned { what: "w".into() })));
        assert!(of(told(Fact::ServerFailed { server: 0, why: "w".into() })));
        assert!(!of(Happened::PhaseEntered { phase: Phase::Report }) && !of(told(Fact::ServerStopped { server: 0 })));
        let failed = said(Happened::PhaseFailed { phase: Phase::ServiceDeployment, cause: "c".into() });
        assert_eq!(failed.as_deref(), Some("✕  service deployment could not be finished: c"));
    }

    #[test]
    fn live_figures_fit_on_a_line() {
        let live =
            Live { position: (1, 3), elapsed_seconds: 12.0, requests_per_second: 24.04, in_flight: 1_200, ..Live::default() };
        assert_eq!(figures(&live), "trial 1/3 · 12 s · 24.0 requests/s · 0 tokens/s · 1,200 in flight");
    }
}
