//! Servers that already run: whether they are ready, and what they tell of themselves.

use hb_core::{http_version::HttpVersion, trial::Trial};
use ractor::ActorRef;

use super::{OrchestratorMsg, actor::tell};
use crate::server_manager::{
    own_headers::OwnHeaders,
    readiness::{self, Question, Ready},
};

/// Asks servers that already run, all at once, whether they are ready.
pub(super) fn ask_endpoints(me: ActorRef<OrchestratorMsg>, trial: Trial) {
    tokio::spawn(async move {
        let asked = trial.service.endpoints.iter().map(|url| ask_endpoint(&me, url, &trial));
        let answers = futures_util::future::join_all(asked).await;
        let (ready, troubles): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
        let troubles: Vec<String> = troubles.into_iter().filter_map(Result::err).collect();
        // All serve one model, so the count of any of them is that of all.
        let ready: Vec<Ready> = ready.into_iter().filter_map(Result::ok).collect();
        let spoken = trial.service.endpoints.iter().zip(&ready);
        let http2 = spoken.filter(|(_, ready)| ready.http_version == HttpVersion::Http2).map(|(url, _)| url.clone());
        let told = (ready.iter().find_map(|ready| ready.counting.clone()), http2.collect());
        let result = if troubles.is_empty() { Ok(told) } else { Err(troubles.join("; ")) };
        tell(&me, OrchestratorMsg::EndpointsAnswered(result));
    });
}

async fn ask_endpoint(me: &ActorRef<OrchestratorMsg>, url: &str, trial: &Trial) -> Result<Ready, String> {
    let spec = &trial.service;
    let service = hb_services::resolve(spec).map_err(|problem| problem.to_string())?;
    let own = OwnHeaders::read(spec).map_err(|error| error.to_string())?;
    let limit = spec.ready_limit();
    let question = Question { url, service: &*service, spec, request: &trial.request, headers: own.as_ref(), limit };
    let progress = |what: String| {
        tell(me, OrchestratorMsg::EndpointWaitedFor(format!("{url} is not ready yet: {what}")));
    };
    readiness::ask(&question, &progress).await.map_err(|error| error.to_string())
}
