//! A node's own routes: `/health`, `/status`, `/metrics`, `/metrics/prometheus`, `/start`, `/stop`.

use std::{future::Future, pin::Pin, sync::Arc};

use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    http::{StatusCode, header},
    middleware,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use hb_core::metrics;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{NodeView, Shared, Token, guard};

/// Why a node does not do what it is asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It does something else.
    #[error("{0}")]
    Busy(String),
    /// The words are wrong.
    #[error("{0}")]
    Wrong(String),
    /// It tried and failed.
    #[error("{0}")]
    Failed(String),
}

/// What a route waits for.
pub type Answer = Pin<Box<dyn Future<Output = Result<Value, Refusal>> + Send>>;

/// What `/start` and `/stop` hand their orders to.
pub trait Control: Send + Sync + 'static {
    /// Starts this workload here, if nothing else runs.
    fn start(&self, workload: Value) -> Answer;
    /// Ends what `/start` began, and gives its report.
    fn stop(&self) -> Answer;
}

struct Node {
    view: watch::Receiver<NodeView>,
    control: Arc<dyn Control>,
}

/// The routes of a node.
pub fn routes(view: watch::Receiver<NodeView>, token: Token, control: Arc<dyn Control>) -> Router {
    let admit = middleware::from_fn(move |request, next| guard::admit(token.clone(), false, request, next));
    let orders = Router::new().route("/start", post(start)).route("/stop", post(stop)).layer(admit);
    Router::new()
        .route("/health", get(health))
        .route("/status", get(status))
        .route("/metrics", get(numbers))
        .route("/metrics/prometheus", get(exposition))
        .merge(orders)
        .with_state(Arc::new(Node { view, control }))
}

async fn health(State(node): State<Shared<Node>>) -> Json<Value> {
    Json(json!({ "status": "healthy", "node": node.view.borrow().node }))
}

async fn status(State(node): State<Shared<Node>>) -> Json<Value> {
    let view = node.view.borrow();
    Json(json!({
        "status": if view.load.is_running { "running" } else { "idle" },
        "node": view.node,
        "run": view.run,
        "service": view.service,
        "elapsed_seconds": view.load.elapsed_seconds,
        "threads": view.load.threads,
        "in_flight": view.load.in_flight,
        "requests_total": view.load.requests_total,
        "errors_total": view.load.errors_total,
        "outcomes": view.load.outcomes,
    }))
}

async fn numbers(State(node): State<Shared<Node>>) -> Json<Value> {
    let view = node.view.borrow();
    Json(metrics::json(&view.load, view.reading.as_ref(), &view.service))
}

async fn exposition(State(node): State<Shared<Node>>) -> Response {
    let view = node.view.borrow();
    let text = metrics::exposition(&view.load, view.reading.as_ref(), &view.service, &metrics::Labels::default());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

/// The body is JSON whatever the request calls it: `curl -d` calls it a form.
async fn start(State(node): State<Shared<Node>>, body: Bytes) -> Response {
    match serde_json::from_slice(&body) {
        Ok(workload) => answer(node.control.start(workload).await),
        Err(error) => refused(StatusCode::BAD_REQUEST, &format!("the body is no JSON: {error}")),
    }
}

async fn stop(State(node): State<Shared<Node>>) -> Response {
    answer(node.control.stop().await)
}

fn answer(done: Result<Value, Refusal>) -> Response {
    match done {
        Ok(value) => Json(value).into_response(),
        Err(refusal) => {
            let status = match refusal {
                Refusal::Busy(_) => StatusCode::CONFLICT,
                Refusal::Wrong(_) => StatusCode::UNPROCESSABLE_ENTITY,
                Refusal::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
            };
            refused(status, &refusal.to_string())
        }
    }
}

fn refused(status: StatusCode, why: &str) -> Response {
    (status, Json(json!({ "error": why }))).into_response()
}
