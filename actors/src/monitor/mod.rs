//! Samples this node: cores, memory, network, GPUs. Probes read the machine in a thread that may block; a sample
//! that is not over when the next one is due lets that one out.

mod amd;
mod interfaces;
mod machine;
mod nvidia;
mod probes;
mod system;

use std::sync::{Arc, Mutex, PoisonError, TryLockError};

use hb_core::facts::NodeReading;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::task::JoinHandle;

pub use self::interfaces::{NoInterface, address_of_interface};
pub use self::machine::Machine;
use self::probes::Samplers;
pub use self::probes::{PROBES, Probe, ProbeError, Sampler};
use crate::{
    messages::{MonitorMsg, NodeIdentity, UplinkMsg},
    wall_clock::unix_nanos,
};

/// The behaviour.
pub struct Monitor;

/// What a Monitor needs.
pub struct MonitorArgs {
    /// The node that is sampled.
    pub identity: NodeIdentity,
    /// Where the readings go.
    pub uplink: ActorRef<UplinkMsg>,
    /// What is sampled: [`PROBES`] outside of tests.
    pub probes: &'static [&'static dyn Probe],
}

/// A Monitor at work.
pub struct Monitoring {
    identity: NodeIdentity,
    uplink: ActorRef<UplinkMsg>,
    /// Held while a sample is taken.
    samplers: Arc<Mutex<Samplers>>,
    /// The clock of the samples, once they were asked for.
    clock: Option<JoinHandle<()>>,
}

impl Actor for Monitor {
    type Msg = MonitorMsg;
    type State = Monitoring;
    type Arguments = MonitorArgs;

    async fn pre_start(&self, _: ActorRef<Self::Msg>, args: MonitorArgs) -> Result<Monitoring, ActorProcessingErr> {
        let MonitorArgs { identity, uplink, probes } = args;
        Ok(Monitoring { identity, uplink, samplers: Arc::new(Mutex::new(Samplers::new(probes))), clock: None })
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        msg: MonitorMsg,
        state: &mut Monitoring,
    ) -> Result<(), ActorProcessingErr> {
        match msg {
            MonitorMsg::Start(interval) => {
                // Ordered again, the newest interval counts.
                if let Some(clock) = state.clock.replace(myself.send_interval(interval.0, || MonitorMsg::Tick)) {
                    clock.abort();
                }
                // The first look opens the probes: shares of time need a beginning.
                myself.cast(MonitorMsg::Tick)?;
            }
            MonitorMsg::Tick => state.sample(),
        }
        Ok(())
    }

    async fn post_stop(&self, _: ActorRef<Self::Msg>, state: &mut Monitoring) -> Result<(), ActorProcessingErr> {
        if let Some(clock) = state.clock.take() {
            clock.abort();
        }
        Ok(())
    }
}

impl Monitoring {
    fn sample(&self) {
        let (samplers, uplink, node) = (Arc::clone(&self.samplers), self.uplink.clone(), self.identity.node.clone());
        tokio::task::spawn_blocking(move || {
            let mut samplers = match samplers.try_lock() {
                Ok(samplers) => samplers,
                Err(TryLockError::Poisoned(poisoned)) => PoisonError::into_inner(poisoned),
                Err(TryLockError::WouldBlock) => {
                    tracing::debug!("a sample is left out: the one before is not over");
                    return;
                }
            };
            let mut reading = NodeReading { node, unix_nanos: unix_nanos(), ..NodeReading::default() };
            if samplers.sample(&mut reading) && uplink.cast(UplinkMsg::Reading(reading)).is_err() {
                tracing::debug!("a sample is lost: the uplink is gone");
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use hb_core::units::Span;
    use tokio::sync::mpsc;

    use super::*;

    /// An Uplink that only notes what it gets.
    struct Recorder;

    impl Actor for Recorder {
        type Msg = UplinkMsg;
        type State = mpsc::UnboundedSender<NodeReading>;
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
            let UplinkMsg::Reading(reading) = msg else { panic!("only readings are handed on") };
            Ok(sender.send(reading)?)
        }
    }

    async fn monitored(probes: &'static [&'static dyn Probe]) -> (ActorRef<MonitorMsg>, mpsc::UnboundedReceiver<NodeReading>) {
        let (sender, readings) = mpsc::unbounded_channel();
        let (uplink, _) = Actor::spawn(None, Recorder, sender).await.unwrap();
        let identity = NodeIdentity { node: "n1".into(), incarnation: 1 };
        let (monitor, _) = Actor::spawn(None, Monitor, MonitorArgs { identity, uplink, probes }).await.unwrap();
        monitor.cast(MonitorMsg::Start(Span::from_millis(20))).unwrap();
        (monitor, readings)
    }

    #[tokio::test]
    async fn this_machine_has_cores_and_memory() {
        let (monitor, mut readings) = monitored(PROBES).await;
        let first = readings.recv().await.unwrap();
        let second = readings.recv().await.unwrap();
        assert_eq!(second.node.as_str(), "n1");
        assert!(second.unix_nanos > first.unix_nanos);
        assert!(!second.cpu_percent.is_empty() && second.cpu_percent.iter().all(|share| (0.0..=100.0).contains(share)));
        assert!(second.memory_used_bytes > 0 && second.memory_used_bytes < second.memory_total_bytes);
        monitor.stop(None);
    }

    /// Fails every other time, and panics in between.
    struct Moody;
    struct MoodySampler(AtomicU32);

    impl Probe for Moody {
        fn name(&self) -> &'static str {
            "moody"
        }
        fn open(&self) -> Result<Box<dyn Sampler>, ProbeError> {
            Ok(Box::new(MoodySampler(AtomicU32::new(0))))
        }
    }

    impl Sampler for MoodySampler {
        fn sample(&mut self, reading: &mut NodeReading) -> Result<(), ProbeError> {
            let count = self.0.fetch_add(1, Ordering::Relaxed);
            reading.memory_used_bytes = count.into();
            if count.is_multiple_of(2) { Err(ProbeError::Failed("not in the mood".into())) } else { Ok(()) }
        }
    }

    #[tokio::test]
    async fn a_probe_that_fails_stops_no_sample() {
        let (monitor, mut readings) = monitored(&[&Moody, &system::Memory]).await;
        for _ in 0..4 {
            assert!(readings.recv().await.unwrap().memory_total_bytes > 0);
        }
        monitor.stop(None);
    }
}
