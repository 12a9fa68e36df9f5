//! The person's own `ssh`: its configuration, agent, jump hosts. One connection carries all scripts.

use std::{
    fs::DirBuilder,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use hb_core::launch::shell;

use super::target::{TargetError, Where, one_line};

/// One host, and the folder of the connection's socket.
#[derive(Debug)]
pub struct Ssh {
    host: String,
    words: Vec<String>,
    folder: PathBuf,
}

impl Ssh {
    /// Prepares for a host.
    ///
    /// # Errors
    /// A name that would be read as an option, or no folder for the socket.
    pub fn new(host: &str, place: &Where) -> Result<Self, TargetError> {
        if host.trim().is_empty() || host.starts_with('-') {
            return Err(TargetError::NoHost { host: host.to_owned() });
        }
        let folder = socket_folder()?;
        let mut words = Vec::new();
        if let Some(config) = &place.ssh_config {
            words.extend(["-F".to_owned(), config.display().to_string()]);
        }
        let options = [
            // A question that nobody answers would hang.
            "BatchMode=yes".to_owned(),
            "ConnectTimeout=15".to_owned(),
            "ServerAliveInterval=10".to_owned(),
            "ServerAliveCountMax=3".to_owned(),
            "ControlMaster=auto".to_owned(),
            "ControlPersist=60".to_owned(),
            format!("ControlPath={}", folder.join("socket").display()),
        ];
        words.extend(options.into_iter().flat_map(|option| ["-o".to_owned(), option]));
        if let Some(user) = &place.user {
            words.extend(["-l".to_owned(), user.clone()]);
        }
        if let Some(key) = &place.key {
            words.extend(["-i".to_owned(), key.display().to_string()]);
        }
        Ok(Self { host: host.to_owned(), words, folder })
    }

    /// The command that runs a script there. The login shell there may be any; the script is for `sh`.
    pub fn command(&self, script: &str) -> Command {
        let mut command = self.plain();
        command.arg("--").arg(&self.host).arg(format!("exec sh -c {}", shell(script)));
        command
    }

    /// Why `ssh` itself failed.
    pub fn failure(&self, said: &str) -> TargetError {
        let advice = ADVICE.iter().find(|(words, _)| words.iter().any(|word| said.contains(word)));
        let advice = advice.map_or("try it by hand: `ssh -o BatchMode=yes HOST true`", |(_, advice)| advice);
        let said = if said.is_empty() { "ssh ended with 255 and said nothing".to_owned() } else { one_line(said) };
        TargetError::Unreachable { host: self.host.clone(), said, advice }
    }

    /// Ends the connection and removes its folder.
    pub fn close(&self) {
        if !self.folder.exists() {
            return;
        }
        // Where no connection was made there is none to end, which `ssh` then says on standard error.
        let mut command = self.plain();
        command.args(["-O", "exit", "--"]).arg(&self.host);
        let _ = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        if let Err(error) = std::fs::remove_dir_all(&self.folder) {
            tracing::debug!(%error, "the folder of the connection's socket could not be removed");
        }
    }

    fn plain(&self) -> Command {
        let mut command = Command::new("ssh");
        command.args(&self.words);
        command
    }
}

/// What `ssh` says, and what to do.
const ADVICE: &[(&[&str], &str)] = &[
    (
        &["Could not resolve hostname", "Name or service not known"],
        "is the name right? It may be a `Host` of ~/.ssh/config, `user@host`, or ssh://user@host:port",
    ),
    (
        &["REMOTE HOST IDENTIFICATION HAS CHANGED"],
        "the host's key is another than before: ask its administrators, then `ssh-keygen -R HOST`",
    ),
    (&["Host key verification failed"], "the host is not known yet: log in once by hand with `ssh` and compare its key"),
    (
        &["Permission denied", "Too many authentication failures"],
        "the key is refused: name the right one in MLUX_KEY, the user in MLUX_USER, or load the key with `ssh-add`",
    ),
    (&["Connection refused"], "nothing listens there: is the port right? ssh://host:8822 names one"),
    (
        &["timed out", "No route to host", "Network is unreachable"],
        "it does not answer from here: is a VPN or a jump host (`ProxyJump`) needed?",
    ),
    (&["Can't open user config file"], "is the path of --ssh-config right?"),
    (&["not responding", "closed by remote host", "Broken pipe"], "the connection was lost: try again"),
];

/// A folder of one's own with a short path: a socket's may have 107 bytes at most.
fn socket_folder() -> Result<PathBuf, TargetError> {
    let name = uuid::Uuid::now_v7().simple().to_string();
    let folder = Path::new("/tmp").join(format!("hbnode-ssh-{}", &name[name.len() - 12..]));
    let failed = |cause| TargetError::File { doing: "create", path: folder.clone(), cause };
    DirBuilder::new().mode(0o700).create(&folder).map_err(failed)?;
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ssh() -> Ssh {
        Ssh::new("login", &Where { user: Some("u".into()), key: Some("/k".into()), ..Where::default() }).unwrap()
    }

    #[test]
    fn no_question_is_asked_and_the_script_is_one_word() {
        let ssh = ssh();
        let command = ssh.command("echo 'a b'; $x");
        let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
        assert!(words.contains(&"BatchMode=yes".to_owned()));
        assert_eq!(words[words.len() - 3..words.len() - 1], ["--", "login"]);
        assert_eq!(words[words.len() - 1], r#"exec sh -c 'echo '\''a b'\''; $x'"#);
        ssh.close();
        assert!(!ssh.folder.exists());
    }

    #[test]
    fn what_ssh_says_comes_with_what_to_do() {
        let ssh = ssh();
        let check = |said: &str, part: &str| {
            let sentence = ssh.failure(said).to_string();
            assert!(sentence.contains(part) && sentence.contains("`login`"), "{sentence}");
        };
        check("ssh: Could not resolve hostname nope: Name or service not known", "~/.ssh/config");
        check("u@login: Permission denied (publickey).", "MLUX_KEY");
        check("WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!\nHost key verification failed.", "ssh-keygen -R");
        check("Host key verification failed.", "log in once by hand");
        check("ssh: connect to host login port 22: Connection refused", "port");
        check("", "try it by hand");
        ssh.close();
    }
}
