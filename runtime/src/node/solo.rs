//! A workload of a node's own: what `POST /start` and `/stop` did on the old executor.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use hb_actors::{
    node::NodeDoor,
    uplink::{NodeShare, OwnLoad},
    wall_clock::unix_nanos,
    wire::WireError,
};
use hb_core::{
    metrics,
    orders::{LoadShare, Order},
    plan::{Allocation, Candidate, NodeNeeds, Plan, ReadyServers},
    recipe::{self, Problem},
    trial::Trial,
    units::{Nanos, TrialId},
};
use serde_json::{Value, json};
use tokio::{sync::Mutex, time::timeout};

use crate::{
    http::{Control, Refusal},
    lead::{files, recipe::known_services},
};

/// A share is built within this time.
const BUILT_WITHIN: Duration = Duration::from_secs(60);
/// The load starts this long after the order.
const START_AHEAD: Duration = Duration::from_millis(500);
/// A stopped load has so long for its last window.
const STOP_WITHIN: Duration = Duration::from_secs(10);
/// Runs one workload at a time on this node alone.
pub struct Solo(Arc<Inner>);

struct Inner {
    door: NodeDoor,
    host: String,
    /// The trial that `/start` began, and the service it asks.
    under_way: Mutex<Option<(TrialId, String)>>,
}

impl Solo {
    /// For the node behind this door.
    #[must_use]
    pub fn new(door: NodeDoor, host: String) -> Self {
        Self(Arc::new(Inner { door, host, under_way: Mutex::new(None) }))
    }
}

impl Control for Solo {
    fn start(&self, workload: Value) -> Pin<Box<dyn Future<Output = Result<Value, Refusal>> + Send>> {
        let inner = Arc::clone(&self.0);
        Box::pin(async move { inner.start(workload).await })
    }

    fn stop(&self) -> Pin<Box<dyn Future<Output = Result<Value, Refusal>> + Send>> {
        let inner = Arc::clone(&self.0);
        Box::pin(async move { inner.stop().await })
    }
}

impl Inner {
    async fn start(&self, workload: Value) -> Result<Value, Refusal> {
        let mut under_way = self.under_way.lock().await;
        // It may read a file of prompts, and long.
        let read = tokio::task::spawn_blocking(move || trial_of(&workload)).await;
        let trial = read.map_err(|error| Refusal::Failed(error.to_string()))?.map_err(Refusal::Wrong)?;
        let share = share_of(&trial, &self.host).map_err(Refusal::Wrong)?;
        let (id, service) = (trial.id.clone(), trial.service.service.clone());
        // Only who builds the shares of this node knows for certain whether another one is built or runs.
        self.door.prepare_own(share).await.map_err(|error| match error {
            WireError::Refused(why) => Refusal::Busy(why),
            error => failed(error),
        })?;
        // What was here before is over.
        *under_way = None;
        self.built(&id).await?;
        let start_unix_nanos = unix_nanos() + START_AHEAD.as_nanos() as i128;
        self.door
            .order(Order::StartLoad { trial: id.clone(), executor: 0, start_unix_nanos, since: Nanos(0) })
            .await
            .map_err(failed)?;
        *under_way = Some((id.clone(), service));
        Ok(json!({ "status": "started", "trial": id }))
    }

    /// Until the share of this trial is built.
    async fn built(&self, trial: &TrialId) -> Result<(), Refusal> {
        let built = match self.reached(trial, |_| true, BUILT_WITHIN, "is not ready").await {
            Ok(OwnLoad::Built | OwnLoad::Over) => Ok(()),
            Ok(OwnLoad::Failed(why)) | Err(why) => Err(why),
        };
        if built.is_err() {
            // What is still being built must not stand in the way of the next.
            let _ = self.door.order(Order::StopLoad { trial: trial.clone() }).await;
        }
        built.map_err(Refusal::Failed)
    }

    async fn stop(&self) -> Result<Value, Refusal> {
        let under_way = self.under_way.lock().await.take();
        let Some((trial, service)) = under_way else {
            return Err(Refusal::Busy("no workload of this node's own runs here; a run is stopped where it is led".into()));
        };
        self.door.order(Order::StopLoad { trial: trial.clone() }).await.map_err(failed)?;
        let is_over = |own: &OwnLoad| matches!(own, OwnLoad::Over | OwnLoad::Failed(_));
        self.reached(&trial, is_over, STOP_WITHIN, "did not end").await.map_err(Refusal::Failed)?;
        let share = self.door.share.borrow();
        Ok(json!({ "status": "stopped", "metrics": metrics::json(&share.live, share.reading.as_ref(), &service) }))
    }

    /// How far this trial's load is, as soon as that is what is waited for; or that it did not come to it, with what then
    /// is so.
    async fn reached(
        &self,
        trial: &TrialId,
        is_awaited: impl Fn(&OwnLoad) -> bool,
        within: Duration,
        otherwise: &str,
    ) -> Result<OwnLoad, String> {
        let mut share = self.door.share.clone();
        let found = |share: &NodeShare| match &share.own {
            Some((own, load)) if own == trial && is_awaited(load) => Some(load.clone()),
            _ => None,
        };
        match timeout(within, share.wait_for(|share| found(share).is_some())).await {
            Ok(Ok(share)) => found(&share).ok_or_else(|| "this node is ending".to_owned()),
            Ok(Err(_)) => Err("this node is ending".to_owned()),
            Err(_) => Err(format!("the load {otherwise} within {} s", within.as_secs())),
        }
    }
}

fn failed(error: WireError) -> Refusal {
    Refusal::Failed(error.to_string())
}

/// The one trial that a workload block means, as the old executor's body wrote it: keys of `workload`, with
/// `server_url` beside them.
fn trial_of(workload: &Value) -> Result<Trial, String> {
    let Some(object) = workload.as_object() else { return Err("the body is no workload block: write a JSON object".into()) };
    if !object.contains_key("server_url") {
        return Err("`server_url` is missing: name the server to ask".into());
    }
    if object.get("calibration").is_some_and(|written| written != "off") {
        return Err("`calibration`: a node's own load starts at once; leave the key out".into());
    }
    let mut block = object.clone();
    block.entry("service").or_insert_with(|| json!("openai"));
    let text = Value::Object(block).to_string();
    let recipe = recipe::from_workload_block(text.as_bytes()).ok_or("the body is no workload block")?;
    let reading = recipe::read(&recipe, &[], &known_services());
    let Some(recipe) = reading.recipe else { return Err(told(&reading.problems)) };
    if !reading.later.is_empty() {
        return Err(told(&reading.later));
    }
    let mut trials = recipe::trials(&recipe);
    files::read(&mut trials).map_err(|problem| told(&[problem]))?;
    match <[Trial; 1]>::try_from(trials) {
        Ok([trial]) if trial.load.stop_when.is_some() => {
            Err("`stop_when` is for a leader, who knows all answers; write `duration`".to_owned())
        }
        Ok([mut trial]) => {
            trial.load.calibration = None;
            Ok(Trial { id: TrialId(format!("solo-{}", unix_nanos())), ..trial })
        }
        Err(trials) => Err(format!("the block expands to {} trials; a node runs one at a time", trials.len())),
    }
}

fn told(problems: &[Problem]) -> String {
    let one = |problem: &Problem| format!("{}: found {}, accepted is {}", problem.path, problem.found, problem.accepted);
    problems.iter().filter(|problem| problem.is_error()).map(one).collect::<Vec<_>>().join("; ")
}

fn share_of(trial: &Trial, host: &str) -> Result<LoadShare, String> {
    let own = Candidate { ordinal: Some(0), is_leader: true, host: host.to_owned(), address: String::new(), cores: 0 };
    let needs = NodeNeeds { monitors: 0, servers: 0, clients: Some(1), share_servers: false };
    let allocation = Allocation::of(&[own], &needs).map_err(|error| error.to_string())?;
    let plan = Plan::of(trial, &allocation, 0).map_err(|error| error.to_string())?;
    plan.shares_at(&ReadyServers { urls: trial.service.endpoints.clone(), ..ReadyServers::default() })
        .into_iter()
        .next()
        .ok_or_else(|| "nobody can send".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_old_executors_body_is_a_trial() {
        let body =
            json!({"server_url": "http://127.0.0.1:1", "service": "ollama", "model": "m", "duration": 5, "clients_per_node": 3});
        let trial = trial_of(&body).unwrap();
        assert_eq!(
            (trial.service.endpoints.as_slice(), trial.service.model.as_str()),
            (&["http://127.0.0.1:1".to_owned()][..], "m")
        );
        assert_eq!(share_of(&trial, "here").unwrap().clients, [0, 1, 2]);
        let long = json!({"server_url": "http://127.0.0.1:1", "model": "m", "duration": 600});
        assert_eq!(trial_of(&long).unwrap().load.calibration, None, "it starts at once");
        let written = json!({"server_url": "http://127.0.0.1:1", "model": "m", "calibration": "quick"});
        assert!(trial_of(&written).is_err());
    }

    #[test]
    fn what_is_no_workload_is_refused_with_what_is_missing() {
        let refused = |body: Value| trial_of(&body).unwrap_err();
        assert!(refused(json!([])).contains("JSON object"));
        assert!(refused(json!({"model": "m"})).contains("server_url"));
        assert!(refused(json!({"server_url": "http://a", "model": "m", "modle": "n"})).contains("modle"));
        assert!(refused(json!({"server_url": "http://a", "model": "m", "concurrency": [1, 2]})).contains("2 trials"));
        let sure = json!({"server_url": "http://a", "model": "m", "stop_when": {"metric": "ttft_p50", "ci": "5%"}});
        assert!(refused(sure).contains("for a leader"));
    }
}
