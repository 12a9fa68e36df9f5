//! Whether a machine has the open files and the ports that a load's connections need.

use crate::{
    orders::LoadShare,
    trial::{LoadModel, Trial},
};

/// Files that a node opens beside its connections while a load runs: the cluster, pages, samples, logs.
const BESIDE: u64 = 64;
/// So many receive queues a load looks into at most, each of which takes a file more…
const MOST_WATCHED: u64 = 1024;
/// …and not more than one file in so many that it may have.
const ONE_WATCHED_IN: u64 = 16;
/// Where nothing bounds an open loop, its answers are expected to take so many seconds.
const EXPECTED_ANSWER_SECONDS: f64 = 10.0;

/// What a process may have, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sockets {
    /// The most files that it may have open, and those that are.
    pub open_files: Option<(u64, u64)>,
    /// The first and last of the machine's ephemeral ports.
    pub ports: Option<(u16, u16)>,
}

/// Into how many receive queues a load looks, where this process may have so many files open.
#[must_use]
pub fn watched(open_files: Option<u64>) -> u64 {
    open_files.map_or(MOST_WATCHED, |most| MOST_WATCHED.min(most / ONE_WATCHED_IN))
}

/// How many connections a load needs at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Connections, one for each request in flight.
    pub connections: u64,
    /// Whether so many are certain to be asked for, or only expected.
    pub is_certain: bool,
}

impl Wanted {
    /// What a share wants of its node.
    #[must_use]
    pub fn of_share(share: &LoadShare) -> Self {
        let asked = (share.clients.len() as u64).saturating_mul(share.load.together.get().into());
        let clients = share.load.model.clients().map(|_| asked);
        Self::of(clients, share.max_in_flight.map(u64::from), rate(&share.load.model, share.numbers.fraction()))
    }

    /// What a trial wants of each of so many client nodes, at least.
    #[must_use]
    pub fn of_trial(trial: &Trial, nodes: u32) -> Self {
        let load = &trial.load;
        let each = |all: std::num::NonZeroU32| u64::from(all.get().div_ceil(nodes.max(1)));
        let clients = load.model.clients().map(|all| each(all).saturating_mul(load.together.get().into()));
        Self::of(clients, load.max_in_flight.map(each), rate(&load.model, 1.0 / f64::from(nodes.max(1))))
    }

    /// Of what a closed loop's clients ask at one time, or an open loop's bound, or else of its rate in requests per second.
    #[must_use]
    pub fn of(clients: Option<u64>, most_in_flight: Option<u64>, rate: Option<f64>) -> Self {
        match clients.or(most_in_flight) {
            Some(connections) => Self { connections, is_certain: true },
            None => Self { connections: (rate.unwrap_or(0.0) * EXPECTED_ANSWER_SECONDS) as u64, is_certain: false },
        }
    }

    fn words(self) -> String {
        match self {
            Self { connections, is_certain: true } => format!("up to {connections} requests in flight"),
            Self { connections, .. } => {
                format!("{connections} requests in flight, if an answer takes {EXPECTED_ANSWER_SECONDS} s,")
            }
        }
    }
}

impl Sockets {
    /// Why so many connections to so many servers cannot be had, with the figures and what helps. The connections are
    /// taken to be spread evenly, which is the least that any one address gets.
    #[must_use]
    pub fn shortage(self, wanted: Wanted, servers: u64) -> Option<String> {
        let Wanted { connections, .. } = wanted;
        let fewer = "or ask for less at a time, or by more client nodes";
        let beside = |most| BESIDE + connections.min(watched(Some(most)));
        if let Some((most, used)) = self.open_files.filter(|(most, used)| connections + used + beside(*most) > *most) {
            return Some(format!(
                "{} need {connections} connections, while this process may have {most} files open and needs {} for other things; \
                 raise the hard limit (`ulimit -Hn`, LimitNOFILE), {fewer}",
                wanted.words(),
                used + beside(most),
            ));
        }
        let (first, last) = self.ports?;
        let (each, ports) = (connections.div_ceil(servers.max(1)), u64::from(last.saturating_sub(first)) + 1);
        (each > ports).then(|| {
            format!(
                "{} need {each} connections to one address, while this machine has {ports} ports for them ({first}–{last}); \
                 widen net.ipv4.ip_local_port_range, name more endpoints, {fewer}",
                wanted.words(),
            )
        })
    }
}

/// The highest rate of an open loop of which somebody sends this fraction, requests per second.
fn rate(model: &LoadModel, fraction: f64) -> Option<f64> {
    let all = match model {
        LoadModel::Open { rate, .. } => Some(*rate),
        LoadModel::Staged { stages, .. } => Some(stages.iter().map(|stage| stage.from.max(stage.to)).fold(0.0, f64::max)),
        LoadModel::Closed { .. } | LoadModel::ClosedStaged { .. } | LoadModel::Replay { .. } => None,
    };
    all.map(|rate| rate * fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FEW: Sockets = Sockets { open_files: Some((1024, 20)), ports: Some((32_768, 60_999)) };

    fn check(sockets: Sockets, connections: u64, servers: u64, expected: Option<&str>) {
        let told = sockets.shortage(Wanted::of(Some(connections), None, None), servers);
        match expected {
            Some(words) => assert!(told.as_deref().unwrap_or_default().contains(words), "{told:?}"),
            None => assert_eq!(told, None),
        }
    }

    #[test]
    fn a_shortage_is_told_with_its_figures() {
        check(FEW, 876, 1, None);
        check(FEW, 877, 1, Some("877 connections, while this process may have 1024 files open and needs 148 for other things"));
        let many = Sockets { open_files: Some((1_000_000, 20)), ..FEW };
        check(many, 28_232, 1, None);
        check(
            many,
            28_233,
            1,
            Some("28233 connections to one address, while this machine has 28232 ports for them (32768–60999)"),
        );
        check(many, 56_464, 2, None);
        check(many, 56_465, 2, Some("28233 connections to one address"));
        check(Sockets::default(), u64::MAX / 2, 1, None);
    }

    #[test]
    fn clients_that_ask_several_at_a_time_want_as_many_connections_each() {
        let mut plan = crate::testing::closed_plan(9, 2);
        plan.trial.load.together = std::num::NonZeroU32::new(4).unwrap();
        plan.shares[0].load.together = plan.trial.load.together;
        let clients = plan.shares[0].clients.len() as u64;
        assert_eq!(Wanted::of_share(&plan.shares[0]), Wanted { connections: clients * 4, is_certain: true });
        assert_eq!(Wanted::of_trial(&plan.trial, 2), Wanted { connections: 20, is_certain: true });
    }

    #[test]
    fn a_rate_alone_is_only_expected_to_need_connections() {
        let wanted = Wanted::of(None, None, Some(5_000.0));
        assert_eq!(wanted, Wanted { connections: 50_000, is_certain: false });
        let told = FEW.shortage(wanted, 1).unwrap();
        assert!(told.starts_with("50000 requests in flight, if an answer takes 10 s, need 50000 connections"), "{told}");
        assert_eq!(Wanted::of(None, Some(64), Some(5_000.0)), Wanted { connections: 64, is_certain: true });
    }
}
