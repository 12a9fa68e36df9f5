//! The leader's door for what nodes post: decodes, hands on, and answers once it was taken.

use hb_core::facts::NodeFact;
use ractor::{Actor, ActorProcessingErr, ActorRef};

use super::{BooksMsg, OrchestratorMsg};
use crate::{
    messages::InboxMsg,
    wire::{Reply, ReplyPort, Wire, WireError, answer},
};

/// Decodes and hands on; never thinks, never waits.
pub struct Inbox {
    /// Takes facts.
    pub orchestrator: ActorRef<OrchestratorMsg>,
    /// Takes batches, samples and lines.
    pub books: ActorRef<BooksMsg>,
}

impl Actor for Inbox {
    type Msg = InboxMsg;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<InboxMsg>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(&self, _: ActorRef<InboxMsg>, msg: InboxMsg, (): &mut ()) -> Result<(), ActorProcessingErr> {
        match msg {
            InboxMsg::Batch(batch, port) => {
                if let Some((batch, port)) = decoded(batch, port) {
                    // The books acknowledge it themselves, once it is durable.
                    if self.books.cast(BooksMsg::Batch(batch, port)).is_err() {
                        tracing::error!("the books are gone; a batch is not taken");
                    }
                }
            }
            InboxMsg::Fact(fact, port) => {
                if let Some((fact, port)) = decoded::<NodeFact, u64>(fact, port) {
                    let seq = fact.seq;
                    let told = self.orchestrator.cast(OrchestratorMsg::NodeTold(Box::new(fact)));
                    answer(port, taken(&told).map(|()| seq));
                }
            }
            InboxMsg::Reading(reading, port) => {
                if let Some((reading, port)) = decoded(reading, port) {
                    answer(port, taken(&self.books.cast(BooksMsg::Reading(reading))));
                }
            }
            InboxMsg::Logs(logs, port) => {
                if let Some((logs, port)) = decoded(logs, port) {
                    answer(port, taken(&self.books.cast(BooksMsg::Logs(logs))));
                }
            }
        }
        Ok(())
    }
}

/// When the run is over its actors end one by one; the door stays open for those that still take something.
fn taken<M>(handed_on: &Result<(), ractor::MessagingErr<M>>) -> Result<(), WireError> {
    if handed_on.is_ok() { Ok(()) } else { Err(WireError::Over) }
}

/// The value and the port to answer it through; what cannot be read is answered here.
fn decoded<T, A>(message: Wire<T>, port: ReplyPort<A>) -> Option<(T, ReplyPort<A>)>
where
    Wire<Result<A, WireError>>: Into<Reply<A>>,
    A: serde::Serialize + serde::de::DeserializeOwned + Send + 'static,
{
    match message.0 {
        Ok(value) => Some((value, port)),
        Err(why) => {
            tracing::warn!(%why, "a message of a node cannot be read");
            answer(port, Err(WireError::Undecodable(why)));
            None
        }
    }
}
