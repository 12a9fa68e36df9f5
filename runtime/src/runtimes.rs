//! The two tokio runtimes of a process: a small one for the cluster's actors, one for the load, so that
//! neither starves the other.

use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

/// Threads of the cluster's runtime: enough that one that writes a file holds up nobody.
const CLUSTER_THREADS: usize = 2;
/// What is still running when the process ends is waited for this long.
const END_WITHIN: Duration = Duration::from_secs(2);

/// Both runtimes.
pub struct Runtimes {
    /// Actors, sockets of the cluster, endpoints.
    pub cluster: Runtime,
    /// Load, and nothing else.
    pub load: Runtime,
}

impl Runtimes {
    /// Starts both.
    ///
    /// # Errors
    /// The system gives no threads.
    pub fn start() -> std::io::Result<Self> {
        let cluster =
            Builder::new_multi_thread().worker_threads(CLUSTER_THREADS).thread_name("hb-cluster").enable_all().build()?;
        let load = Builder::new_multi_thread().thread_name("hb-load").enable_all().build()?;
        Ok(Self { cluster, load })
    }

    /// Ends both.
    pub fn end(self) {
        self.load.shutdown_timeout(END_WITHIN);
        self.cluster.shutdown_timeout(END_WITHIN);
    }
}
