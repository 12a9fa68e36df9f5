//! What the Dummy has seen, so that a client's sums can be held against the server's.

use std::{
    fmt::Write,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use super::{
    asks::{DIALECTS, Dialect},
    faults::{FAULTS, Fault},
};

/// One count each; every request for tokens ends in exactly one of `completed`, `refused`, `faults` and `cut`.
#[derive(Debug, Default)]
pub struct Counters {
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
    /// Waiting for their turn now.
    pub waiting: AtomicU64,
    /// Being answered now.
    pub running: AtomicU64,
    /// Connections accepted.
    pub connections: AtomicU64,
}

impl Counters {
    /// A request for tokens came in.
    pub fn received(&self, dialect: Dialect) {
        self.received[dialect as usize].fetch_add(1, Relaxed);
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
        family("generation_tokens_total", "counter", "Tokens sent.", &plain(&self.tokens));
        family("connections_total", "counter", "Connections accepted.", &plain(&self.connections));
        family("requests_waiting", "gauge", "Requests waiting for their turn.", &plain(&self.waiting));
        family("requests_running", "gauge", "Requests being answered.", &plain(&self.running));
        text
    }
}
