//! What a node can be asked: an open family. A new probe is a type and a line in [`PROBES`].

use hb_core::facts::NodeReading;

use super::{amd::Amd, nvidia::Nvidia, system};

/// Every probe there is.
pub const PROBES: &[&dyn Probe] = &[&system::Cpu, &system::Memory, &system::Network, &Nvidia, &Amd];

/// A kind of thing that can be sampled.
pub trait Probe: Sync {
    /// Its name in logs.
    fn name(&self) -> &'static str;

    /// Gets ready to sample.
    ///
    /// # Errors
    /// That this machine has no such thing, or that it cannot be read.
    fn open(&self) -> Result<Box<dyn Sampler>, ProbeError>;
}

/// An opened probe. It may block for a while.
pub trait Sampler: Send {
    /// Writes what it sees into the reading.
    ///
    /// # Errors
    /// What could not be read this time; the next sample tries again.
    fn sample(&mut self, reading: &mut NodeReading) -> Result<(), ProbeError>;
}

/// Why a probe says nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProbeError {
    /// There is nothing to sample here, and never will be.
    #[error("not on this machine: {0}")]
    Absent(String),
    /// It cannot be read now.
    #[error("cannot be read: {0}")]
    Failed(String),
}

/// All probes of a node, opened by the first sample.
pub(super) struct Samplers {
    probes: &'static [&'static dyn Probe],
    opened: Option<Vec<Opened>>,
}

struct Opened {
    name: &'static str,
    sampler: Box<dyn Sampler>,
    /// Whether the last sample failed, which was then logged.
    is_failing: bool,
}

impl Samplers {
    pub(super) fn new(probes: &'static [&'static dyn Probe]) -> Self {
        Self { probes, opened: None }
    }

    /// Asks every probe; gives whether the reading can be used. The first one only opens the probes.
    pub(super) fn sample(&mut self, reading: &mut NodeReading) -> bool {
        let Some(opened) = &mut self.opened else {
            self.opened = Some(self.probes.iter().filter_map(|probe| Opened::new(*probe)).collect());
            return false;
        };
        opened.iter_mut().for_each(|opened| opened.sample(reading));
        true
    }
}

impl Opened {
    fn new(probe: &dyn Probe) -> Option<Self> {
        let name = probe.name();
        match probe.open() {
            Ok(sampler) => Some(Self { name, sampler, is_failing: false }),
            Err(ProbeError::Absent(why)) => {
                tracing::info!(probe = name, why, "nothing to sample");
                None
            }
            Err(error) => {
                tracing::warn!(probe = name, %error, "the probe cannot be opened");
                None
            }
        }
    }

    /// Logs when a probe begins to fail and when it is well again, not every time.
    fn sample(&mut self, reading: &mut NodeReading) {
        let sampled = self.sampler.sample(reading);
        match &sampled {
            Ok(()) if self.is_failing => tracing::info!(probe = self.name, "the probe is well again"),
            Err(error) if !self.is_failing => tracing::warn!(probe = self.name, %error, "the probe fails"),
            Ok(()) | Err(_) => {}
        }
        self.is_failing = sampled.is_err();
    }
}
