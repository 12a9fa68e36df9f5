//! Measures the client's own error floor: the executor drives a Dummy on its own node at the asked load, through the very
//! engine that measures afterwards.
//!
//! What it finds is an upper bound: the Dummy's own lateness is in it, and it shares the node with the client.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use hb_core::{
    batch::Source,
    calibration::{self, Floor, TPOT, TTFT},
    orders::LoadShare,
    units::Span,
};
use hb_services::service::CommandLine;
use tokio::{sync::oneshot, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    child::{GuardedChild, StopPolicy},
    load::{Clock, Ledger, PanicSwitch, Prepared, drive},
};

/// The Dummy is a process of ours that does nothing before it answers.
const START_WITHIN: Duration = Duration::from_secs(5);
/// Time for the load's tasks to stand ready before its first request is due.
const START_AHEAD: Duration = Duration::from_millis(20);
/// What is in flight at the end has at most so long.
const DRAIN: Duration = Duration::from_secs(1);
/// What the Dummy says before its URL.
const ANSWERS_AT: &str = "answers at ";

/// Drives a Dummy for so long with a share like this one.
pub(super) async fn calibrate(share: &LoadShare, lasting: Span) -> Result<Floor, String> {
    let (dummy, url) = start_dummy().await?;
    let measured = measure(share, lasting, &url).await;
    let stopped = dummy.stop().await.map_err(|error| format!("the Dummy cannot be ended: {error}"));
    measured.and_then(|floor| stopped.map(|_| floor))
}

async fn measure(share: &LoadShare, lasting: Span, url: &str) -> Result<Floor, String> {
    let load = calibration::load(&share.load, lasting).ok_or("a trace cannot be asked of a Dummy")?;
    let mut share = LoadShare {
        load,
        request: calibration::request(&share.request),
        servers: vec![url.to_owned(); share.servers.len()],
        counting: None,
        ..share.clone()
    };
    share.service.api_key = None;
    share.service.headers.clear();
    let source =
        Source { trial: share.trial.clone(), node: share.node.clone(), incarnation: 0, executor: share.executor, epoch: 0 };
    let prepared = Arc::new(Prepared::build(share, None).await.map_err(|error| error.to_string())?);
    let (ledger, stop) = (Ledger::new(source), CancellationToken::new());
    let clock = Clock::beginning(Instant::now() + START_AHEAD);
    let limit = lasting.0 + START_AHEAD + DRAIN;
    let driven = drive(prepared, Arc::clone(&ledger), clock, stop.clone(), PanicSwitch::default());
    tokio::pin!(driven);
    let ended = match timeout(limit, &mut driven).await {
        Ok(ended) => ended,
        Err(_) => {
            stop.cancel();
            driven.await
        }
    };
    ended.map_err(|error| error.to_string())?;
    let batches = ledger.cut(clock.now(), true);
    let records: Vec<_> = batches.into_iter().flat_map(|batch| batch.records).collect();
    Floor::of(&records, lasting.as_secs_f64()).ok_or_else(|| format!("none of {} requests to a Dummy completed", records.len()))
}

/// A Dummy of the known timing on this node, and where it answers.
async fn start_dummy() -> Result<(GuardedChild, String), String> {
    let own_exe = std::env::current_exe().map_err(|error| format!("this binary cannot be found: {error}"))?;
    let timing = ["--ttft".to_owned(), TTFT.to_string(), "--tpot".to_owned(), TPOT.to_string()];
    let args = ["dummy", "--host", "127.0.0.1", "--port", "0"].map(str::to_owned).into_iter().chain(timing).collect();
    let command = CommandLine { program: own_exe.clone(), args, env: BTreeMap::new() };
    let (tell, told) = oneshot::channel();
    let tell = Mutex::new(Some(tell));
    let sink = Arc::new(move |lines: Vec<hb_core::facts::LogLine>| {
        for line in lines {
            let Some(url) = line.text.split_once(ANSWERS_AT).and_then(|(_, rest)| rest.split([',', ' ']).next()) else {
                continue;
            };
            if let Some(tell) = tell.lock().unwrap_or_else(PoisonError::into_inner).take() {
                // Nobody waits any more where it took too long.
                let _ = tell.send(url.to_owned());
            }
        }
    });
    let policy = StopPolicy::default();
    let dummy = GuardedChild::spawn(&command, &own_exe, policy, sink).await.map_err(|error| error.to_string())?;
    match timeout(START_WITHIN, told).await {
        Ok(Ok(url)) => Ok((dummy, url)),
        _ => Err("a Dummy did not start".into()),
    }
}
