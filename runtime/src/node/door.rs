//! Endpoints that are open for as long as they are wanted.

use std::{sync::Arc, time::Duration};

use axum::Router;
use hb_actors::uplink::NodeShare;
use tokio::{
    net::TcpListener,
    sync::{oneshot, watch},
    task::JoinHandle,
};

use super::solo::Solo;
use crate::http::{self, NodeView, Token};

/// Requests that are being answered have so long when the door closes; a stream of events would stay for ever.
const CLOSE_WITHIN: Duration = Duration::from_millis(500);

/// Open endpoints. They close when this is dropped; [`Door::close`] also waits for it.
pub struct Door {
    close: Option<oneshot::Sender<()>>,
    serving: JoinHandle<()>,
}

impl Door {
    /// Serves these routes.
    #[must_use]
    pub fn open(listener: TcpListener, routes: Router) -> Self {
        let (close, closed) = oneshot::channel::<()>();
        let serving = tokio::spawn(async move {
            let ended = async move { drop(closed.await) };
            if let Err(error) = http::serve(listener, routes, ended).await {
                tracing::error!(%error, "the endpoints ended by themselves");
            }
        });
        Self { close: Some(close), serving }
    }

    /// Serves a node's own endpoints: its share, and a workload of its own when it is idle.
    #[must_use]
    pub fn of_node(
        listener: TcpListener,
        share: watch::Receiver<NodeShare>,
        solo: Solo,
        token: &str,
        (node, run, service): (String, Option<String>, String),
    ) -> Self {
        let view = view(share, NodeView { node, run, service, ..NodeView::default() });
        Self::open(listener, http::node_routes(view, Token::new(token.to_owned()), Arc::new(solo)))
    }

    /// Closes the door, and waits for what is being answered, but not for long.
    pub async fn close(mut self) {
        if let Some(close) = self.close.take() {
            // It may have ended by itself.
            let _ = close.send(());
        }
        if tokio::time::timeout(CLOSE_WITHIN, &mut self.serving).await.is_err() {
            self.serving.abort();
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// What the endpoints show, made from the node's share as it changes.
fn view(mut share: watch::Receiver<NodeShare>, mut shown: NodeView) -> watch::Receiver<NodeView> {
    let (sender, receiver) = watch::channel(shown.clone());
    tokio::spawn(async move {
        while share.changed().await.is_ok() {
            let now = share.borrow_and_update().clone();
            if let Some(reading) = &now.reading {
                shown.node.clone_from(&reading.node.0);
            }
            // A node that nobody leads learns of it with its load.
            if let Some(service) = now.service {
                shown.service = service;
            }
            (shown.load, shown.reading) = (now.live, now.reading);
            sender.send_replace(shown.clone());
        }
    });
    receiver
}
