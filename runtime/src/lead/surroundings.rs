//! Where this process runs: alone, inside a Slurm step, or beside it; and the names that follow from that.

use std::{
    env,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
};

use hb_actors::{cluster::join_file::STATE_SHELF, monitor::address_of_interface};

use crate::cli::NodeWords;

/// What the environment says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surroundings {
    /// The real host name.
    pub host: String,
    /// The Slurm step, if this is a task of one.
    pub step: Option<SlurmStep>,
    /// Whether this is a Slurm allocation outside of any step.
    pub lacks_step: bool,
}

/// A task of a Slurm step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlurmStep {
    /// The job.
    pub job: String,
    /// The step within it.
    pub step: String,
    /// How often the job was requeued.
    pub restart: u32,
    /// This task's rank over all nodes, heterogeneous components too.
    pub rank: u32,
    /// How many tasks there are.
    pub tasks: u32,
}

impl Surroundings {
    /// Reads the environment.
    #[must_use]
    pub fn read() -> Self {
        let step = SlurmStep::from(|name| env::var(name).ok());
        let lacks_step = step.is_none() && env::var_os("SLURM_JOB_ID").is_some();
        Self { host: host_name(), step, lacks_step }
    }

    /// Every task of a step reads the same words; one voice is enough.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.step.as_ref().is_some_and(|step| step.rank > 0)
    }

    /// The folder in which the leader and its nodes find each other: one per job, step and restart, so
    /// that every task of one command line can name it and no other run's file is ever taken for it.
    #[must_use]
    pub fn state_dir(&self, results: &Path, run: &str) -> PathBuf {
        if let Some(named) = env::var_os("HBNODE_STATE") {
            return PathBuf::from(named);
        }
        let name = match &self.step {
            Some(step) => format!("{}.{}.{}", step.job, step.step, step.restart),
            None => run.to_owned(),
        };
        results.join(STATE_SHELF).join(name)
    }
}

impl SlurmStep {
    fn from(variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let number = |name: &str| variable(name)?.parse::<u32>().ok();
        Some(Self {
            job: variable("SLURM_JOB_ID")?,
            // `sbatch` and `salloc` set the job's variables too, but only a step has these.
            step: variable("SLURM_STEP_ID").filter(|step| is_of_tasks(step))?,
            restart: number("SLURM_RESTART_COUNT").unwrap_or(0),
            rank: number("SLURM_PROCID")?,
            tasks: number("SLURM_STEP_NUM_TASKS").or_else(|| number("SLURM_NTASKS"))?,
        })
    }
}

/// Slurm runs batch scripts and the shells of `salloc` in steps of their own, with the greatest of numbers.
fn is_of_tasks(step: &str) -> bool {
    step.parse::<u32>().is_ok_and(|number| number < 0xFFFF_FFF0)
}

/// The folder that takes results: as named, else `$WORK/results`, else `./results`.
#[must_use]
pub fn results_root(named: Option<&Path>) -> PathBuf {
    match (named, env::var_os("WORK")) {
        (Some(named), _) => named.to_owned(),
        (None, Some(work)) => PathBuf::from(work).join("results"),
        (None, None) => PathBuf::from("results"),
    }
}

/// The machine's name without its domain.
fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    name.split('.').next().filter(|name| !name.is_empty()).unwrap_or("localhost").to_owned()
}

/// The address under which the others reach this machine: as the words name it, or its interface; else its own.
///
/// # Errors
/// The interface is not there.
pub fn reached_by(words: &NodeWords, host: &str, is_alone: bool) -> Result<IpAddr, String> {
    match (words.endpoints.address, &words.endpoints.interface) {
        (Some(address), _) => Ok(address),
        (None, Some(name)) => address_of_interface(name).map_err(|error| {
            format!("{error}; look at orchestration.interface and --interface, or name this machine's address with --address")
        }),
        (None, None) => Ok(own_address(host, is_alone)),
    }
}

/// The address under which the others reach this machine: that of its name, or loopback where nobody else is.
#[must_use]
fn own_address(host: &str, is_alone: bool) -> IpAddr {
    if is_alone {
        return Ipv4Addr::LOCALHOST.into();
    }
    let resolved = std::net::ToSocketAddrs::to_socket_addrs(&(host, 0)).ok();
    let usable = resolved.and_then(|mut addresses| addresses.find(|address| address.is_ipv4() && !address.ip().is_loopback()));
    usable.map_or_else(outgoing_address, |address| address.ip())
}

/// The address this machine would send from; a connected datagram socket sends nothing.
fn outgoing_address() -> IpAddr {
    let probe = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).and_then(|socket| {
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
        socket.local_addr()
    });
    probe.map_or(Ipv4Addr::LOCALHOST.into(), |address| address.ip())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn step(variables: &[(&str, &str)]) -> Option<SlurmStep> {
        let variables: BTreeMap<_, _> = variables.iter().copied().collect();
        SlurmStep::from(|name| variables.get(name).map(|value| (*value).to_owned()))
    }

    #[test]
    fn a_task_of_a_step_knows_its_rank_and_how_many_there_are() {
        let read = step(&[("SLURM_JOB_ID", "7"), ("SLURM_STEP_ID", "0"), ("SLURM_PROCID", "2"), ("SLURM_NTASKS", "3")]);
        assert_eq!(read, Some(SlurmStep { job: "7".into(), step: "0".into(), restart: 0, rank: 2, tasks: 3 }));
    }

    #[test]
    fn the_batch_script_of_a_job_is_no_task_of_a_step() {
        assert_eq!(step(&[("SLURM_JOB_ID", "7"), ("SLURM_NTASKS", "3")]), None);
        assert_eq!(step(&[]), None);
        let interactive = [("SLURM_JOB_ID", "7"), ("SLURM_STEP_ID", "4294967290"), ("SLURM_PROCID", "0"), ("SLURM_NTASKS", "1")];
        assert_eq!(step(&interactive), None, "the shell of `salloc`");
    }
}
