//! Gathers the output of this node's processes and hands it to the Uplink in batches of limited size and rate. A
//! process that floods its output costs its own oldest lines, and the log says how many.

mod collected;

use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};

use self::collected::Collected;
use crate::messages::{LogCollectorMsg, NodeIdentity, UplinkMsg};

/// The longest time a line waits for company.
pub const FLUSH_INTERVAL: Duration = Duration::from_millis(500);

/// The behaviour.
pub struct LogCollector;

/// What a LogCollector needs.
pub struct LogCollectorArgs {
    /// The node whose output it is.
    pub identity: NodeIdentity,
    /// Where the batches go.
    pub uplink: ActorRef<UplinkMsg>,
}

/// A LogCollector at work.
pub struct Collecting {
    collected: Collected,
    uplink: ActorRef<UplinkMsg>,
}

impl Actor for LogCollector {
    type Msg = LogCollectorMsg;
    type State = Collecting;
    type Arguments = LogCollectorArgs;

    async fn pre_start(&self, myself: ActorRef<Self::Msg>, args: LogCollectorArgs) -> Result<Collecting, ActorProcessingErr> {
        myself.send_interval(FLUSH_INTERVAL, || LogCollectorMsg::Flush);
        Ok(Collecting { collected: Collected::new(args.identity.node), uplink: args.uplink })
    }

    async fn handle(
        &self,
        _: ActorRef<Self::Msg>,
        msg: LogCollectorMsg,
        state: &mut Collecting,
    ) -> Result<(), ActorProcessingErr> {
        let batches = match msg {
            LogCollectorMsg::Wrote { source, lines } => state.collected.wrote(&source, lines),
            LogCollectorMsg::Flush => state.collected.flush(),
        };
        state.hand_on(batches)
    }

    async fn post_stop(&self, _: ActorRef<Self::Msg>, state: &mut Collecting) -> Result<(), ActorProcessingErr> {
        let rest = state.collected.rest();
        state.hand_on(rest)
    }
}

impl Collecting {
    /// Without an Uplink there is no way out for any line, and the supervisor should know.
    fn hand_on(&self, batches: Vec<hb_core::facts::LogBatch>) -> Result<(), ActorProcessingErr> {
        for batch in batches {
            self.uplink.cast(UplinkMsg::Logs(batch))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use hb_core::facts::{LogBatch, LogLine};
    use tokio::sync::mpsc;

    use super::*;

    /// An Uplink that only notes what it gets.
    struct Recorder;

    impl Actor for Recorder {
        type Msg = UplinkMsg;
        type State = mpsc::UnboundedSender<LogBatch>;
        type Arguments = Self::State;

        async fn pre_start(&self, _: ActorRef<UplinkMsg>, sender: Self::State) -> Result<Self::State, ActorProcessingErr> {
            Ok(sender)
        }

        async fn handle(
            &self,
            _: ActorRef<UplinkMsg>,
            msg: UplinkMsg,
            sender: &mut Self::State,
        ) -> Result<(), ActorProcessingErr> {
            let UplinkMsg::Logs(batch) = msg else { panic!("only logs are handed on") };
            Ok(sender.send(batch)?)
        }
    }

    fn wrote(text: &str) -> LogCollectorMsg {
        let line = LogLine { unix_nanos: 1, is_stderr: false, text: text.into() };
        LogCollectorMsg::Wrote { source: "server-0".into(), lines: vec![line] }
    }

    #[tokio::test(start_paused = true)]
    async fn lines_go_out_together_at_the_flush_and_the_rest_at_the_end() {
        let (sender, mut batches) = mpsc::unbounded_channel();
        let (uplink, _) = Actor::spawn(None, Recorder, sender).await.unwrap();
        let identity = NodeIdentity { node: "n1".into(), incarnation: 1 };
        let (collector, end) = Actor::spawn(None, LogCollector, LogCollectorArgs { identity, uplink }).await.unwrap();
        for text in ["one", "two"] {
            collector.cast(wrote(text)).unwrap();
        }
        let batch = batches.recv().await.unwrap();
        assert_eq!((batch.node.as_str(), batch.source.as_str()), ("n1", "server-0"));
        assert_eq!(batch.lines.iter().map(|line| line.text.as_str()).collect::<Vec<_>>(), ["one", "two"]);
        collector.cast(wrote("three")).unwrap();
        collector.drain().unwrap();
        end.await.unwrap();
        assert_eq!(batches.recv().await.unwrap().lines[0].text, "three");
    }
}
