//! Questions across the cluster: the one way to call, and handles that offer nothing else.
//!
//! `stop` or `kill` on a remote reference ends the session of its whole node and leaves the actor running,
//! so a handle has neither. A local actor behind a handle is asked by the same messages, without a socket.

use std::time::Duration;

use hb_core::{
    batch::{Batch, BatchKey},
    facts::{LogBatch, NodeFact, NodeReading},
    orders::Order,
};
use ractor::{ActorRef, Message, rpc::CallResult};
use serde::Serialize;

use super::LOST_AFTER;
use crate::{
    messages::{AgentMsg, Beat, BeatBack, Bye, Hello, HelloBack, InboxMsg},
    wire::{ReplyPort, Wire, WireError, check_size},
};

/// Time for what a node answers out of its own head.
const SHORT: Duration = Duration::from_secs(5);
/// Time for what may have to wait for a disk, or behind a full window of batches.
const LONG: Duration = Duration::from_secs(10);

/// Asks, waits no longer than the deadline, and says in one vocabulary how it went.
///
/// Errors do not travel in ractor_cluster: whatever goes wrong on the other side, the caller sees silence.
/// So there is no question without a deadline.
///
/// # Errors
/// The receiver's own refusal, or why there is no answer.
pub async fn ask<M: Message, T: Send + 'static>(
    receiver: &ActorRef<M>,
    deadline: Duration,
    question: impl FnOnce(ReplyPort<T>) -> M,
) -> Result<T, WireError> {
    match receiver.call(question, Some(deadline)).await {
        Ok(CallResult::Success(Wire(Ok(answer)))) => answer,
        Ok(CallResult::Success(Wire(Err(why)))) => Err(WireError::Undecodable(why)),
        Ok(CallResult::Timeout) => Err(WireError::TimedOut),
        Ok(CallResult::SenderError) | Err(_) => Err(WireError::Unreachable),
    }
}

/// Asks with a value, which is measured first if it goes over the network.
async fn ask_with<M: Message, V: Serialize, T: Send + 'static>(
    receiver: &ActorRef<M>,
    deadline: Duration,
    value: V,
    question: impl FnOnce(Wire<V>, ReplyPort<T>) -> M,
) -> Result<T, WireError> {
    if !receiver.get_id().is_local() {
        check_size(&value)?;
    }
    ask(receiver, deadline, |reply| question(Wire(Ok(value)), reply)).await
}

/// A node's Agent, near or far.
#[derive(Debug, Clone)]
pub struct AgentHandle(ActorRef<AgentMsg>);

impl From<ActorRef<AgentMsg>> for AgentHandle {
    fn from(agent: ActorRef<AgentMsg>) -> Self {
        Self(agent)
    }
}

impl AgentHandle {
    /// Asks who it is.
    ///
    /// # Errors
    /// A refusal, or why there is no answer.
    pub async fn hello(&self, hello: Hello) -> Result<HelloBack, WireError> {
        ask_with(&self.0, SHORT, hello, AgentMsg::Hello).await
    }

    /// Asks whether it is well. An answer that comes late is still one, up to the time it would be lost.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn beat(&self, beat: Beat) -> Result<BeatBack, WireError> {
        ask_with(&self.0, LOST_AFTER, beat, AgentMsg::Beat).await
    }

    /// Gives an order; the answer means that it is begun.
    ///
    /// # Errors
    /// A refusal, or why there is no answer.
    pub async fn order(&self, order: Order) -> Result<(), WireError> {
        ask_with(&self.0, LONG, order, AgentMsg::Order).await
    }

    /// Says that the run is over.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn bye(&self, bye: Bye) -> Result<(), WireError> {
        ask_with(&self.0, SHORT, bye, AgentMsg::Bye).await
    }
}

/// The leader's Inbox, near or far.
#[derive(Debug, Clone)]
pub struct InboxHandle(ActorRef<InboxMsg>);

impl From<ActorRef<InboxMsg>> for InboxHandle {
    fn from(inbox: ActorRef<InboxMsg>) -> Self {
        Self(inbox)
    }
}

impl InboxHandle {
    /// Posts a window; the answer means that it is in the run's spool.
    ///
    /// # Errors
    /// A refusal, or why there is no answer.
    pub async fn batch(&self, batch: Batch) -> Result<BatchKey, WireError> {
        ask_with(&self.0, LONG, Box::new(batch), InboxMsg::Batch).await
    }

    /// Posts a fact; the answer is its number.
    ///
    /// # Errors
    /// A refusal, or why there is no answer.
    pub async fn fact(&self, fact: NodeFact) -> Result<u64, WireError> {
        ask_with(&self.0, LONG, fact, InboxMsg::Fact).await
    }

    /// Posts a sample.
    ///
    /// # Errors
    /// A refusal, or why there is no answer.
    pub async fn reading(&self, reading: NodeReading) -> Result<(), WireError> {
        ask_with(&self.0, LONG, reading, InboxMsg::Reading).await
    }

    /// Posts lines of output.
    ///
    /// # Errors
    /// A refusal, or why there is no answer.
    pub async fn logs(&self, logs: LogBatch) -> Result<(), WireError> {
        ask_with(&self.0, LONG, logs, InboxMsg::Logs).await
    }
}

#[cfg(test)]
mod tests {
    use ractor::{Actor, ActorProcessingErr};

    use super::*;
    use crate::wire::answer;

    /// Answers a `Bye` by its words, and everything else not at all.
    struct Moody;

    impl Actor for Moody {
        type Msg = AgentMsg;
        type State = Vec<ReplyPort<HelloBack>>;
        type Arguments = ();

        async fn pre_start(&self, _: ActorRef<AgentMsg>, (): ()) -> Result<Self::State, ActorProcessingErr> {
            Ok(Vec::new())
        }

        async fn handle(
            &self,
            me: ActorRef<AgentMsg>,
            msg: AgentMsg,
            unanswered: &mut Self::State,
        ) -> Result<(), ActorProcessingErr> {
            match msg {
                AgentMsg::Bye(Wire(Ok(bye)), reply) if bye.why == "refuse" => answer(reply, Err(WireError::Refused("no".into()))),
                AgentMsg::Bye(Wire(Ok(bye)), reply) if bye.why == "garble" => drop(reply.send(Wire(Err("garbled".into())))),
                AgentMsg::Bye(Wire(Ok(bye)), _) if bye.why == "die" => me.stop(None),
                AgentMsg::Bye(Wire(Ok(_)), reply) => answer(reply, Ok(())),
                AgentMsg::Hello(_, reply) => unanswered.push(reply),
                _ => {}
            }
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn every_way_a_question_can_end_has_a_name() {
        let (moody, ended) = Actor::spawn(None, Moody, ()).await.unwrap();
        let agent = AgentHandle::from(moody);
        let bye = |why: &str| agent.bye(Bye { why: why.into() });
        assert_eq!(bye("go").await, Ok(()));
        assert_eq!(bye("refuse").await, Err(WireError::Refused("no".into())));
        assert_eq!(bye("garble").await, Err(WireError::Undecodable("garbled".into())));
        let hello = Hello { build: "1".into(), run: "r".into() };
        assert_eq!(agent.hello(hello).await, Err(WireError::TimedOut));
        assert_eq!(agent.beat(Beat { seq: 1, answered: 0 }).await, Err(WireError::Unreachable), "a dropped reply port");
        assert_eq!(bye("die").await, Err(WireError::Unreachable));
        ended.await.unwrap();
        assert_eq!(bye("go").await, Err(WireError::Unreachable), "the actor is gone");
    }
}
