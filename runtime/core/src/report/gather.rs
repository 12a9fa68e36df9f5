//! One pass over a trial's rows: everything a report needs of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
};

use super::{
    Accounting, SloFigure,
    asked_prompts::AskedPrompts,
    concurrency::InFlight,
    conversations::Conversations,
    dataset::{DatasetCount, DatasetFigures, DatasetKnown},
    endpoints::Endpoints,
    flow::TimesInFlight,
    likeness::Likeness,
    pieces::Pieces,
};
use crate::{
    histogram::Histogram,
    record::{Kind, Outcome, Record, SENT_IN_TIME, Stage, TokensSource},
    search::LimitFigure,
    statistics,
    tally::{Latency, TrialTally},
    trial::{Length, SloLimit, Trial},
    units::Nanos,
};

/// Up to so many rows percentiles and requests in flight are exact; beyond, memory does not grow with them.
const MOST_EXACT: u64 = 100_000;

/// Sums over rows.
pub(super) struct Gathered<'a> {
    window: (Nanos, Nanos),
    limits: &'a [SloLimit],
    /// Tokens that every request's prompts were to have, in rows that do not tell it.
    fixed_input: Option<u32>,
    batch: NonZeroU32,
    is_streamed: bool,
    /// By stage.
    pub(super) accounting: BTreeMap<Stage, Accounting>,
    /// Of the measured stage; `None` once there are too many.
    samples: Option<BTreeMap<Latency, Vec<f64>>>,
    measured: u64,
    most_exact: u64,
    /// All requests that were sent and are over.
    pub(super) in_flight: InFlight,
    /// The last end of a measured request.
    pub(super) last_end: Nanos,
    /// By stamp, within the window, of every stage.
    pub(super) sent: u64,
    /// However they ended.
    pub(super) ended: u64,
    pub(super) completed: u64,
    pub(super) output_tokens: f64,
    pub(super) input_tokens: u64,
    /// Measured requests that were sent within the window.
    pub(super) measured_sent: u64,
    /// Completed measured requests.
    pub(super) total_input: Option<u64>,
    pub(super) total_output: u64,
    /// Of those, the ones whose prompt tokens somebody asked for and counted.
    pub(super) prompts: AskedPrompts,
    pub(super) conversations: Conversations,
    /// Of every stage, where the prompts are texts of a dataset.
    dataset: Option<DatasetCount>,
    pub(super) asked_output: u64,
    /// Of those whose tokens somebody counted.
    pub(super) asked_counted: u64,
    /// Whose tokens nobody counted.
    pub(super) uncounted: u64,
    pub(super) cached: Option<u64>,
    pub(super) stopped_early: u64,
    /// Streamed ones with tokens and without a first one.
    pub(super) without_first_token: u64,
    /// From due to sent of measured requests, opening connections left out.
    send_delay: Histogram,
    pub(super) other_model: u64,
    pub(super) likeness: Likeness,
    pub(super) pieces: Pieces,
    /// Of every stage.
    pub(super) endpoints: Endpoints,
    /// How often requests were put on a connection, or may have been, in every stage.
    pub(super) attempts: u64,
    /// Measured requests that were put on a second connection.
    pub(super) sent_twice: u64,
    /// Of measured requests.
    pub(super) in_flight_times: TimesInFlight,
    sources: BTreeSet<TokensSource>,
    /// Requests that met each limit, and every one.
    met: Vec<u64>,
    pub(super) good: u64,
    /// By stamp, within the window, of every stage, as `completed` and `output_tokens`: answers that met every limit.
    pub(super) good_inside: u64,
    pub(super) good_output: f64,
    /// The first sending of a measured request.
    pub(super) first_sent: Option<Nanos>,
    /// Measured requests that were sent and failed or timed out, and all that were sent.
    pub(super) errors: (u64, u64),
}

impl<'a> Gathered<'a> {
    pub(super) fn new(window: (Nanos, Nanos), trial: &'a Trial, dataset: Option<DatasetKnown>) -> Self {
        let limits = &trial.slo.limits;
        Self {
            window,
            limits,
            fixed_input: fixed_input(trial),
            batch: trial.request.batch,
            is_streamed: trial.request.stream,
            accounting: BTreeMap::new(),
            samples: Some(BTreeMap::new()),
            measured: 0,
            most_exact: MOST_EXACT,
            in_flight: InFlight::exact_up_to(MOST_EXACT),
            last_end: Nanos(0),
            sent: 0,
            ended: 0,
            completed: 0,
            output_tokens: 0.0,
            input_tokens: 0,
            measured_sent: 0,
            total_input: None,
            total_output: 0,
            prompts: AskedPrompts::default(),
            conversations: Conversations::default(),
            dataset: dataset.map(DatasetCount::of),
            asked_output: 0,
            asked_counted: 0,
            uncounted: 0,
            cached: None,
            stopped_early: 0,
            without_first_token: 0,
            send_delay: Histogram::new(),
            other_model: 0,
            likeness: Likeness::default(),
            pieces: Pieces::new(trial.request.has_one_answer()),
            endpoints: Endpoints::default(),
            attempts: 0,
            sent_twice: 0,
            in_flight_times: TimesInFlight::default(),
            sources: BTreeSet::new(),
            met: vec![0; limits.len()],
            good: 0,
            good_inside: 0,
            good_output: 0.0,
            first_sent: None,
            errors: (0, 0),
        }
    }

    pub(super) fn take(&mut self, record: &Record) {
        self.accounting.entry(record.stage).or_default().add(record);
        self.by_stamp(record);
        self.endpoints.take(record);
        if let Some(dataset) = &mut self.dataset {
            dataset.take(record, self.batch.get().into());
        }
        // What was lost may have been sent, and by whom it was answered nobody knows.
        let may_be_sent = record.sent.is_some() || record.outcome == Outcome::Lost;
        self.attempts += if may_be_sent { u64::from(record.attempts.max(1)) } else { 0 };
        if record.stage == Stage::Measure {
            self.of_measured(record);
        }
    }

    /// Rates count what happens within the window, whenever it was due.
    fn by_stamp(&mut self, record: &Record) {
        let (start, end) = self.window;
        let is_inside = |instant: &Nanos| (start..end).contains(instant);
        self.sent += u64::from(record.sent.as_ref().is_some_and(is_inside));
        if let (Some(sent), Some(ended)) = (record.sent, record.end.or(record.last)) {
            self.in_flight.take(sent, ended);
            self.ended += u64::from(is_inside(&ended));
        }
        let Some(last) = record.last else { return };
        // An answer in one piece comes when it ends.
        let first = record.first.unwrap_or(last);
        let is_completed = record.outcome == Outcome::Completed;
        self.completed += u64::from(is_completed && is_inside(&last));
        if is_completed && self.limits.iter().all(|limit| meets(record, limit)) {
            self.good_inside += u64::from(is_inside(&last));
            self.good_output += tokens_within(record, self.window);
        }
        if is_inside(&first) {
            self.input_tokens += u64::from(record.input_tokens.unwrap_or(0));
        }
        self.output_tokens += tokens_within(record, self.window);
    }

    fn of_measured(&mut self, record: &Record) {
        self.measured += 1;
        if self.measured > self.most_exact {
            self.samples = None;
        }
        if let Some(samples) = &mut self.samples {
            for latency in Latency::ALL {
                if let Some(seconds) = latency.of(record) {
                    samples.entry(latency).or_default().push(seconds);
                }
            }
        }
        self.last_end = self.last_end.max(record.end.or(record.last).unwrap_or_default());
        let until = Nanos(self.window.1.0.saturating_add(SENT_IN_TIME.0));
        if let (Some(sent), Some(end)) = (record.sent, record.end.or(record.last)) {
            // How long those would have taken that we gave up nobody knows.
            if record.outcome != Outcome::Cancelled {
                self.in_flight_times.add(end.since(sent).as_secs_f64());
            }
        }
        if let Some(sent) = record.sent {
            self.first_sent = Some(self.first_sent.map_or(sent, |first| first.min(sent)));
            self.errors.0 += u64::from(matches!(record.outcome, Outcome::Failed | Outcome::TimedOut));
            self.errors.1 += 1;
        }
        if let Some(delay) = record.sender_delay() {
            self.send_delay.record(delay.0);
        }
        self.sent_twice += u64::from(record.attempts > 1);
        self.measured_sent += u64::from(record.sent.is_some_and(|sent| sent < until));
        self.conversations.take(record);
        if record.outcome != Outcome::Completed {
            return;
        }
        if let Some(tokens) = record.input_tokens {
            self.total_input = Some(self.total_input.unwrap_or(0) + u64::from(tokens));
        }
        self.total_output += u64::from(record.output_tokens.unwrap_or(0));
        self.prompts.take(record, self.fixed_input, self.batch);
        self.asked_output += u64::from(record.asked_tokens);
        match record.output_tokens {
            Some(_) => self.asked_counted += u64::from(record.asked_tokens),
            None => self.uncounted += 1,
        }
        self.stopped_early += u64::from(record.stopped_early);
        let is_untimed = self.is_streamed && record.first.is_none() && record.output_tokens.is_some_and(|tokens| tokens > 0);
        self.without_first_token += u64::from(is_untimed);
        self.other_model += u64::from(record.is_other_model);
        self.likeness.take(record);
        self.pieces.take(record);
        self.sources.extend(record.tokens_source);
        if let Some(cached) = record.cached_tokens {
            self.cached = Some(self.cached.unwrap_or(0) + u64::from(cached));
        }
        let mut is_good = true;
        for (limit, met) in self.limits.iter().zip(&mut self.met) {
            let is_met = meets(record, limit);
            *met += u64::from(is_met);
            is_good &= is_met;
        }
        self.good += u64::from(is_good);
    }

    /// The samples of a latency, if all are here.
    pub(super) fn samples(&mut self, latency: Latency) -> Option<Vec<f64>> {
        self.samples.as_mut().map(|samples| samples.remove(&latency).unwrap_or_default())
    }

    /// Whether anything is known of answer tokens: nobody counted those of an answer in one piece without usage.
    pub(super) fn has_tokens(&self) -> bool {
        self.uncounted == 0 || !self.sources.is_empty()
    }

    /// Who counted the tokens.
    pub(super) fn tokens_source(&self) -> Option<String> {
        let name = |source: &TokensSource| match source {
            TokensSource::Usage => "usage",
            TokensSource::Events => "events",
        };
        match self.sources.len() {
            0 => None,
            1 => self.sources.first().map(|source| name(source).to_owned()),
            _ => Some("mixed".to_owned()),
        }
    }

    /// The 99th percentile of the time from due to sent, opening connections left out; `None` where too few were sent for one.
    pub(super) fn send_delay_p99(&self) -> Option<f64> {
        statistics::order_statistic_ranks(self.send_delay.count(), 0.99).and_then(|_| self.send_delay.quantile(0.99))
    }

    /// The share of due requests that met each limit, by name, and all of them.
    pub(super) fn attainment(&self) -> BTreeMap<String, f64> {
        let due = self.due();
        if self.limits.is_empty() || due == 0 {
            return BTreeMap::new();
        }
        let share = |met: u64| met as f64 / due as f64;
        let each = self.limits.iter().zip(&self.met).map(|(limit, met)| (named(limit), share(*met)));
        each.chain([("all".to_owned(), share(self.good))]).collect()
    }

    /// Each limit beside its figure over all that was due: what did not end well counts as endlessly late. Asked before
    /// the samples are taken away.
    pub(super) fn limit_figures(&self, tally: &TrialTally) -> Vec<LimitFigure> {
        let endless = self.endless();
        let figure = |(limit, met): (&SloLimit, &u64)| {
            let latency = clock_of(limit)?;
            let (limit_seconds, quantile) = (limit.limit.as_secs_f64(), limit.percentile / 100.0);
            // The percentile over all is a higher one over those that were answered.
            let of_answered = |answered: u64| statistics::among_answered(quantile, answered, endless);
            let (value_seconds, answered, within) = match &self.samples {
                Some(samples) => {
                    let mut sorted = samples.get(&latency).cloned().unwrap_or_default();
                    statistics::sort(&mut sorted);
                    let among = of_answered(sorted.len() as u64);
                    let within = sorted.partition_point(|seconds| *seconds <= limit_seconds);
                    (among.and_then(|among| statistics::percentile(&sorted, among)), sorted.len() as u64, within as u64)
                }
                None => {
                    let answers = tally.latency(latency);
                    let among = of_answered(answers.count());
                    (among.and_then(|among| answers.quantile(among)), answers.count(), *met)
                }
            };
            Some(LimitFigure {
                name: named(limit),
                percentile: limit.percentile,
                limit_seconds,
                value_seconds,
                answers: answered + endless,
                within: within.min(answered),
            })
        };
        self.limits.iter().zip(&self.met).filter_map(figure).collect()
    }

    /// Each limit beside its figure, and how many kept it.
    pub(super) fn slo_figures(&self, figures: &[LimitFigure]) -> Vec<SloFigure> {
        // Whoever has no clock has no figure.
        let kept = self.limits.iter().zip(&self.met).filter(|(limit, _)| clock_of(limit).is_some());
        figures.iter().zip(kept).map(|(figure, (_, met))| SloFigure::of(figure.clone(), *met, self.due())).collect()
    }

    /// Measured requests that did not complete.
    pub(super) fn endless(&self) -> u64 {
        self.accounting.get(&Stage::Measure).map_or(0, |accounting| accounting.due - accounting.completed)
    }

    pub(super) fn due(&self) -> u64 {
        self.accounting.get(&Stage::Measure).map_or(0, |accounting| accounting.due)
    }

    /// What became of the dataset, where the prompts are its texts.
    pub(super) fn dataset_figures(&self) -> Option<DatasetFigures> {
        self.dataset.as_ref().map(DatasetCount::figures)
    }

    /// Measured requests that `max_in_flight` held back.
    pub(super) fn held_back(&self) -> u64 {
        let dropped = self.accounting.get(&Stage::Measure).map(|accounting| &accounting.dropped);
        dropped.and_then(|dropped| dropped.get(&Kind::MaxInFlight.to_string())).copied().unwrap_or(0)
    }
}

/// Answer tokens of a request that came in a stretch of time: the first where it came, the others evenly from there to the
/// last.
pub(super) fn tokens_within(record: &Record, (start, end): (Nanos, Nanos)) -> f64 {
    let tokens = record.output_tokens.unwrap_or(0);
    let Some(last) = record.last.filter(|_| tokens > 0) else { return 0.0 };
    // An answer in one piece comes when it ends.
    let first = record.first.unwrap_or(last);
    let is_inside = f64::from(u8::from((start..end).contains(&first)));
    let took = last.since(first).as_nanos();
    let inside = last.min(end).since(first.max(start)).as_nanos();
    let rest = if took == 0 { is_inside } else { inside as f64 / took as f64 };
    is_inside + f64::from(tokens - 1) * rest
}

/// Tokens that the prompts of each request are to have together, where that is always the same.
fn fixed_input(trial: &Trial) -> Option<u32> {
    match trial.request.prompt_len {
        Length::Fixed(tokens) if trial.load.dataset.is_none() => tokens.checked_mul(trial.request.batch.get()),
        _ => None,
    }
}

/// A limit's name in reports: `ttft_p99_9` of the recipe's `ttft_p99.9`.
fn named(limit: &SloLimit) -> String {
    format!("{}_p{}", limit.metric, limit.percentile.to_string().replace('.', "_"))
}

/// The latency that a limit is about, on the clock of whoever asks.
fn clock_of(limit: &SloLimit) -> Option<Latency> {
    match limit.metric.as_str() {
        "ttft" => Some(Latency::TtftScheduled),
        "tpot" => Some(Latency::Tpot),
        "e2el" => Some(Latency::E2elScheduled),
        _ => None,
    }
}

/// Whether an answer keeps a limit, from the instant at which it was due: whoever asks does not know that his request waits
/// to be sent. One without a second token has no time per token to exceed.
fn meets(record: &Record, limit: &SloLimit) -> bool {
    let Some(latency) = clock_of(limit) else { return false };
    match latency.of(record) {
        Some(seconds) => seconds <= limit.limit.as_secs_f64(),
        None => latency == Latency::Tpot,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{answered, closed_plan};

    #[test]
    fn beyond_the_limit_no_sample_is_kept_and_every_sum_goes_on() {
        let trial = closed_plan(1, 1).trial;
        let mut gathered = Gathered::new((Nanos(0), Nanos(u64::MAX)), &trial, None);
        gathered.most_exact = 10;
        (0..10).for_each(|index| gathered.take(&answered(index, index, 300, 2)));
        assert_eq!(gathered.samples.as_ref().map(|samples| samples[&Latency::Ttft].len()), Some(10));
        gathered.take(&answered(10, 10, 300, 2));
        assert_eq!(gathered.samples(Latency::Ttft), None);
        assert_eq!((gathered.completed, gathered.total_output), (11, 22));
    }

    #[test]
    fn a_search_judges_by_the_clock_of_whoever_asks() {
        let limit = SloLimit { metric: "ttft".into(), percentile: 50.0, limit: crate::units::Span::from_millis(200) };
        let mut trial = closed_plan(1, 1).trial;
        trial.slo.limits = vec![limit];
        let mut gathered = Gathered::new((Nanos(0), Nanos(u64::MAX)), &trial, None);
        let late = Nanos(1_000_000_000);
        (0..10).for_each(|index| {
            let prompt = answered(index, 0, 300, 2);
            let shifted = |at: Option<Nanos>| at.map(|at| Nanos(at.0 + late.0));
            let sent_late = Record {
                sent: shifted(prompt.sent),
                first: shifted(prompt.first),
                last: shifted(prompt.last),
                end: shifted(prompt.end),
                ..prompt
            };
            gathered.take(&sent_late);
        });
        let figure = gathered.limit_figures(&TrialTally::new(&closed_plan(1, 1))).remove(0);
        assert!(figure.value_seconds.is_some_and(|seconds| seconds >= 1.0), "{figure:?}");
        assert_eq!((figure.answers, figure.within, gathered.good), (10, 0, 0));
    }

    #[test]
    fn only_the_tokens_inside_the_window_count() {
        let trial = closed_plan(1, 1).trial;
        let tokens = |window: (u64, u64)| {
            let mut gathered = Gathered::new((Nanos(window.0), Nanos(window.1)), &trial, None);
            // First token at 100, last at 300, 20 between and after.
            gathered.take(&answered(0, 0, 300, 21));
            gathered.output_tokens
        };
        assert_eq!([tokens((0, 400)), tokens((0, 200)), tokens((200, 400)), tokens((150, 250))], [21.0, 11.0, 10.0, 10.0]);
        assert_eq!(tokens((0, 100)), 0.0);
    }
}
