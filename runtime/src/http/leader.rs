//! The leader's routes: `/` (the live page), `/api/live`, `/api/events`, `/api/logs`; all need the token.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::State,
    middleware,
    response::{
        Html, IntoResponse as _, Response,
        sse::{Event, KeepAlive, Sse},
    },
    routing::get,
};
use futures_util::{Stream, StreamExt, stream};
use hb_core::{events::RunEvent, facts::LogBatch, tally::Live};
use tokio::sync::{broadcast, watch};

use super::{Shared, Token, guard};
use crate::render;

/// What the leader shows of the run.
#[derive(Debug)]
pub struct LeaderView {
    /// The recipe's name.
    pub scenario: String,
    /// The run.
    pub run: String,
    /// The run as it stands.
    pub live: watch::Receiver<Live>,
    /// What happened so far, in order, with the number of each.
    pub past: watch::Receiver<Arc<Vec<(u64, RunEvent)>>>,
    /// The latest lines of output, oldest first.
    pub logs: watch::Receiver<Arc<Vec<Arc<LogBatch>>>>,
    /// What happens from now on; a page that is too slow for it misses some and goes on.
    pub events: broadcast::Sender<(u64, RunEvent)>,
}

/// The leader's routes, to be merged with its node's.
pub fn routes(view: Arc<LeaderView>, token: Token) -> Router {
    let admit = middleware::from_fn(move |request, next| guard::admit(token.clone(), true, request, next));
    Router::new()
        .route("/", get(page))
        .route("/api/live", get(live))
        .route("/api/events", get(events))
        .route("/api/logs", get(logs))
        .layer(admit)
        .with_state(view)
}

async fn page(State(view): State<Shared<LeaderView>>) -> Html<String> {
    Html(render::live_html(&view.scenario, &view.run))
}

async fn live(State(view): State<Shared<LeaderView>>) -> Json<Live> {
    Json(view.live.borrow().clone())
}

async fn logs(State(view): State<Shared<LeaderView>>) -> Response {
    let logs = Arc::clone(&view.logs.borrow());
    Json(logs.iter().map(Arc::as_ref).collect::<Vec<_>>()).into_response()
}

async fn events(State(view): State<Shared<LeaderView>>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    // Subscribed before the past is read: an event may come twice, and none is missed between the two.
    let coming = view.events.subscribe();
    let past = view.past.borrow().to_vec();
    // By number: two events may have one time, and a clock that is set goes back.
    let next = past.last().map_or(0, |(number, _)| number + 1);
    let coming = stream::unfold(coming, |mut coming| async move {
        loop {
            match coming.recv().await {
                Ok(event) => return Some((event, coming)),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    });
    let fresh = coming.filter(move |event| std::future::ready(event.0 >= next));
    let told =
        stream::iter(past).chain(fresh).filter_map(|(_, event)| async move { Event::default().json_data(&event).ok().map(Ok) });
    Sse::new(told).keep_alive(KeepAlive::new().interval(Duration::from_secs(15)))
}
