//! A node without a leader: its endpoints, and the loads that `POST /start` asks for.

use hb_actors::{cluster::identity::random_secret, node::NodeEnd};
use hb_core::{orders::Order, units::Span};

use super::{NodeStart, ended, live, start};
use crate::{
    cli::{NodeWords, exit::Exit},
    lead::surroundings::Surroundings,
    signals::Signals,
};

/// The pause between two samples of the machine.
const SAMPLE_EVERY: Span = Span(std::time::Duration::from_secs(1));

/// Serves this node's endpoints until a signal ends it.
pub fn run(words: &NodeWords) -> Exit {
    live(words, &Surroundings::read().host, None, "", served)
}

async fn served(start_node: NodeStart) -> Exit {
    let prepared = Signals::listen().map_err(|error| error.to_string());
    let prepared = prepared.and_then(|signals| Ok((signals, random_secret().map_err(|error| error.to_string())?)));
    let (mut signals, token) = match prepared {
        Ok(both) => both,
        Err(error) => {
            eprintln!("error: cannot start: {error}");
            return Exit::Failed;
        }
    };
    let mut started = match start(start_node).await {
        Ok(started) => started,
        Err(sentence) => {
            eprintln!("error: {sentence}");
            return Exit::BadWords;
        }
    };
    let door = started.open(&token, None);
    started.node.stands_alone();
    if let Err(error) = started.node.door().order(Order::StartMonitoring { interval: SAMPLE_EVERY }).await {
        tracing::warn!(%error, "this machine is not sampled");
    }
    eprintln!("this node's endpoints: http://{}; the token of /start and /stop: {token}", started.endpoints);
    let exit = tokio::select! {
        signal = signals.next() => signal.into(),
        end = ended(&mut started.node.ended) => failed(&end),
    };
    door.close().await;
    started.node.stop().await;
    exit
}

/// Nobody can dismiss a node that nobody leads.
fn failed(end: &NodeEnd) -> Exit {
    let (NodeEnd::Dismissed(why) | NodeEnd::Failed(why)) = end;
    eprintln!("error: this node cannot go on: {why}");
    Exit::Failed
}
