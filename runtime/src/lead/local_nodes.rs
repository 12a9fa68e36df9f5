//! Node processes on this machine, for `--local-nodes`.

use std::{
    net::IpAddr,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// How long nodes that were said goodbye to may take.
const LEAVE_WITHIN: Duration = Duration::from_secs(8);
/// The pause between two looks at whether they are gone.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The node processes of one run. Those that are left when this is dropped are killed; their guardians end
/// what they had started.
pub struct LocalNodes {
    children: Vec<Child>,
}

impl LocalNodes {
    /// Starts `count` nodes that join by this file.
    ///
    /// # Errors
    /// A process cannot be started; those that were are ended.
    pub fn start(count: u32, join_file: &Path, client_port: u16, address: IpAddr, is_quiet: bool) -> std::io::Result<Self> {
        let binary = std::env::current_exe()?;
        let mut nodes = Self { children: Vec::new() };
        for ordinal in 0..count {
            let child = Command::new(&binary)
                .arg("--join-file")
                .arg(join_file)
                .args([
                    "--ordinal",
                    &ordinal.to_string(),
                    "--client-port-from",
                    &client_port.to_string(),
                    "--address",
                    &address.to_string(),
                ])
                .args(is_quiet.then_some("--quiet"))
                // A Ctrl-C on the terminal is the leader's to handle; the nodes are told by it.
                .process_group(0)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .env_remove("HBNODE_LEADER")
                .spawn()?;
            nodes.children.push(child);
        }
        Ok(nodes)
    }

    /// Waits for all of them; those that stay are killed and counted.
    pub fn wait(&mut self) -> usize {
        let deadline = Instant::now() + LEAVE_WITHIN;
        while Instant::now() < deadline && self.children.iter_mut().any(|child| matches!(child.try_wait(), Ok(None))) {
            std::thread::sleep(LOOK_EVERY);
        }
        self.kill()
    }

    fn kill(&mut self) -> usize {
        let mut killed = 0;
        for child in &mut self.children {
            if matches!(child.try_wait(), Ok(None)) {
                killed += 1;
                // It may have ended between the two lines.
                let _ = child.kill();
                let _ = child.wait();
            }
        }
        killed
    }
}

impl Drop for LocalNodes {
    fn drop(&mut self) {
        self.kill();
    }
}
