//! The Pushgateway: one group for each node of the run, replaced whole at every push, deleted at the end.
//!
//! A gateway that is slow, gone or refuses disturbs nothing: its failures are counted and told once.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use hb_core::metrics::{self, Labels};
use reqwest::{Client, Method};
use tokio::{
    sync::{oneshot, watch},
    time::{Instant, MissedTickBehavior, interval, timeout_at},
};

use crate::http::NodeView;

/// The longest that one push may take.
const PUSH_TIMEOUT: Duration = Duration::from_secs(2);
/// After failures in a row the pause doubles, up to so many intervals.
const MAX_BACK_OFF: u32 = 8;

/// Where and how often to push.
#[derive(Debug, Clone)]
pub struct Pushing {
    /// The gateway's base URL.
    pub url: String,
    /// The run's name, part of every group's key.
    pub run: String,
    /// The pause between two pushes.
    pub interval: Duration,
    /// How long the deletion of the groups may take at the end.
    pub deadline: Duration,
}

/// A pusher that runs until it is ended.
#[derive(Debug)]
pub struct Pusher {
    end: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<Failures>,
}

impl Pusher {
    /// Pushes what `nodes` shows, by node name.
    ///
    /// # Errors
    /// If no HTTP client can be made.
    pub fn start(pushing: Pushing, nodes: watch::Receiver<BTreeMap<String, NodeView>>) -> Result<Self, reqwest::Error> {
        let client = Client::builder().no_proxy().timeout(PUSH_TIMEOUT).build()?;
        let (end, ended) = oneshot::channel();
        let task = tokio::spawn(run(client, pushing, nodes, ended));
        Ok(Self { end, task })
    }

    /// Deletes the groups and says, in one sentence, what went wrong, if anything did.
    pub async fn end(self) -> Option<String> {
        // The task ends on the drop of the sender as well as on its word.
        _ = self.end.send(());
        match self.task.await {
            Ok(failures) => failures.sentence(),
            Err(error) => Some(format!("pushing to the Pushgateway ended by itself: {error}")),
        }
    }
}

/// What went wrong.
#[derive(Debug, Default)]
struct Failures {
    url: String,
    pushes: u64,
    failed: u64,
    last: String,
    left: Vec<String>,
}

impl Failures {
    fn sentence(self) -> Option<String> {
        let left = match self.left.len() {
            0 => String::new(),
            some => format!("; {some} groups could not be deleted and stay there: {}", self.left.join(", ")),
        };
        (self.failed > 0 || !left.is_empty()).then(|| {
            format!(
                "{} of {} requests to the Pushgateway `{}` failed, the last one with: {}{left}",
                self.failed, self.pushes, self.url, self.last
            )
        })
    }

    fn count(&mut self, done: Result<(), String>) -> bool {
        self.pushes += 1;
        if let Err(cause) = &done {
            self.failed += 1;
            self.last.clone_from(cause);
        }
        done.is_ok()
    }
}

async fn run(
    client: Client,
    pushing: Pushing,
    nodes: watch::Receiver<BTreeMap<String, NodeView>>,
    mut ended: oneshot::Receiver<()>,
) -> Failures {
    let mut failures = Failures { url: pushing.url.clone(), ..Failures::default() };
    // A refused push creates its group all the same, so every group that was tried is to be deleted.
    let mut groups = BTreeSet::new();
    let mut ticks = interval(pushing.interval.max(Duration::from_millis(10)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut pause, mut left) = (1, 0);
    loop {
        tokio::select! {
            _ = &mut ended => break,
            _ = ticks.tick() => {}
        }
        if left > 0 {
            left -= 1;
            continue;
        }
        let views = nodes.borrow().clone();
        let pushed = push_all(&client, &pushing, &views, &mut groups, &mut failures);
        let is_well = tokio::select! {
            _ = &mut ended => break,
            is_well = pushed => is_well,
        };
        (pause, left) = if is_well { (1, 0) } else { ((pause * 2).min(MAX_BACK_OFF), pause) };
    }
    delete_all(&client, &pushing, groups, &mut failures).await;
    failures
}

/// Pushes every node's group; the first failure ends the round, the others would fail alike.
async fn push_all(
    client: &Client,
    pushing: &Pushing,
    views: &BTreeMap<String, NodeView>,
    groups: &mut BTreeSet<String>,
    failures: &mut Failures,
) -> bool {
    for (node, view) in views {
        let group = group(&pushing.url, &pushing.run, node);
        // Labels stand in the URL only, and samples carry no time: the gateway refuses or overwrites both.
        let text = metrics::exposition(&view.load, view.reading.as_ref(), &view.service, &Labels::default());
        groups.insert(group.clone());
        if !failures.count(ask(client, Method::PUT, &group, text).await) {
            return false;
        }
    }
    true
}

async fn delete_all(client: &Client, pushing: &Pushing, groups: BTreeSet<String>, failures: &mut Failures) {
    let deadline = Instant::now() + pushing.deadline;
    for group in groups {
        let done = timeout_at(deadline, ask(client, Method::DELETE, &group, String::new())).await;
        let done = done.unwrap_or_else(|_| Err(format!("no answer within {} s", pushing.deadline.as_secs_f64())));
        if !failures.count(done) {
            failures.left.push(group);
        }
    }
}

async fn ask(client: &Client, method: Method, group: &str, body: String) -> Result<(), String> {
    let answer = client.request(method, group).body(body).send().await.map_err(|error| chain(&error))?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let why = answer.text().await.unwrap_or_default();
    Err(format!("{status}: {}", why.chars().take(300).collect::<String>().trim()))
}

/// An error with its causes: reqwest's own text leaves out what happened.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

/// The URL of a node's group.
fn group(url: &str, run: &str, node: &str) -> String {
    let base = url.trim_end_matches('/');
    format!("{base}/metrics/job/hbnode{}{}", label("run", run), label("instance", node))
}

/// A label of the grouping key; base64 where the value could not stand in a path.
fn label(name: &str, value: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '-');
    if !value.is_empty() && value.chars().all(is_plain) && !value.chars().all(|letter| letter == '.') {
        return format!("/{name}/{value}");
    }
    format!("/{name}@base64/{}", base64_url(value.as_bytes()))
}

/// Base64 for URLs; the gateway asks for `=` where the value is empty.
fn base64_url(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let letter = |bits: u32| char::from(LETTERS[(bits & 63) as usize]);
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().enumerate().fold(0, |bits, (place, byte)| bits | u32::from(*byte) << (16 - 8 * place));
        (0..=chunk.len()).for_each(|place| text.push(letter(bits >> (18 - 6 * place))));
    }
    if text.is_empty() { "=".to_owned() } else { text }
}

#[cfg(test)]
mod tests;
