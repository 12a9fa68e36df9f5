//! The node's only actor that is visible on the network: answers who it is and that it is well, and
//! hands orders on. It must never fail and never waits.

use ractor::{Actor, ActorProcessingErr, ActorRef};

use crate::{
    lease::Lease,
    messages::{AgentMsg, Beat, BeatBack, Hello, HelloBack},
    node::NodeMsg,
    wall_clock::unix_nanos,
    wire::{WireError, answer},
};

/// What an Agent is given.
pub struct AgentArguments {
    /// What the node says of itself.
    pub hello: HelloBack,
    /// Takes orders.
    pub node: ActorRef<NodeMsg>,
    /// Lasts longer with every answer that the leader has.
    pub lease: Lease,
}

/// The behaviour; its state is its arguments.
pub struct Agent;

impl Actor for Agent {
    type Msg = AgentMsg;
    type State = AgentArguments;
    type Arguments = AgentArguments;

    async fn pre_start(&self, _: ActorRef<AgentMsg>, arguments: AgentArguments) -> Result<AgentArguments, ActorProcessingErr> {
        Ok(arguments)
    }

    async fn handle(&self, _: ActorRef<AgentMsg>, msg: AgentMsg, agent: &mut AgentArguments) -> Result<(), ActorProcessingErr> {
        match msg {
            AgentMsg::Hello(hello, reply) => answer(reply, decoded(hello.0).and_then(|hello| agent.hello(&hello))),
            AgentMsg::Beat(beat, reply) => {
                let beat = decoded(beat.0).inspect(|beat| agent.heard(beat));
                answer(reply, beat.map(|beat| BeatBack { seq: beat.seq, unix_nanos: unix_nanos() }));
            }
            AgentMsg::Order(order, reply) => match decoded(order.0) {
                Ok(order) => agent.hand_on(NodeMsg::Order(Box::new(order), reply)),
                Err(error) => answer(reply, Err(error)),
            },
            AgentMsg::Bye(bye, reply) => {
                let why = decoded(bye.0).map(|bye| bye.why);
                answer(reply, why.clone().map(drop));
                agent.hand_on(NodeMsg::Dismissed(why.unwrap_or_default()));
            }
        }
        Ok(())
    }
}

impl AgentArguments {
    /// All nodes of a run are of one build: what differs would only be found out in the middle of it.
    fn hello(&self, hello: &Hello) -> Result<HelloBack, WireError> {
        if hello.build != self.hello.build {
            let why = format!("the leader is of build {} and this node of build {}", hello.build, self.hello.build);
            return Err(WireError::Refused(why));
        }
        self.lease.answers(0);
        Ok(self.hello.clone())
    }

    /// The beat itself may have waited here for long, while this process was frozen: it tells the leader nothing yet. What
    /// it says is which answer the leader had.
    fn heard(&self, beat: &Beat) {
        self.lease.renew(beat.answered);
        self.lease.answers(beat.seq);
    }

    fn hand_on(&self, message: NodeMsg) {
        if self.node.cast(message).is_err() {
            tracing::error!("the node is ending; an order is not carried out");
        }
    }
}

fn decoded<T>(value: Result<T, String>) -> Result<T, WireError> {
    value.map_err(WireError::Undecodable)
}
