//! What must be said beside the figures, in sentences: the same ones on the terminal, in the mail and on the page.

use super::{Latencies, NodeFigures, Percentile, Report, SpreadFigures, TrialReport};
use crate::{figures, orders::Role, units::plural, verdict::CACHE_HIT};

/// The two clocks are told apart in words where they differ by more than this share of the one from sending…
const WAITED_SHARE: f64 = 0.1;
/// …and by more than this.
const WAITED_SECONDS: f64 = 0.005;
/// Connections are spoken of where so large a share of the requests opened one…
const OPENED_SHARE: f64 = 0.1;
/// …and the median of them took so long.
const OPENED_SECONDS: f64 = 0.001;
/// Events are spoken of where answers have more tokens than this for each of them.
const TOKENS_PER_EVENT: f64 = 1.5;
/// So many trials or nodes are named; of more, only how many they are.
const NAMED: usize = 3;

impl Report {
    /// Sentences that belong under the table of trials: requests that waited in the client, client nodes that differ, connections
    /// that took their time or were closed, prompts that were sent again or that a cache knew, reasoning before the output or
    /// without it, tokens that no event showed or that nobody counted, and the client's own floor.
    #[must_use]
    pub fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        let waited: Vec<&TrialReport> = self.trials.iter().filter(|trial| trial.waited()).collect();
        if !waited.is_empty() {
            let sentence = "requests waited before they were sent: the figures from due are what a user would have felt";
            remarks.push(self.of(&waited, sentence));
        }
        remarks.extend(self.each(TrialReport::shares_sentence));
        remarks.extend(self.each(TrialReport::connect_sentence));
        remarks.extend(self.each(TrialReport::twice_sentence));
        remarks.extend(self.each(TrialReport::dataset_sentence));
        remarks.extend(self.each(TrialReport::cache_sentence));
        remarks.extend(self.each(TrialReport::reasoning_sentence));
        remarks.extend(self.each(TrialReport::ended_in_reasoning_sentence));
        remarks.extend(self.each(TrialReport::spread_sentence));
        remarks.extend(self.each(TrialReport::uncounted_sentence));
        remarks.extend(self.each(|trial| trial.client.floor_sentence()));
        remarks
    }

    /// What is said of each trial, the same thing once.
    fn each(&self, said: impl Fn(&TrialReport) -> Option<String>) -> Vec<String> {
        let mut sentences: Vec<(String, Vec<&TrialReport>)> = Vec::new();
        for (trial, said) in self.trials.iter().filter_map(|trial| Some((trial, said(trial)?))) {
            match sentences.iter_mut().find(|(sentence, _)| *sentence == said) {
                Some((_, trials)) => trials.push(trial),
                None => sentences.push((said, vec![trial])),
            }
        }
        sentences.iter().map(|(sentence, trials)| self.of(trials, sentence)).collect()
    }

    /// A sentence with the trials that it is about; without them where it is about all.
    fn of(&self, trials: &[&TrialReport], sentence: &str) -> String {
        if trials.len() == self.trials.len() {
            return sentence.to_owned();
        }
        let named: Vec<&str> = trials.iter().take(NAMED).map(|trial| trial.id.as_str()).collect();
        let more = trials.len() - named.len();
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        format!("{}{more}: {sentence}", named.join(", "))
    }

    /// Why the run is incomplete, where no reason of its verdict says so already.
    #[must_use]
    pub fn incomplete_beside_verdict(&self) -> Option<&str> {
        let why = self.run.incomplete_reason.as_deref().unwrap_or("no reason is known");
        let is_said = self.verdict.reasons.iter().any(|reason| reason.message.contains(why));
        (!self.run.complete && !is_said).then_some(why)
    }

    /// The warnings without the one that only repeats why the run is incomplete.
    pub fn further_warnings(&self) -> impl Iterator<Item = &str> {
        let why = self.run.incomplete_reason.as_deref().filter(|_| !self.run.complete);
        self.warnings.iter().map(String::as_str).filter(move |warning| Some(*warning) != why)
    }
}

impl TrialReport {
    /// Whether requests of an open loop waited before they were sent, so long that it shows in a percentile that is shown.
    #[must_use]
    pub fn waited(&self) -> bool {
        let Latencies { ttft_seconds, ttft_scheduled_seconds, e2el_seconds, e2el_scheduled_seconds, .. } = &self.latency;
        let clocks = [
            ttft_seconds.as_ref().zip(ttft_scheduled_seconds.as_ref()),
            e2el_seconds.as_ref().zip(e2el_scheduled_seconds.as_ref()),
        ];
        self.load.is_open()
            && clocks.into_iter().flatten().any(|(sent, due)| {
                [Percentile::P50, Percentile::P90, Percentile::P99].into_iter().any(|percentile| {
                    let Some((sent, due)) = sent.shown(percentile).zip(due.shown(percentile)) else { return false };
                    due - sent > WAITED_SECONDS && due - sent > sent * WAITED_SHARE
                })
            })
    }

    /// How large each client node's share was, where the nodes have different numbers of cores.
    fn shares_sentence(&self) -> Option<String> {
        let clients = self.resources.nodes.iter().filter(|(_, node)| node.roles.contains(&Role::Client.to_string()));
        let cores = |(_, node): (&String, &NodeFigures)| node.cores;
        let (most, least) = (clients.clone().map(cores).max()?, clients.clone().map(cores).min()?);
        let share = |name: &str| {
            let of_node = self.client.by_executor.values().filter(|executor| executor.node == name);
            of_node.filter_map(|executor| executor.share).fold(0.0, f64::max)
        };
        let told = |(name, node): (&String, &NodeFigures)| {
            format!("{} for {name} with {}", figures::percent(share(name)), plural(u64::from(node.cores), "core"))
        };
        let mut shares: Vec<String> = clients.map(told).collect();
        let more = shares.len().saturating_sub(NAMED);
        shares.truncate(NAMED);
        shares.extend((more > 0).then(|| format!("the rest for {more} more")));
        (most > least).then(|| format!("client nodes differ; their shares of the load: {}", shares.join(", ")))
    }

    /// What opening connections took, where many requests had to and it shows.
    fn connect_sentence(&self) -> Option<String> {
        let (opened, sent) = (self.latency.connect_seconds.as_ref()?, self.latency.dispatch_delay_seconds.as_ref()?);
        let median = opened.shown(Percentile::P50).filter(|median| *median > OPENED_SECONDS)?;
        let is_much = opened.count as f64 > sent.count as f64 * OPENED_SHARE;
        let (count, of, took) = (figures::count(opened.count), figures::count(sent.count), figures::seconds(median));
        is_much.then(|| format!("{count} of {of} requests opened a connection, which took {took} (p50) before they were sent"))
    }

    /// That the server closed connections on which requests were under way.
    fn twice_sentence(&self) -> Option<String> {
        let (twice, of) = (self.client.sent_twice, self.accounting.due);
        let (count, of) = (figures::count(twice), figures::count(of));
        let why = "as the server closed their kept connection before a byte came: by its own count it got so many more";
        (twice > 0).then(|| format!("{count} of {of} requests were sent a second time, {why}"))
    }

    /// How often a dataset's prompts were sent, where the verdict does not say so.
    fn dataset_sentence(&self) -> Option<String> {
        let is_said = self.verdict.reasons.iter().any(|reason| reason.code == "repeated_prompts");
        self.dataset.filter(|_| !is_said)?.sentence()
    }

    /// That a prefix cache knew the prompts of a dataset, where the verdict does not say so: they may begin alike by
    /// themselves, and what was sent before this run nobody here knows. Conversations are meant to be known.
    fn cache_sentence(&self) -> Option<String> {
        let is_said = self.verdict.reasons.iter().any(|reason| reason.code == "repeated_prompts");
        self.dataset.filter(|_| !is_said && self.conversations.is_none())?;
        let by_usage = self.tokens.cached.zip(self.tokens.input).map(|(cached, input)| cached as f64 / input as f64);
        let by_counters = || self.server.get("prefix_cache")?.get("share")?.as_f64();
        let cached = by_usage.or_else(by_counters).filter(|share| *share > CACHE_HIT)?;
        let share = figures::percent(cached);
        let why = "prompts of the dataset begin alike, or an earlier run or somebody else sent them";
        Some(format!("{share} of the prompt tokens came from the servers' prefix cache: {why}"))
    }

    /// That token figures lack answers, or are none at all.
    fn uncounted_sentence(&self) -> Option<String> {
        let (uncounted, of) = (self.tokens.uncounted, self.accounting.completed);
        let left = if uncounted == of { "there are no token figures" } else { "token figures are without theirs" };
        let (uncounted, of) = (figures::count(Some(uncounted).filter(|count| *count > 0)?), figures::count(of));
        Some(format!("{uncounted} of {of} answers came in one piece without a count of their tokens (`usage`): {left}"))
    }

    /// When the output begins that follows reasoning.
    fn reasoning_sentence(&self) -> Option<String> {
        let median = self.latency.ttfot_seconds.as_ref()?.shown(Percentile::P50)?;
        let took = figures::seconds(median);
        Some(format!("answers begin with reasoning, which is what TTFT counts: their first output came after {took} (p50)"))
    }

    /// That there was no output to wait for.
    fn ended_in_reasoning_sentence(&self) -> Option<String> {
        let (ended, of) = (self.tokens.ended_in_reasoning, self.accounting.completed);
        let (count, of) = (figures::count(ended), figures::count(of));
        (ended > 0).then(|| format!("{count} of {of} answers ended within their reasoning: no output came of them"))
    }

    /// That times per token are made of fewer events than tokens, and how far they may be off.
    fn spread_sentence(&self) -> Option<String> {
        let SpreadFigures { answers, events, tokens, hidden_reasoning } = self.tokens.spread?;
        self.latency.tpot_seconds.as_ref()?;
        // TPOT is over all tokens of an answer but one, and would be over fewer.
        let factor = |fewer: u64| {
            let fewer = fewer.checked_sub(answers).filter(|fewer| *fewer > 0)?;
            Some(figures::short((tokens - answers) as f64 / fewer as f64))
        };
        if hidden_reasoning > 0 {
            let by = factor(tokens - hidden_reasoning)
                .map_or_else(String::new, |by| format!("; over the others it is {by} times that"));
            let (hidden, tokens) = (figures::count(hidden_reasoning), figures::count(tokens));
            return Some(format!(
                "servers counted {hidden} of {tokens} answer tokens as reasoning, which no event showed: TTFT holds the time that they \
                 took, and TPOT is spread over them, too{by}"
            ));
        }
        if tokens as f64 <= events as f64 * TOKENS_PER_EVENT {
            return None;
        }
        let mean = |count: u64| figures::short(count as f64 / answers as f64);
        let by = factor(events).map_or_else(String::new, |by| format!(", up to {by} times"));
        Some(format!(
            "answers came in {} events on average and had {} tokens: times per token are spread over events. Tokens that came with the \
             first event, or that were counted and not shown (reasoning), make TPOT too good{by}",
            mean(events),
            mean(tokens)
        ))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::report::{Conversations, DatasetFigures, Distribution, ExecutorFigures, LoadFigures, RunSummary, run};

    fn trial(id: &str, model: &str, sent: f64, due: f64) -> TrialReport {
        let of = |p99| Some(Distribution { count: 400, p99, ..Distribution::default() });
        TrialReport {
            id: id.into(),
            complete: true,
            load: LoadFigures { model: model.to_owned(), ..LoadFigures::default() },
            latency: Latencies { ttft_seconds: of(sent), ttft_scheduled_seconds: of(due), ..Latencies::default() },
            ..TrialReport::default()
        }
    }

    fn remarks(trials: Vec<TrialReport>) -> Vec<String> {
        run(RunSummary::default(), trials, Vec::new()).remarks()
    }

    #[test]
    fn waiting_is_said_where_the_two_clocks_part() {
        for (model, sent, due, is_said) in [
            ("open", 0.024, 0.304, true),
            ("staged", 0.024, 0.304, true),
            ("replay", 0.024, 0.304, true),
            ("closed", 0.024, 0.304, false),
            ("open", 0.024, 0.028, false),
            ("open", 1.0, 1.09, false),
        ] {
            let found = remarks(vec![trial("t", model, sent, due)]);
            assert_eq!(found.iter().any(|remark| remark.starts_with("requests waited")), is_said, "{model} {sent} {due}");
        }
        let mut few = trial("t", "open", 0.024, 0.304);
        few.latency.ttft_seconds.as_mut().unwrap().count = 82;
        assert_eq!(remarks(vec![few]), [""; 0], "one of 82 that waited is no percentile");
        let found = remarks(vec![trial("a", "open", 0.02, 0.02), trial("b", "open", 0.02, 0.2)]);
        assert!(found[0].starts_with("b: requests waited"), "{found:?}");
    }

    #[test]
    fn the_shares_of_unlike_nodes_are_said() {
        let told = |cores: &[u32]| {
            let mut one = trial("t", "closed", 0.02, 0.02);
            let all: u32 = cores.iter().sum();
            for (executor, cores) in (0..).zip(cores) {
                let (node, share) = (format!("node{executor}"), Some(f64::from(*cores) / f64::from(all)));
                let roles = vec!["client".to_owned()];
                one.resources.nodes.insert(node.clone(), NodeFigures { cores: *cores, roles, ..NodeFigures::default() });
                if *cores > 0 {
                    one.client.by_executor.insert(executor, ExecutorFigures { node, share, ..ExecutorFigures::default() });
                }
            }
            one.resources.nodes.insert("server".into(), NodeFigures { cores: 96, ..NodeFigures::default() });
            remarks(vec![one])
        };
        assert_eq!(told(&[8, 8]), [""; 0]);
        assert_eq!(
            told(&[1, 3]),
            ["client nodes differ; their shares of the load: 25.0 % for node0 with 1 core, 75.0 % for node1 with 3 cores"]
        );
        assert!(told(&[8, 8, 8, 16, 8])[0].ends_with("for node2 with 8 cores, the rest for 2 more"));
        assert!(told(&[0, 3])[0].contains(" 0 % for node0 with 0 cores"), "{:?}", told(&[0, 3]));
    }

    #[test]
    fn connections_and_reasoning_are_said_where_they_say_something() {
        let of = |count, p50| Some(Distribution { count, p50, ..Distribution::default() });
        let opened = |count, p50| {
            let mut one = trial("t", "closed", 0.02, 0.02);
            (one.latency.connect_seconds, one.latency.dispatch_delay_seconds) = (of(count, p50), of(1_000, p50));
            remarks(vec![one])
        };
        assert_eq!(
            opened(900, 0.031),
            ["900 of 1,000 requests opened a connection, which took 31.0 ms (p50) before they were sent"]
        );
        for (count, p50) in [(90, 0.031), (900, 0.000_2), (5, 0.031)] {
            assert_eq!(opened(count, p50), [""; 0], "{count} {p50}");
        }
        let mut twice = trial("t", "closed", 0.02, 0.02);
        (twice.client.sent_twice, twice.accounting.due) = (98, 400);
        assert!(remarks(vec![twice])[0].starts_with("98 of 400 requests were sent a second time"));
        let mut thinking = trial("t", "closed", 0.02, 0.02);
        thinking.latency.ttfot_seconds = of(400, 2.5);
        assert!(remarks(vec![thinking.clone()])[0].ends_with("their first output came after 2.50 s (p50)"));
        let mut uncounted = trial("t", "closed", 0.02, 0.02);
        (uncounted.tokens.uncounted, uncounted.accounting.completed) = (40, 40);
        assert!(remarks(vec![uncounted.clone()])[0].ends_with("(`usage`): there are no token figures"));
        uncounted.accounting.completed = 60;
        assert!(remarks(vec![uncounted])[0].starts_with("40 of 60 answers"));
        thinking.latency.ttfot_seconds = of(5, 2.5);
        assert_eq!(remarks(vec![thinking]), [""; 0], "too few for a median");
    }

    #[test]
    fn tokens_that_no_event_showed_are_said_with_how_much_they_may_change() {
        let spread = |answers, events, tokens, hidden_reasoning| {
            let mut one = trial("t", "closed", 0.02, 0.02);
            one.latency.tpot_seconds = Some(Distribution::default());
            one.tokens.spread = Some(SpreadFigures { answers, events, tokens, hidden_reasoning });
            remarks(vec![one]).pop().unwrap_or_default()
        };
        assert_eq!(spread(100, 1_600, 2_400, 0), "", "one and a half is usual");
        assert_eq!(
            spread(100, 800, 6_400, 0),
            "answers came in 8 events on average and had 64 tokens: times per token are spread over events. Tokens that came with the \
             first event, or that were counted and not shown (reasoning), make TPOT too good, up to 9 times"
        );
        assert!(spread(100, 100, 6_400, 0).ends_with("make TPOT too good"), "{}", spread(100, 100, 6_400, 0));
        assert_eq!(
            spread(100, 1_600, 6_400, 4_800),
            "servers counted 4,800 of 6,400 answer tokens as reasoning, which no event showed: TTFT holds the time that they took, and \
             TPOT is spread over them, too; over the others it is 4.2 times that"
        );
        let mut choices = trial("t", "closed", 0.02, 0.02);
        choices.tokens.spread = Some(SpreadFigures { answers: 1, events: 8, tokens: 64, hidden_reasoning: 0 });
        assert_eq!(remarks(vec![choices]), [""; 0], "there is no TPOT");
    }

    #[test]
    fn answers_of_reasoning_alone_are_said() {
        let mut one = trial("t", "closed", 0.02, 0.02);
        (one.tokens.ended_in_reasoning, one.accounting.completed) = (12, 30);
        assert_eq!(remarks(vec![one]), ["12 of 30 answers ended within their reasoning: no output came of them"]);
    }

    #[test]
    fn prompts_that_were_sent_again_are_said_once() {
        let mut sent = trial("t", "closed", 0.02, 0.02);
        sent.dataset =
            Some(DatasetFigures { entries: 99, most_often: 2, requests: 100, repeated: 1, ..DatasetFigures::default() });
        assert!(remarks(vec![sent.clone()])[0].ends_with("1 of 100 measured requests repeat a prompt"));
        let (code, message) = ("repeated_prompts".to_owned(), String::new());
        let reason = crate::verdict::Reason { code, message, status: crate::verdict::Status::Suspect, value: 0.9, limit: 0.05 };
        sent.verdict = crate::verdict::Verdict::of(vec![reason]);
        assert_eq!(remarks(vec![sent]), [""; 0], "the verdict says it");
    }

    #[test]
    fn a_dataset_that_a_cache_knew_is_said() {
        let mut known = trial("t", "closed", 0.02, 0.02);
        known.server.insert("prefix_cache".to_owned(), json!({ "queries": 1_000, "hits": 951, "share": 0.951 }));
        assert_eq!(remarks(vec![known.clone()]), [""; 0], "the verdict speaks of prompts that were made");
        known.dataset = Some(DatasetFigures { entries: 99, most_often: 1, requests: 99, ..DatasetFigures::default() });
        assert!(remarks(vec![known.clone()])[0].starts_with("95.1 % of the prompt tokens came from the servers' prefix cache"));
        (known.tokens.cached, known.tokens.input) = (Some(50), Some(1_000));
        assert_eq!(remarks(vec![known.clone()]), [""; 0], "the answers know better");
        known.tokens.cached = Some(60);
        assert!(remarks(vec![known.clone()])[0].starts_with("6.00 % of the prompt tokens"));
        known.conversations = Some(Conversations::default());
        assert_eq!(remarks(vec![known]), [""; 0], "a turn's prompt begins with what was said before");
    }

    #[test]
    fn each_floor_of_the_client_is_said_once() {
        let calibrated = |id: &str, ttft: f64| {
            let mut one = trial(id, "closed", 0.02, 0.02);
            one.client.calibration = Some(json!({"ttft_error_seconds_p99": ttft, "tpot_error_seconds_p99": 0.000_175}));
            one
        };
        let same = remarks(vec![calibrated("a", 0.00408), calibrated("b", 0.00408)]);
        assert_eq!(same, ["the client itself adds up to 4.08 ms to TTFT and 175 µs to TPOT (p99)"]);
        let many: Vec<TrialReport> = ["a", "b", "c", "d"].map(|id| calibrated(id, 0.001)).into();
        let found = remarks(many.into_iter().chain([calibrated("e", 0.002)]).collect());
        assert!(found[0].starts_with("a, b, c and 1 more: ") && found[1].starts_with("e: "), "{found:?}");
    }

    #[test]
    fn why_a_run_failed_is_said_once() {
        let why = "service deployment could not be finished: no server";
        let summary = RunSummary { incomplete_reason: Some(why.to_owned()), ..RunSummary::default() };
        let report = run(summary.clone(), Vec::new(), vec![why.to_owned(), "another".to_owned()]);
        assert_eq!((report.incomplete_beside_verdict(), report.further_warnings().collect::<Vec<_>>()), (None, vec!["another"]));
        let report = run(summary, vec![trial("a", "open", 0.02, 0.02)], Vec::new());
        assert_eq!(report.incomplete_beside_verdict(), Some(why), "the verdict is that of the trial that was finished");
    }
}
