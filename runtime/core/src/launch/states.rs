//! What Slurm calls a job's state, and what that means for a person who waits.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A job's number, with the component `123+0` of a heterogeneous job or the task `123_4` of an array.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct JobId {
    /// The number that `sbatch` printed.
    pub job: u64,
    /// `+0` or `_4`, as Slurm writes it.
    pub part: Option<String>,
}

/// Why a text is no job's number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no job id; one is a number such as 123, 123+0 or 123_4")]
pub struct NotAJobId {
    /// What was written.
    pub text: String,
}

impl FromStr for JobId {
    type Err = NotAJobId;

    fn from_str(text: &str) -> Result<Self, NotAJobId> {
        let refuse = || NotAJobId { text: text.to_owned() };
        // A cluster's name follows in `sbatch --parsable` where there are several.
        let trimmed = text.trim().split(';').next().unwrap_or_default();
        let digits = trimmed.bytes().take_while(u8::is_ascii_digit).count();
        let (number, part) = trimmed.split_at(digits);
        let is_part = |part: &str| {
            let numbers = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            part.strip_prefix('+').is_some_and(numbers)
                // A pending array stands as `123_[0-4%2]`.
                || part.strip_prefix('_').is_some_and(|task| numbers(task) || (task.starts_with('[') && task.ends_with(']')))
        };
        if !part.is_empty() && !is_part(part) {
            return Err(refuse());
        }
        let job = number.parse().map_err(|_| refuse())?;
        Ok(Self { job, part: (!part.is_empty()).then(|| part.to_owned()) })
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.job, self.part.as_deref().unwrap_or_default())
    }
}

/// A job's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobState {
    /// Slurm's word for it, such as `PENDING`.
    pub name: String,
    /// Whether the job will do nothing any more.
    pub is_over: bool,
    /// What that means.
    pub meaning: String,
}

/// Name, whether it is over, meaning.
const STATES: &[(&str, bool, &str)] = &[
    ("PENDING", false, "waits in the queue"),
    ("CONFIGURING", false, "has its nodes, which are being made ready"),
    ("RUNNING", false, "runs"),
    ("STAGE_OUT", false, "is over but for files that the scheduler moves"),
    ("SIGNALING", false, "is being sent a signal"),
    ("STOPPED", false, "is stopped and keeps its nodes"),
    ("SUSPENDED", false, "is suspended: its figures will be worthless"),
    ("RESIZING", false, "is changing its size"),
    ("COMPLETING", false, "is being ended; some nodes may be slow to let go"),
    ("REQUEUED", false, "was put back into the queue and will run again"),
    ("REQUEUE_FED", false, "was put back into the queue of a federation"),
    ("REQUEUE_HOLD", false, "was put back into the queue and is held: `scontrol release` lets it go"),
    ("RESV_DEL_HOLD", false, "is held because its reservation was deleted: cancel it and submit without `reservation`"),
    ("SPECIAL_EXIT", false, "was put back into the queue and is held after a special exit"),
    ("COMPLETED", true, "ended by itself"),
    ("FAILED", true, "ended with an exit code that is not 0"),
    ("CANCELLED", true, "was cancelled by its owner or an administrator"),
    ("TIMEOUT", true, "reached its time limit; trials that were finished before are there"),
    ("NODE_FAIL", true, "lost a node"),
    ("PREEMPTED", true, "was ended to make room for another job; submit it again"),
    ("OUT_OF_MEMORY", true, "used more memory than it had asked for: raise `resources.*.mem_gb`"),
    ("BOOT_FAIL", true, "got a node that did not start: submit it again"),
    ("DEADLINE", true, "could not have ended before its deadline"),
    ("LAUNCH_FAILED", true, "could not be started on its nodes: ask the administrators"),
    ("RECONFIG_FAIL", true, "got a node that could not be reconfigured"),
    ("REVOKED", true, "was given to another cluster of the federation"),
];

impl JobState {
    /// Reads what `squeue`, `scontrol` or `sacct` call it; `reason` tells of a pending job why it waits.
    #[must_use]
    pub fn read(word: &str, reason: &str) -> Self {
        // `sacct` adds who cancelled: `CANCELLED by 1000`; and `+` where it cut the word.
        let name = word.split_whitespace().next().unwrap_or_default().trim_end_matches('+').to_ascii_uppercase();
        let known = STATES.iter().find(|(known, _, _)| *known == name);
        let known = known.or_else(|| STATES.iter().find(|(known, _, _)| name.len() >= 6 && known.starts_with(name.as_str())));
        let Some((known, is_over, meaning)) = known else {
            let meaning = "is in a state that hbnode does not know; it is asked again".to_owned();
            return Self { name, is_over: false, meaning };
        };
        let meaning = match pending_reason(reason) {
            Some(why) if *known == "PENDING" => format!("{meaning}: {why}"),
            _ => (*meaning).to_owned(),
        };
        Self { name: (*known).to_owned(), is_over: *is_over, meaning }
    }
}

/// Reason, meaning. Those that can never clear by themselves say so.
const REASONS: &[(&str, &str)] = &[
    ("Priority", "jobs with a higher priority are before it"),
    ("Resources", "it is next when enough nodes are free"),
    ("BeginTime", "it may not begin yet"),
    ("Dependency", "it waits for another job"),
    ("DependencyNeverSatisfied", "the job it waits for has failed, so it never starts: cancel it"),
    ("JobHeldUser", "its owner holds it: `scontrol release` lets it go"),
    ("JobHeldAdmin", "an administrator holds it: ask them"),
    ("PartitionConfig", "it asks for more than the partition has, so it never starts: cancel it and ask for fewer nodes"),
    ("PartitionNodeLimit", "it asks for more nodes than the partition allows, so it never starts: cancel it"),
    ("PartitionTimeLimit", "its time limit is above the partition's, so it never starts: cancel it and lower `time_limit`"),
    ("PartitionDown", "the partition is down"),
    ("PartitionInactive", "the partition takes no jobs now"),
    ("ReqNodeNotAvail", "a node it needs is not available: down, drained, or reserved for maintenance"),
    ("NodeDown", "a node it needs is down"),
    ("BadConstraints", "no node is as it asks for, so it never starts: cancel it and look at `extra_sbatch` and `resources`"),
    ("InvalidAccount", "its account is not valid: cancel it and correct `account`"),
    ("InvalidQOS", "its QOS is not valid: cancel it and correct `qos`"),
    ("AssocGrpBillingMinutes", "the account's budget is used up"),
    ("Licenses", "it waits for a licence"),
    ("Reservation", "its reservation has not begun, or is full"),
    ("ReservationDeleted", "its reservation was deleted: cancel it and submit without `reservation`"),
    ("Prolog", "its nodes are being made ready"),
    ("Cleaning", "its nodes are being cleaned"),
    ("launch failed requeued held", "it could not be started and is held: ask the administrators"),
];

/// What the reason of a pending job means; nothing where there is none.
#[must_use]
pub fn pending_reason(reason: &str) -> Option<String> {
    let reason = reason.trim().trim_matches(['(', ')']);
    if reason.is_empty() || reason == "None" {
        return None;
    }
    let first = reason.split(',').next().unwrap_or(reason);
    if let Some((_, meaning)) = REASONS.iter().find(|(known, _)| known.eq_ignore_ascii_case(first)) {
        return Some((*meaning).to_owned());
    }
    Some(match first {
        qos if qos.starts_with("QOS") => format!("a limit of its QOS is reached ({reason})"),
        association if association.starts_with("Assoc") => format!("a limit of its account or user is reached ({reason})"),
        maximum if maximum.starts_with("Max") => format!("a limit is reached ({reason})"),
        _ => format!("Slurm says `{reason}`"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(word: &str, reason: &str, name: &str, is_over: bool) -> JobState {
        let state = JobState::read(word, reason);
        assert_eq!((state.name.as_str(), state.is_over), (name, is_over), "{word}");
        assert!(!state.meaning.is_empty());
        state
    }

    #[test]
    fn every_state_is_named_with_its_meaning() {
        for (name, is_over, meaning) in STATES {
            assert_eq!(check(name, "None", name, *is_over).meaning, *meaning);
        }
        check("CANCELLED by 1000", "", "CANCELLED", true);
        check("OUT_OF_ME+", "", "OUT_OF_MEMORY", true);
    }

    #[test]
    fn a_pending_job_says_why_and_whether_that_can_clear() {
        assert!(check("PENDING", "(Resources)", "PENDING", false).meaning.contains("nodes are free"));
        assert!(check("PENDING", "PartitionConfig", "PENDING", false).meaning.contains("never starts"));
        assert!(check("PENDING", "QOSMaxJobsPerUserLimit", "PENDING", false).meaning.contains("limit of its QOS"));
        assert!(check("PENDING", "ReqNodeNotAvail, UnavailableNodes:n1", "PENDING", false).meaning.contains("not available"));
        assert!(check("PENDING", "Surprise", "PENDING", false).meaning.contains("`Surprise`"));
    }

    #[test]
    fn a_state_nobody_knows_is_not_taken_for_the_end() {
        check("QUANTUM", "", "QUANTUM", false);
        check("", "", "", false);
    }

    #[test]
    fn ids_of_plain_heterogeneous_and_array_jobs_are_read() {
        for (text, job, part) in
            [("123", 123, None), ("123+0", 123, Some("+0")), ("123_4", 123, Some("_4")), ("7_[0-4%2]", 7, Some("_[0-4%2]"))]
        {
            let id: JobId = text.parse().unwrap();
            assert_eq!((id.job, id.part.as_deref()), (job, part));
            assert_eq!(id.to_string(), text);
        }
        assert_eq!("42;cluster\n".parse::<JobId>().unwrap().job, 42);
        for text in ["", "x", "12x", "1+", "1_", "-1", "1;2;", "1 2", "+1"] {
            assert_eq!(text.parse::<JobId>().is_ok(), text == "1;2;", "{text}");
        }
    }
}
