//! What a verdict is made of: the figures of a trial that say whether it measured what it says.

use crate::{counted::PrefixCache, counting::LengthsBy, report::DatasetFigures, trial::Api};

/// The evidence on one trial; all counts are of the measured stage.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TrialEvidence {
    /// Requests that were due.
    pub due: u64,
    /// Requests with a whole answer.
    pub completed: u64,
    /// Requests that failed or ran into one of our deadlines.
    pub failed: u64,
    /// Of those, the ones whose whole answer had no token.
    pub without_token: u64,
    /// Streamed answers that have tokens and no first one.
    pub without_first_token: u64,
    /// Streamed answers of several events, and how many of these came at once, at their end.
    pub at_once: (u64, u64),
    /// Requests given up by us at the drain's end.
    pub cancelled: u64,
    /// Requests that were never sent.
    pub dropped: u64,
    /// Requests whose executor or node is gone.
    pub lost: u64,
    /// Ends told of requests whose end was known.
    pub repeated_ends: u64,
    /// An open loop's sends.
    pub open_loop: Option<OpenLoopEvidence>,
    /// The 99th percentile of the time from due to sent of an open loop, opening connections left out; `None` where
    /// `max_in_flight` may have held requests back, and where too few were sent for that percentile.
    pub send_delay_p99_seconds: Option<f64>,
    /// What came and went in the window; `None` where the load was to change, and where nothing was in flight.
    pub flow: Option<FlowEvidence>,
    /// Mean number of requests in flight in the window, those of the warm-up included.
    pub in_flight_mean: f64,
    /// CPU time of the busiest executor over the time it could have had.
    pub cpu_ratio: f64,
    /// Mean lateness of the client's timers.
    pub lag_mean_seconds: f64,
    /// The largest.
    pub lag_max_seconds: f64,
    /// For how long a byte of an answer lay unread on average, where that is known; of the executor where it was longest.
    pub unread_seconds: Option<f64>,
    /// The median time per token.
    pub tpot_p50_seconds: Option<f64>,
    /// The median time to first token.
    pub ttft_p50_seconds: Option<f64>,
    /// The median time to the last token.
    pub e2el_p50_seconds: Option<f64>,
    /// Executors that failed and took up their share again, or gave up.
    pub executor_restarts: u32,
    /// Client or monitor nodes that were lost.
    pub nodes_lost: u32,
    /// Servers that ended by themselves.
    pub servers_exited: u32,
    /// Servers that were started again.
    pub servers_restarted: u32,
    /// Whether the protocol can make an answer as long as was asked.
    pub can_force_length: bool,
    /// Answer tokens of completed requests.
    pub output_tokens: u64,
    /// Whether some of these are events with content, which may hold several.
    pub has_counted_events: bool,
    /// Answer tokens that these were asked for, those of answers left out whose tokens nobody counted.
    pub requested_output_tokens: u64,
    /// Prompt tokens of completed requests by the server's count.
    pub input_tokens: u64,
    /// The prompts that were made to a length; `None` where none were, and where nobody counted.
    pub prompts: Option<PromptsEvidence>,
    /// Prompt tokens from the server's cache, where it says so in its answers.
    pub cached_tokens: Option<u64>,
    /// What the servers' counters say of their prefix caches; `None` where one of them has none.
    pub prefix_cache: Option<PrefixCacheEvidence>,
    /// How often the texts of a dataset were sent.
    pub dataset: Option<DatasetFigures>,
    /// Whether prompts were meant to share their beginning.
    pub has_shared_prefix: bool,
    /// Answers by another model than was asked, by their own word.
    pub other_model_answers: u64,
    /// The names that they gave, as far as they were told.
    pub other_models: Vec<String>,
    /// Whether prompts differ from each other, so that answers should.
    pub has_own_prompts: bool,
    /// Answers whose beginnings were compared, and how many begin as most do.
    pub alike: (u64, u64),
    /// Servers that answered nothing any more, or never did.
    pub dead_servers: Vec<DeadServer>,
    /// Requests that a server turned away while it answered others.
    pub refused_beside_answers: u64,
    /// Of those, the ones with status 503.
    pub busy_beside_answers: u64,
    /// What the servers counted beside what was sent to them; `None` where they do not tell.
    pub served: Option<ServedEvidence>,
    /// A closed loop's requests in flight.
    pub closed_loop: Option<ClosedLoopEvidence>,
    /// How even the window was; `None` where it is too short to say.
    pub steady: Option<SteadyEvidence>,
    /// Latencies that moved to another level within the window.
    pub drifts: Vec<DriftEvidence>,
    /// The largest bound of a client's clock, where there is more than one node.
    pub clock_bound_seconds: f64,
    /// Client nodes whose clock is not known at all, where there is more than one.
    pub clocks_unknown: u32,
    /// The largest jump of a node's clock while load ran.
    pub clock_step_seconds: f64,
    /// Batches that never came.
    pub missing_batches: u64,
    /// GPUs whose clock was held down.
    pub gpus_throttled: u32,
    /// Whether the load was ended before its planned end.
    pub is_interrupted: bool,
}

/// What an open loop asked for within its window, and what was sent there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OpenLoopEvidence {
    /// Requests that the schedule had.
    pub due: u64,
    /// Requests that were sent, of whichever were due there.
    pub sent: u64,
    /// Of those that were not, the ones held back by `max_in_flight`.
    pub held_back: u64,
}

/// Prompts of completed requests that were made to a length, and that the server counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PromptsEvidence {
    /// So many.
    pub prompts: u64,
    /// Tokens that they were made to have.
    pub asked: u64,
    /// Tokens that they had by the server's count.
    pub served: u64,
    /// The fewest that one of them was to have.
    pub shortest: u32,
    /// What made them get their length.
    pub lengths_by: LengthsBy,
    /// Tokens around the words of each of them, as far as they were known.
    pub overhead: u32,
    /// The operation that these were learned with, where it is another than theirs.
    pub learned_with: Option<Api>,
}

/// A server that answers nothing any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadServer {
    /// Its ordinal.
    pub server: u16,
    /// No request was answered that was sent from this second on, since the trial's start.
    pub since_second: u64,
    /// So many failed since then.
    pub failed: u64,
}

/// What all servers together counted while load ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ServedEvidence {
    /// Prompts by the servers' own count.
    pub counted: u64,
    /// Prompts that were sent to them, those of requests that may have been sent included.
    pub sent: u64,
}

/// What the prefix caches of all servers gave, from the beginning of the warm-up on.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct PrefixCacheEvidence {
    /// Looked for and found.
    pub counted: PrefixCache,
    /// The share of the requests in it that were measured.
    pub measured_share: f64,
}

/// Requests that came and went in a window whose load was to stay the same.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FlowEvidence {
    /// Whether they came by a schedule.
    pub is_open: bool,
    /// Those that ended within the window, however they did.
    pub ended: u64,
    /// Those that were to end in it: of an open loop those that were sent, of a closed one what was in flight over the time
    /// that it takes.
    pub expected: f64,
    /// By how many these may differ by chance: one standard deviation.
    pub noise: f64,
    /// The variance of the number that comes in a stretch, over its mean: 1 of Poisson arrivals, more of bursts.
    pub dispersion: f64,
    /// Mean number in flight in the window's second, third and last quarter.
    pub in_flight: [f64; 3],
    /// Mean time in flight.
    pub answer_seconds: f64,
    /// How long the window is.
    pub window_seconds: f64,
}

/// What a closed loop was to keep in flight, and what it kept.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ClosedLoopEvidence {
    /// Requests in flight that all its clients would have come to, the pauses of each left out.
    pub expected: f64,
    /// The mean in flight.
    pub mean: f64,
    /// Requests that were answered with status 429 or 503.
    pub turned_away: u64,
    /// Of those that would have been in flight, the mean whose clients waited after such an answer.
    pub held_off: f64,
}

/// The first and the last third of the window.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct SteadyEvidence {
    /// Requests completed in each.
    pub completed: [u64; 2],
    /// Answer tokens that came in each.
    pub output_tokens: [f64; 2],
}

/// A latency that moved to another level within the window.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DriftEvidence {
    /// Its name: `ttft`, `tpot`, `e2el`.
    pub latency: String,
    /// The median before and after.
    pub seconds: [f64; 2],
    /// About when, since the trial's start.
    pub at_seconds: f64,
}

impl DriftEvidence {
    /// The larger median over the smaller one.
    #[must_use]
    pub fn factor(&self) -> f64 {
        let [before, after] = self.seconds;
        before.max(after) / before.min(after)
    }
}

impl TrialEvidence {
    /// Whether every request that was due ended once.
    #[must_use]
    pub fn is_balanced(&self) -> bool {
        self.repeated_ends == 0 && self.completed + self.failed + self.cancelled + self.dropped + self.lost == self.due
    }
}
