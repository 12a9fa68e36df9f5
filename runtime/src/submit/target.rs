//! Where scripts run: on this machine, or on a host that `ssh` reaches.

use std::{
    io::{Read, Write as _},
    process::{Child, Command, Stdio},
};

use serde::{Deserialize, Serialize};

use super::ssh::Ssh;

/// Which machine, in words that can be kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Where {
    /// The host, as `ssh` takes it; nothing means this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The user there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The file of the private key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<std::path::PathBuf>,
    /// A configuration for `ssh` in place of the person's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh_config: Option<std::path::PathBuf>,
}

impl std::fmt::Display for Where {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.host.as_deref().unwrap_or("this machine"))
    }
}

/// Why a script did not do what it was for.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// A program of this machine is missing or does not start.
    #[error("cannot run `{program}`: {cause}")]
    Program {
        /// Which.
        program: &'static str,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The host's name begins like an option.
    #[error("`{host}` is no host")]
    NoHost {
        /// What was written.
        host: String,
    },
    /// The host cannot be reached, or refuses.
    #[error("cannot reach `{host}`: {said}; {advice}")]
    Unreachable {
        /// Which.
        host: String,
        /// What `ssh` said.
        said: String,
        /// What to do.
        advice: &'static str,
    },
    /// The script ran and failed.
    #[error("{doing} on {place} failed: {said}")]
    Failed {
        /// What it was for.
        doing: String,
        /// Where.
        place: String,
        /// Its own words, or its exit code.
        said: String,
    },
    /// A file of this machine.
    #[error("cannot {doing} `{}`: {cause}", path.display())]
    File {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: std::path::PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
}

/// A machine that runs scripts.
#[derive(Debug)]
pub struct Target {
    place: Where,
    ssh: Option<Ssh>,
}

impl Target {
    /// Opens a machine; a connection is made with the first script.
    ///
    /// # Errors
    /// The host's name is none.
    pub fn open(place: Where) -> Result<Self, TargetError> {
        let ssh = place.host.as_ref().map(|host| Ssh::new(host, &place)).transpose()?;
        Ok(Self { place, ssh })
    }

    /// Which machine this is.
    #[must_use]
    pub fn place(&self) -> &Where {
        &self.place
    }

    /// Runs a script and gives what it wrote.
    ///
    /// # Errors
    /// The host cannot be reached, or the script ended with another code than 0.
    pub fn run(&self, doing: &str, script: &str) -> Result<String, TargetError> {
        self.run_with(doing, script, &[])
    }

    /// Runs a script that reads these bytes.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn run_with(&self, doing: &str, script: &str, input: &[u8]) -> Result<String, TargetError> {
        let mut child = self.start(script, Stdio::piped(), Stdio::piped())?;
        let mut stdin = child.stdin.take().expect("standard input was asked for");
        let mut stdout = child.stdout.take().expect("standard output was asked for");
        let mut stderr = child.stderr.take().expect("standard error was asked for");
        let (mut out, mut err) = (Vec::new(), Vec::new());
        // All three at once: a script that writes before it has read must not stand still.
        std::thread::scope(|scope| {
            scope.spawn(move || {
                // A script that ends before it has read everything says why on standard error.
                let _ = stdin.write_all(input);
            });
            scope.spawn(|| stderr.read_to_end(&mut err));
            stdout.read_to_end(&mut out)
        })
        .map_err(|cause| self.unstarted(cause))?;
        let status = child.wait().map_err(|cause| self.unstarted(cause))?;
        if status.success() {
            return Ok(String::from_utf8_lossy(&out).into_owned());
        }
        Err(self.failure(doing, status, &err))
    }

    /// Starts a script whose output is read as it comes.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(&self, script: &str, stdin: Stdio, stdout: Stdio) -> Result<Child, TargetError> {
        let mut command = self.command(script);
        command.stdin(stdin).stdout(stdout).stderr(Stdio::piped());
        command.spawn().map_err(|cause| self.unstarted(cause))
    }

    /// The command that runs a script there.
    #[must_use]
    pub fn command(&self, script: &str) -> Command {
        match &self.ssh {
            Some(ssh) => ssh.command(script),
            None => {
                let mut command = Command::new("sh");
                command.args(["-c", script]);
                command
            }
        }
    }

    /// Why a command of this machine did not start.
    #[must_use]
    pub fn unstarted(&self, cause: std::io::Error) -> TargetError {
        TargetError::Program { program: self.program(), cause }
    }

    /// Why a script that has ended failed.
    #[must_use]
    pub fn failure(&self, doing: &str, status: std::process::ExitStatus, stderr: &[u8]) -> TargetError {
        let text = String::from_utf8_lossy(stderr);
        let said = text.trim();
        if let Some(ssh) = self.ssh.as_ref().filter(|_| status.code() == Some(255)) {
            return ssh.failure(said);
        }
        let said = if said.is_empty() { format!("it ended with {status} and said nothing") } else { one_line(said) };
        TargetError::Failed { doing: doing.to_owned(), place: self.place.to_string(), said }
    }

    /// Lets a port of this machine lead to an address that is reached from there, for as long as the connection lasts.
    /// False where that is this machine, which needs no such thing.
    ///
    /// # Errors
    /// There is no connection, or it carries no ports.
    pub fn forward(&self, port: u16, to: &str) -> Result<bool, TargetError> {
        let Some(ssh) = &self.ssh else { return Ok(false) };
        let done = ssh.forward(port, to).output().map_err(|cause| self.unstarted(cause))?;
        if done.status.success() { Ok(true) } else { Err(self.failure("forwarding a port", done.status, &done.stderr)) }
    }

    /// Ends the connection, so that nothing is left of it.
    pub fn close(&self) {
        if let Some(ssh) = &self.ssh {
            ssh.close();
        }
    }

    fn program(&self) -> &'static str {
        if self.ssh.is_some() { "ssh" } else { "sh" }
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.close();
    }
}

/// Several lines as one sentence, without what would move the cursor.
pub(super) fn one_line(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let joined = lines.collect::<Vec<_>>().join("; ");
    joined.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here() -> Target {
        Target::open(Where::default()).unwrap()
    }

    #[test]
    fn a_script_reads_what_it_is_given_and_gives_what_it_writes() {
        let many = vec![b'x'; 1 << 20];
        assert_eq!(here().run_with("counting", "wc -c", &many).unwrap().trim(), "1048576");
        assert_eq!(here().run_with("copying", "cat", &many).unwrap().len(), 1 << 20);
        assert_eq!(here().run_with("not reading", "true", &many).unwrap(), "");
    }

    #[test]
    fn a_script_that_fails_says_so_in_its_own_words() {
        let failure = here().run("submitting", "echo bad account >&2; exit 1").unwrap_err();
        assert_eq!(failure.to_string(), "submitting on this machine failed: bad account");
        let silent = here().run("submitting", "exit 3").unwrap_err().to_string();
        assert!(silent.contains("exit status: 3"), "{silent}");
    }

    #[test]
    fn a_host_that_begins_like_an_option_is_no_host() {
        for host in ["-oProxyCommand=id", "", " "] {
            let opened = Target::open(Where { host: Some(host.into()), ..Where::default() });
            assert!(matches!(opened, Err(TargetError::NoHost { .. })), "{host:?}");
        }
    }
}
