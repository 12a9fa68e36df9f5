//! What a node answers over HTTP, and what the leader adds.
//!
//! Reading a node's own figures needs no token: Prometheus comes through a tunnel, and there is no
//! prompt, log or secret in them. Everything else needs the job's.

mod guard;
mod leader;
mod node;

use std::{sync::Arc, time::Duration};

use axum::{Router, extract::DefaultBodyLimit, middleware};
use hb_core::{facts::NodeReading, tally::NodeLive};
use serde::Serialize;
use tokio::net::TcpListener;

pub use self::{
    guard::Token,
    leader::{LeaderView, routes as leader_routes},
    node::{Control, Refusal, routes as node_routes},
};

/// The longest body that is read.
const MAX_BODY_BYTES: usize = 1024 * 1024;
/// The longest an answer may take to begin.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// What a node shows of itself.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct NodeView {
    /// The node's name in the run; its host's name before it has one.
    pub node: String,
    /// The run, if it is in one.
    pub run: Option<String>,
    /// The service's name, which begins the old metric names.
    pub service: String,
    /// Its share of the load.
    pub load: NodeLive,
    /// Its latest sample.
    pub reading: Option<NodeReading>,
}

/// Puts limits and security headers around routes; the last thing before [`serve`].
pub fn guarded(routes: Router) -> Router {
    routes.layer(DefaultBodyLimit::max(MAX_BODY_BYTES)).layer(middleware::from_fn(guard::bound))
}

/// Serves until `ended` resolves, then lets answers that have begun finish.
///
/// # Errors
/// If the listener fails.
pub async fn serve(
    listener: TcpListener,
    routes: Router,
    ended: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    axum::serve(listener, guarded(routes)).with_graceful_shutdown(ended).await
}

/// What routes share.
type Shared<T> = Arc<T>;

#[cfg(test)]
mod tests;
