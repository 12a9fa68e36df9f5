//! The Orchestrator with Books whose recorder does what it is told to.

use std::io;

use hb_core::{
    batch::Batch,
    events::{Happened, RunEvent},
    facts::{LogBatch, NodeReading},
    phases::{Phase, RunSpec},
    plan::{NodeNeeds, Plan},
    report::{Report, RunSummary, TrialReport},
    tally::{Live, LostRow},
    units::{Span, TrialId},
};
use ractor::Actor;
use tokio::sync::{mpsc, oneshot};

use super::{Books, BooksArguments, BooksMsg, Expected, Leadership, Orchestrator, Recorder, Rows};

/// Panics at the first warning, and takes everything else.
struct Brittle;

impl Recorder for Brittle {
    fn event(&mut self, event: &RunEvent) {
        assert!(!matches!(event.happened, Happened::Warned { .. }), "the pen broke");
    }

    fn reading(&mut self, _: &NodeReading) {}

    fn logs(&mut self, _: &LogBatch) {}

    fn live(&mut self, _: &Live) {}

    fn begin_trial(&mut self, _: &Plan) -> io::Result<()> {
        Ok(())
    }

    fn spool(&mut self, _: &Batch) -> io::Result<()> {
        Ok(())
    }

    fn rows(&mut self, _: &TrialId) -> io::Result<Rows> {
        Ok(Box::new(std::iter::empty()))
    }

    fn finish_trial(&mut self, _: &TrialReport, _: &[LostRow]) -> io::Result<()> {
        Ok(())
    }

    fn save(&mut self, _: Report) {}
}

#[tokio::test(start_paused = true)]
async fn books_that_fail_end_the_run_at_once_with_their_name() {
    let arguments = BooksArguments { recorder: Box::new(Brittle), summary: RunSummary::default(), finished_before: 0 };
    let (books, _) = Actor::spawn(None, Books, arguments).await.unwrap();
    let spec = RunSpec {
        run: "r".into(),
        trials: Vec::new(),
        default_port: 0,
        on_node_loss: None,
        monitor_interval: None,
        join_within: Span::from_secs(3600),
        ends_at: None,
        probes: Vec::new(),
    };
    let needs = NodeNeeds { monitors: 0, servers: 0, clients: Some(1), share_servers: false };
    let (_cluster, receiver) = mpsc::unbounded_channel();
    let (done, outcome) = oneshot::channel();
    let leadership = Leadership {
        spec,
        expected: Expected { nodes: 1, needs, may_share_hosts: false, are_placed: false },
        books: books.clone(),
        cluster: receiver,
        own_host: "here".into(),
        done,
    };
    let begun = tokio::time::Instant::now();
    let (_orchestrator, _) = Actor::spawn(None, Orchestrator, leadership).await.unwrap();
    let trial = None::<TrialId>;
    books.cast(BooksMsg::Event(RunEvent { unix_nanos: 0, trial, happened: Happened::Warned { what: "w".into() } })).unwrap();
    let outcome = outcome.await.expect("the run ends");
    assert!(outcome.report.is_none());
    let (phase, why) = outcome.failure.expect("with a failure");
    assert_eq!(phase, Phase::Initialization);
    assert!(why.contains("books failed") && why.contains("the pen broke"), "{why}");
    assert!(begun.elapsed() < std::time::Duration::from_secs(3600), "long before nodes are missed");
}
