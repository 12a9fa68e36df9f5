//! Who does what, where: pure, so that `hbnode plan` draws on a laptop what runs, on client nodes that are equal exactly so.

mod pieces;
mod placing;
mod seats;
mod shares;

use std::{collections::BTreeSet, num::NonZeroU32, time::Duration};

use serde::{Deserialize, Serialize};

pub use self::{
    pieces::{Left, pieces},
    seats::{Allocation, Candidate, NodeNeeds, Seat, SeatError, roles_by_ordinal},
};
use crate::{
    calibration::BESIDE,
    counting::{Counting, LengthsBy, WORDS},
    orders::{Duty, LoadShare, ServerOrder},
    routing::{Router, RoutingError},
    schedule::Schedule,
    trial::{LoadModel, Stop, Trial},
    units::{NodeName, Span},
};

/// After the window, what is in flight drains for the smaller of the request's total deadline and this.
pub const DRAIN_AT_MOST: Span = Span::from_secs(30);

/// A server and the node it runs on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlacedServer {
    /// The node.
    pub node: NodeName,
    /// What it is told.
    pub order: ServerOrder,
}

/// What is known of a trial's servers once they are ready.
#[derive(Debug, Clone, Default)]
pub struct ReadyServers {
    /// Where they answer, by ordinal.
    pub urls: Vec<String>,
    /// The ordinals of those that are gone already.
    pub gone: BTreeSet<u32>,
    /// What they told of their tokens.
    pub counting: Option<Counting>,
    /// Those of the URLs behind which only HTTP/2 is spoken.
    pub http2: BTreeSet<String>,
}

/// One trial, placed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The trial.
    pub trial: Trial,
    /// Servers to start; empty where endpoints are given.
    pub servers: Vec<PlacedServer>,
    /// One share for each executor; `servers` in it is filled once their URLs are known.
    pub shares: Vec<LoadShare>,
}

/// Why a trial cannot be placed on these nodes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Nobody can send.
    #[error("no client node is left to send load")]
    NoClient,
    /// Nobody can serve.
    #[error("no server node is there, and `servers.endpoints` names none")]
    NoServer,
    /// A server spans more nodes than there are.
    #[error("a server spans {needed} nodes, and {found} are there to run servers")]
    TooFewNodes {
        /// The nodes of one server.
        needed: u32,
        /// The nodes there are.
        found: u32,
    },
    /// Clients and servers do not fit the distribution.
    #[error("{0}")]
    Routing(#[from] RoutingError),
}

impl Plan {
    /// Places a trial on the nodes of an allocation. `default_port` is the service's own.
    ///
    /// # Errors
    /// No client, no server, or a distribution that does not fit them.
    pub fn of(trial: &Trial, allocation: &Allocation, default_port: u16) -> Result<Self, PlanError> {
        let servers =
            if trial.service.endpoints.is_empty() { placing::servers(trial, allocation, default_port)? } else { Vec::new() };
        let answering = servers.iter().filter(|placed| placed.order.part.duty == Duty::Serve).count();
        let targets = if trial.service.endpoints.is_empty() { answering } else { trial.service.endpoints.len() };
        if targets == 0 {
            return Err(PlanError::NoServer);
        }
        let shares = shares::of(trial, allocation);
        if shares.is_empty() {
            return Err(PlanError::NoClient);
        }
        Router::new(&trial.load.distribution, shares::routed_clients(trial, &shares), targets as u32, trial.seed)?;
        Ok(Self { trial: trial.clone(), servers, shares })
    }

    /// The shares once the servers are ready: what these did not tell of their tokens, a tokenizer tells in their place.
    #[must_use]
    pub fn shares_at(&self, ready: &ReadyServers) -> Vec<LoadShare> {
        let counting = match &self.trial.load.tokenizer {
            Some(tokenizer) => Some(Counting::by_tokenizer(ready.counting.as_ref(), &tokenizer.words, self.trial.request.api)),
            None => ready.counting.clone(),
        };
        let known = |share: &LoadShare| LoadShare {
            servers: ready.urls.clone(),
            left_servers: ready.gone.clone(),
            counting: counting.clone(),
            http2: ready.http2.clone(),
            ..share.clone()
        };
        self.shares.iter().map(known).collect()
    }

    /// What its shares know of the servers' tokens, once these are ready.
    #[must_use]
    pub fn counting(&self) -> Option<&Counting> {
        self.shares.iter().find_map(|share| share.counting.as_ref())
    }

    /// What its prompts get their length by.
    #[must_use]
    pub fn lengths_by(&self) -> LengthsBy {
        self.counting().map_or(LengthsBy::Words, |counting| counting.lengths_by(&self.trial.request))
    }

    /// That the tokenizer is not the served model's, as the shares at known servers tell it.
    #[must_use]
    pub fn unlike_tokenizer(&self, shares: &[LoadShare]) -> Option<String> {
        let tokenizer = self.trial.load.tokenizer.as_ref()?;
        let counting = shares.first()?.counting.as_ref().filter(|counting| counting.by == LengthsBy::Usage)?;
        Some(format!(
            "the tokenizer `{}` is not that of `{}`: of {WORDS} words it makes {} tokens, and the server {:.0}; lengths go by the server's usage",
            tokenizer.path.display(),
            self.trial.service.model,
            tokenizer.words.all,
            counting.tokens_per_word * f64::from(WORDS),
        ))
    }

    /// How long warm-up and measured window last, where that is known before.
    #[must_use]
    pub fn load_time(&self) -> Option<Span> {
        let load = &self.trial.load;
        let measured = match (load.stop, &load.model) {
            (Stop::After(span), _) => span,
            (Stop::Requests(count), LoadModel::Open { rate, .. }) => {
                Duration::try_from_secs_f64(count as f64 / rate).map_or(Span::LONGEST, Span)
            }
            // Both end with their last request, and the schedule knows when that is due.
            (Stop::Requests(_), LoadModel::Staged { .. } | LoadModel::Replay { .. }) => {
                let last = Schedule::of(load, self.trial.seed)?.shard(0, NonZeroU32::MIN).last()?;
                Span(last.at.since(load.warmup.0.into()))
            }
            (Stop::Requests(_), LoadModel::Closed { .. } | LoadModel::ClosedStaged { .. }) => return None,
        };
        Some(Span(load.warmup.0.saturating_add(measured.0)).min(Span::LONGEST))
    }

    /// How long warm-up and measured window can last at most: where a count ends a closed loop, until each client has
    /// asked its part of it with every answer as late as is borne.
    #[must_use]
    pub fn load_time_at_most(&self) -> Span {
        self.load_time().unwrap_or_else(|| {
            let load = &self.trial.load;
            let together = u64::from(load.together.get());
            let turns = |share: &LoadShare| Some(share.requests?.div_ceil((share.clients.len() as u64).max(1) * together));
            let turns = self.shares.iter().filter_map(turns).max().unwrap_or(1);
            let turn = load.timeouts.total.0 + load.model.think().0;
            let turns = u32::try_from(turns).unwrap_or(u32::MAX);
            Span(load.warmup.0.saturating_add(turn.saturating_mul(turns))).min(Span::LONGEST)
        })
    }

    /// How long the client's own error floor is measured before the load.
    #[must_use]
    pub fn calibration(&self) -> Span {
        self.trial.load.calibration.map_or(Span::ZERO, |lasting| Span(lasting.0 + BESIDE.0))
    }

    /// How long what is in flight may take after the window.
    #[must_use]
    pub fn drain(&self) -> Span {
        self.trial.load.timeouts.total.min(DRAIN_AT_MOST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{closed_plan, open_plan};

    #[test]
    fn a_count_lasts_until_the_busiest_clients_are_through() {
        let mut plan = closed_plan(3, 2);
        plan.trial.load.stop = Stop::Requests(30);
        // Client 0 and 2, and client 1 alone.
        (plan.shares[0].requests, plan.shares[1].requests) = (Some(20), Some(10));
        let each = plan.trial.load.timeouts.total.0 + plan.trial.load.model.think().0;
        assert_eq!(plan.load_time_at_most(), Span(plan.trial.load.warmup.0 + each * 10));
        plan.shares[1].requests = Some(15);
        assert_eq!(plan.load_time_at_most(), Span(plan.trial.load.warmup.0 + each * 15));
        // Four at a time the last turn is not a whole one.
        plan.trial.load.together = NonZeroU32::new(4).unwrap();
        assert_eq!(plan.load_time_at_most(), Span(plan.trial.load.warmup.0 + each * 4));
    }

    #[test]
    fn a_load_that_nobody_lives_to_see_is_no_panic() {
        let mut plan = open_plan(1e-3, 1);
        plan.trial.load.stop = Stop::Requests(u64::MAX);
        assert_eq!((plan.load_time(), plan.load_time_at_most()), (Some(Span::LONGEST), Span::LONGEST));
        plan.trial.load.stop = Stop::After(Span(Duration::MAX));
        assert_eq!(plan.load_time(), Some(Span::LONGEST));
    }
}
