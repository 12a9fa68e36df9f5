//! The servers of a run: which are up, where they answer, which are still to be ended.

use std::collections::BTreeMap;

use super::Effect;
use crate::{
    orders::Order,
    plan::{PlacedServer, Plan},
    trial::ServiceSpec,
    units::NodeName,
};

#[derive(Debug, Clone, PartialEq)]
enum State {
    Starting,
    Ready(String),
    Stopping,
    Gone,
}

/// What is known of the servers. They stay up between trials that do not change the service.
#[derive(Debug, Default)]
pub(super) struct Servers {
    service: Option<ServiceSpec>,
    endpoints: Option<Vec<String>>,
    /// By the count of the first that told it.
    tokens_per_word: Option<f64>,
    placed: BTreeMap<u32, (NodeName, State)>,
}

impl Servers {
    /// Whether they are what this plan asks for, and all of them answer.
    pub fn serve(&self, plan: &Plan) -> bool {
        let is_whole = self.placed.values().all(|(_, state)| matches!(state, State::Ready(_)));
        self.service.as_ref() == Some(&plan.trial.service)
            && self.urls().is_some()
            && is_whole
            && self.placed.len() == plan.servers.len()
    }

    /// Orders that start this plan's servers.
    pub fn start(&mut self, plan: &Plan) -> Vec<Effect> {
        self.service = Some(plan.trial.service.clone());
        self.endpoints = None;
        self.tokens_per_word = None;
        let placed = |placed: &PlacedServer| (placed.order.server, (placed.node.clone(), State::Starting));
        self.placed = plan.servers.iter().map(placed).collect();
        let order =
            |placed: &PlacedServer| Effect::Order(placed.node.clone(), Order::StartServer(Box::new(placed.order.clone())));
        plan.servers.iter().map(order).collect()
    }

    /// Servers that somebody else runs answered.
    pub fn endpoints_ready(&mut self, service: &ServiceSpec, tokens_per_word: Option<f64>) {
        self.tokens_per_word = tokens_per_word;
        self.service = Some(service.clone());
        self.endpoints = Some(service.endpoints.clone());
    }

    pub fn ready(&mut self, server: u32, url: String, tokens_per_word: Option<f64>) {
        self.tokens_per_word = self.tokens_per_word.or(tokens_per_word);
        if let Some((_, state)) = self.placed.get_mut(&server).filter(|(_, state)| *state == State::Starting) {
            *state = State::Ready(url);
        }
    }

    pub fn gone(&mut self, server: u32) {
        if let Some((_, state)) = self.placed.get_mut(&server) {
            *state = State::Gone;
        }
    }

    /// The servers of a node are gone with it; which?
    pub fn node_lost(&mut self, node: &NodeName) -> Vec<u32> {
        let on_node = self.placed.iter_mut().filter(|(_, (at, state))| at == node && *state != State::Gone);
        on_node
            .map(|(server, (_, state))| {
                *state = State::Gone;
                *server
            })
            .collect()
    }

    /// Where they answer, by ordinal; `None` until all of those that are not gone are ready.
    pub fn urls(&self) -> Option<Vec<String>> {
        if let Some(endpoints) = &self.endpoints {
            return Some(endpoints.clone());
        }
        let left = self.placed.values().filter(|(_, state)| *state != State::Gone);
        let urls: Option<Vec<String>> =
            left.map(|(_, state)| if let State::Ready(url) = state { Some(url.clone()) } else { None }).collect();
        urls.filter(|urls| !urls.is_empty())
    }

    pub fn tokens_per_word(&self) -> Option<f64> {
        self.tokens_per_word
    }

    /// Orders that end every server that is not gone and was not told yet.
    pub fn stop(&mut self) -> Vec<Effect> {
        let up = self.placed.iter_mut().filter(|(_, (_, state))| !matches!(state, State::Stopping | State::Gone));
        up.map(|(server, (node, state))| {
            *state = State::Stopping;
            Effect::Order(node.clone(), Order::StopServer { server: *server })
        })
        .collect()
    }

    pub fn are_gone(&self) -> bool {
        self.placed.values().all(|(_, state)| *state == State::Gone)
    }

    /// Those that are not gone, for a sentence.
    pub fn left(&self) -> String {
        let left = self.placed.iter().filter(|(_, (_, state))| *state != State::Gone);
        left.map(|(server, (node, _))| format!("server {server} on {node}")).collect::<Vec<_>>().join(", ")
    }

    /// A node on which a server is ready.
    pub fn some_node(&self) -> Option<&NodeName> {
        self.placed.values().find(|(_, state)| matches!(state, State::Ready(_))).map(|(node, _)| node)
    }

    pub fn forget(&mut self) {
        *self = Self::default();
    }
}
