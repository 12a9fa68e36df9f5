//! The probes of a search by load, and what several of one load say together.

use super::{Probe, ProbeOutcome};

/// The probes of one load, in the order in which they were made.
#[derive(Debug)]
pub(super) struct Load<'a> {
    /// Requests per second, or requests in flight.
    pub value: f64,
    pub probes: Vec<&'a Probe>,
}

/// All loads that were probed, from the lowest to the highest.
pub(super) fn by_load(probes: &[Probe]) -> Vec<Load<'_>> {
    let mut loads: Vec<Load<'_>> = Vec::new();
    for probe in probes {
        // A load that went through a text and back may differ in its last bit.
        match loads.iter_mut().find(|load| (load.value - probe.load).abs() <= 1e-9 * probe.load) {
            Some(load) => load.probes.push(probe),
            None => loads.push(Load { value: probe.load, probes: vec![probe] }),
        }
    }
    loads.sort_by(|one, other| one.value.total_cmp(&other.value));
    loads
}

impl Load<'_> {
    /// Whether most of its probes say that it is too much.
    pub fn is_too_much(&self) -> bool {
        2 * self.against() > self.probes.len()
    }

    /// Whether as many say so as say the contrary: another one decides.
    pub fn is_undecided(&self) -> bool {
        2 * self.against() == self.probes.len()
    }

    /// Whether it was asked once, and asking again could contradict that.
    pub fn wants_second(&self) -> bool {
        matches!(self.probes.as_slice(), [once] if once.outcome != ProbeOutcome::TooFew)
    }

    /// What most of its probes say.
    pub fn outcome(&self) -> ProbeOutcome {
        let side = self.is_too_much();
        let mut own = self.probes.iter().rev().filter(|probe| is_against(probe) == side);
        let last = own.next().map_or(ProbeOutcome::TooFew, |probe| probe.outcome);
        // One that could be judged says more than one that could not.
        if last == ProbeOutcome::TooFew { own.map(|probe| probe.outcome).find(|it| *it != last).unwrap_or(last) } else { last }
    }

    /// The probe that says so, the last of them.
    pub fn deciding(&self) -> Option<&Probe> {
        let outcome = self.outcome();
        self.probes.iter().rev().find(|probe| probe.outcome == outcome).copied()
    }

    /// How often it was asked.
    pub fn times(&self) -> usize {
        self.probes.len()
    }

    fn against(&self) -> usize {
        self.probes.iter().filter(|probe| is_against(probe)).count()
    }
}

fn is_against(probe: &Probe) -> bool {
    matches!(probe.outcome, ProbeOutcome::Missed | ProbeOutcome::Invalid)
}
