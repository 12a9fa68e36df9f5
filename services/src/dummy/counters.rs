//! What the Dummy has seen, so that a client's sums can be held against the server's.

use std::{
    fmt::Write,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, SystemTime},
};

use super::{
    asks::{DIALECTS, Dialect},
    faults::{FAULTS, Fault},
};

/// One count each; every request for tokens ends in exactly one of `completed`, `refused`, `faults` and `cut`.
#[derive(Debug)]
pub struct Counters {
    /// When it began to count.
    started: SystemTime,
    received: [AtomicU64; DIALECTS.len()],
    faults: [AtomicU64; FAULTS.len()],
    /// Whole answers.
    pub completed: AtomicU64,
    /// Answered with a 4xx status, or with 503 before the start delay was over.
    pub refused: AtomicU64,
    /// The client went away, or the server was stopped.
    pub cut: AtomicU64,
    /// Tokens handed to the socket.
    pub tokens: AtomicU64,
    /// Tokens of the prompts that were let in.
    pub prompt_tokens: AtomicU64,
    /// Prompts that were let in: more than requests, where they come in batches.
    pub prompts: AtomicU64,
    /// Tokens of the prompts that were looked for in its cache, and those that it says were there; `None` where it says
    /// nothing of a cache.
    prefix_cache: Option<[AtomicU64; 2]>,
    /// Waiting for their turn now.
    pub waiting: AtomicU64,
    /// Requests that have had their turn, and the time for which they waited together, nanoseconds.
    queued: [AtomicU64; 2],
    /// Being answered now.
    pub running: AtomicU64,
    /// Asked and not answered yet.
    in_flight: AtomicU64,
    /// The most of them at one time.
    in_flight_peak: AtomicU64,
    /// Connections accepted.
    pub connections: AtomicU64,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            started: SystemTime::now(),
            received: Default::default(),
            faults: Default::default(),
            completed: AtomicU64::default(),
            refused: AtomicU64::default(),
            cut: AtomicU64::default(),
            tokens: AtomicU64::default(),
            prompt_tokens: AtomicU64::default(),
            prompts: AtomicU64::default(),
            prefix_cache: None,
            waiting: AtomicU64::default(),
            queued: Default::default(),
            running: AtomicU64::default(),
            in_flight: AtomicU64::default(),
            in_flight_peak: AtomicU64::default(),
            connections: AtomicU64::default(),
        }
    }
}

impl Counters {
    /// Nothing yet, with a prefix cache's counters where there is to be one.
    pub fn new(has_cache: bool) -> Self {
        Self { prefix_cache: has_cache.then(Default::default), ..Self::default() }
    }

    /// Of a prompt of `queries` tokens, `hits` are said to have been in the cache.
    pub fn looked_up(&self, queries: u32, hits: u32) {
        if let Some([all, found]) = &self.prefix_cache {
            all.fetch_add(queries.into(), Relaxed);
            found.fetch_add(hits.into(), Relaxed);
        }
    }

    /// A request for tokens came in.
    pub fn received(&self, dialect: Dialect) {
        self.received[dialect as usize].fetch_add(1, Relaxed);
        let in_flight = self.in_flight.fetch_add(1, Relaxed) + 1;
        self.in_flight_peak.fetch_max(in_flight, Relaxed);
    }

    /// A request that was in flight is none any more: its answer's last bytes are about to be written, or nobody waits.
    pub fn left(&self) {
        self.in_flight.fetch_sub(1, Relaxed);
    }

    /// A request has its turn after this time.
    pub fn had_turn(&self, after: Duration) {
        self.queued[0].fetch_add(1, Relaxed);
        self.queued[1].fetch_add(u64::try_from(after.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    /// A planted fault was played.
    pub fn fault(&self, fault: Fault) {
        self.faults[fault as usize].fetch_add(1, Relaxed);
    }

    /// All of it, as Prometheus reads it.
    pub fn exposition(&self) -> String {
        let mut text = String::new();
        let mut family = |name: &str, kind: &str, help: &str, rows: &[(String, &AtomicU64)]| {
            let mut line = |words: std::fmt::Arguments| text.write_fmt(words).expect("a String takes all that is written");
            line(format_args!("# HELP dummy_server_{name} {help}\n# TYPE dummy_server_{name} {kind}\n"));
            for (labels, count) in rows {
                line(format_args!("dummy_server_{name}{labels} {}\n", count.load(Relaxed)));
            }
        };
        let plain = |count| [(String::new(), count)];
        let received = DIALECTS.iter().zip(&self.received).map(|((_, path), count)| (format!("{{path=\"{path}\"}}"), count));
        let faults = FAULTS.iter().zip(&self.faults).map(|((_, word), count)| (format!("{{kind=\"{word}\"}}"), count));
        family("requests_received_total", "counter", "Requests for tokens.", &received.collect::<Vec<_>>());
        family("requests_completed_total", "counter", "Answers sent whole.", &plain(&self.completed));
        family("requests_refused_total", "counter", "Requests that were no use.", &plain(&self.refused));
        family("faults_total", "counter", "Planted faults played.", &faults.collect::<Vec<_>>());
        family("requests_cut_total", "counter", "Answers the client did not wait for.", &plain(&self.cut));
        family("prompts_total", "counter", "Prompts let in.", &plain(&self.prompts));
        family("prompt_tokens_total", "counter", "Tokens of prompts let in.", &plain(&self.prompt_tokens));
        if let Some([all, found]) = &self.prefix_cache {
            family("prefix_cache_queries_total", "counter", "Tokens of prompts looked for in the cache.", &plain(all));
            family("prefix_cache_hits_total", "counter", "Those that it says were there.", &plain(found));
        }
        family("generation_tokens_total", "counter", "Tokens sent.", &plain(&self.tokens));
        family("connections_total", "counter", "Connections accepted.", &plain(&self.connections));
        family("requests_waiting", "gauge", "Requests waiting for their turn.", &plain(&self.waiting));
        family("requests_running", "gauge", "Requests being answered.", &plain(&self.running));
        family("requests_in_flight", "gauge", "Requests not answered yet.", &plain(&self.in_flight));
        family("requests_in_flight_peak", "gauge", "The most of them at one time.", &plain(&self.in_flight_peak));
        let started = self.started.duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
        let name = "process_start_time_seconds";
        let [turns, nanos] = self.queued.each_ref().map(|count| count.load(Relaxed));
        let queue = "dummy_server_request_queue_time_seconds";
        writeln!(text, "# HELP {name} When it began to count.\n# TYPE {name} gauge\n{name} {started:.3}")
            .and_then(|()| writeln!(text, "# HELP {queue} Time until its turn.\n# TYPE {queue} summary"))
            .and_then(|()| writeln!(text, "{queue}_count {turns}\n{queue}_sum {:.9}", nanos as f64 / 1e9))
            .expect("a String takes all that is written");
        text
    }
}
