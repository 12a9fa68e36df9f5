//! Whether the servers were all there, and nobody else asked them.

use super::{none_allowed, of_some, reason, share};
use crate::{
    units::plural,
    verdict::{DeadServer, Reason, Status, TrialEvidence},
};

/// Requests that a server turned away beside those it answered; fewer may be an accident.
const REFUSED_BESIDE_ANSWERS: u64 = 2;
/// Prompts that servers counted beyond those sent, as a share of the latter.
const FOREIGN_LOAD: f64 = 0.01;

/// What was measured afterwards is not the service that the recipe describes.
pub(super) fn server_exited(evidence: &TrialEvidence) -> Option<Reason> {
    let count = evidence.servers_exited;
    none_allowed(
        "server_exited",
        Status::Invalid,
        count.into(),
        format!("{} ended without being told to while load ran", plural(count.into(), "server")),
    )
}

pub(super) fn server_restarted(evidence: &TrialEvidence) -> Option<Reason> {
    let count = evidence.servers_restarted;
    none_allowed(
        "server_restarted",
        Status::Suspect,
        count.into(),
        format!("{} started again while load ran", of_some(count, "server")),
    )
}

/// What is measured is the service without it.
pub(super) fn dead_server(evidence: &TrialEvidence) -> Option<Reason> {
    let told = evidence.dead_servers.iter().map(|DeadServer { server, since_second, failed }| match since_second {
        0 => format!("server {server} answered nothing, {failed} requests to it failed"),
        second => format!("server {server} answered nothing from second {second} on, {failed} requests to it failed"),
    });
    let message = told.collect::<Vec<_>>().join("; ");
    none_allowed("dead_server", Status::Invalid, evidence.dead_servers.len() as u64, message)
}

/// A balancer goes on sending to a replica that is gone. Where it holds connections open for it, this cannot be seen.
pub(super) fn dead_replica(evidence: &TrialEvidence) -> Option<Reason> {
    let count = evidence.refused_beside_answers;
    if count <= REFUSED_BESIDE_ANSWERS {
        return None;
    }
    // Who limits what he admits says so with a status; a replica that is gone says nothing by itself.
    let message = if evidence.busy_beside_answers == count {
        format!(
            "{count} requests were turned away with status 503 while others to the same URL were answered: the servers may be overloaded or limit what they admit, or behind a balancer a replica may be gone"
        )
    } else {
        format!(
            "{count} requests were turned away while others to the same URL were answered: behind a balancer a replica may be gone, or the servers are overloaded"
        )
    };
    reason("dead_replica", Status::Suspect, count as f64, REFUSED_BESIDE_ANSWERS as f64, message)
}

pub(super) fn foreign_load(evidence: &TrialEvidence) -> Option<Reason> {
    // Of a lost node nobody knows what else it sent.
    let is_known = evidence.nodes_lost == 0 && evidence.missing_batches == 0 && evidence.is_balanced();
    let served = evidence.served.filter(|served| served.sent > 0 && is_known)?;
    let foreign = served.counted.saturating_sub(served.sent);
    let value = share(foreign, served.sent);
    if value <= FOREIGN_LOAD {
        return None;
    }
    let message = format!(
        "the servers counted {} prompts while load ran and {} were sent: somebody else asks them, too",
        served.counted, served.sent
    );
    reason("foreign_load", Status::Suspect, value, FOREIGN_LOAD, message)
}

pub(super) fn gpu_throttled(evidence: &TrialEvidence) -> Option<Reason> {
    let count = evidence.gpus_throttled;
    none_allowed("gpu_throttled", Status::Suspect, count.into(), format!("the clocks of {count} GPUs were held down"))
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{check, healthy},
        Status::{Invalid, Suspect},
        *,
    };
    use crate::verdict::{ServedEvidence, judge};

    #[test]
    fn a_service_without_one_of_its_servers_is_told() {
        let dead = |e: &mut TrialEvidence| e.dead_servers = vec![DeadServer { server: 1, since_second: 3, failed: 9 }];
        check("dead_server", Invalid, dead, |_| {});
        check("dead_replica", Suspect, |e| e.refused_beside_answers = 3, |e| e.refused_beside_answers = 2);
        let told = |busy| {
            let mut evidence = healthy();
            (evidence.refused_beside_answers, evidence.busy_beside_answers) = (9, busy);
            judge(&evidence).reasons.remove(0).message
        };
        assert!(told(9).contains("503 while others to the same URL were answered: the servers may be overloaded"), "{}", told(9));
        assert!(told(8).contains("answered: behind a balancer a replica may be gone, or"), "{}", told(8));
    }

    #[test]
    fn whom_nobody_asked_is_told() {
        let counted = |counted| move |e: &mut TrialEvidence| e.served = Some(ServedEvidence { counted, sent: 10_000 });
        check("foreign_load", Suspect, counted(10_101), counted(10_100));
        check("foreign_load", Suspect, counted(20_000), counted(5_000));
        check("node_lost", Suspect, |e| (counted(20_000)(e), e.nodes_lost = 1).1, |_| {});
    }
}
