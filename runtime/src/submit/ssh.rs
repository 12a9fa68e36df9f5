//! The person's own `ssh`: its configuration, agent, jump hosts. One connection carries all scripts.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use hb_core::launch::shell;
use tempfile::TempDir;

use super::target::{TargetError, Where, one_line};

/// One host, and the folder with the socket of the connection to it, which goes with this value.
#[derive(Debug)]
pub struct Ssh {
    host: String,
    words: Vec<String>,
    folder: TempDir,
}

/// Where the folder lies: the path of a socket may have 107 bytes at most, and a personal TMPDIR may be long.
const PLACE: &str = "/tmp";
const PREFIX: &str = "hbnode-ssh-";
/// The socket's name in its folder.
const SOCKET: &str = "s";
/// A folder that has been empty for so long is of a process that was killed: `ssh` takes its socket along, not the folder.
const LEFT_AFTER: Duration = Duration::from_secs(60);

impl Ssh {
    /// Prepares for a host.
    ///
    /// # Errors
    /// A name that would be read as an option, or no folder for the connection's socket.
    pub fn new(host: &str, place: &Where) -> Result<Self, TargetError> {
        if host.trim().is_empty() || host.starts_with('-') {
            return Err(TargetError::NoHost { host: host.to_owned() });
        }
        remove_left(Path::new(PLACE));
        // Its owner's alone: whoever could put a socket of their own at the path first would be taken for the host.
        let owner_only = Permissions::from_mode(0o700);
        let cause = |cause| TargetError::File { doing: "create a folder in", path: PLACE.into(), cause };
        let folder = tempfile::Builder::new().prefix(PREFIX).permissions(owner_only).tempdir_in(PLACE).map_err(cause)?;
        let socket = folder.path().join(SOCKET).display().to_string();
        Ok(Self { host: host.to_owned(), words: words(place, &socket), folder })
    }

    /// The command that runs a script there, as a person would read it.
    #[must_use]
    pub fn shown(host: &str, place: &Where, script: &str) -> Vec<String> {
        let mut shown = vec!["ssh".to_owned()];
        shown.extend(words(place, "/tmp/hbnode-ssh-…/s"));
        shown.extend(["--".to_owned(), host.to_owned(), remote(script)]);
        shown
    }

    /// The command that runs a script there.
    pub fn command(&self, script: &str) -> Command {
        let mut command = self.plain();
        command.arg("--").arg(&self.host).arg(remote(script));
        command
    }

    /// The command that lets a port of this machine lead to an address there, over the connection that is open.
    pub fn forward(&self, port: u16, to: &str) -> Command {
        let mut command = self.plain();
        command.args(["-O", "forward", "-L", &format!("127.0.0.1:{port}:{to}"), "--"]).arg(&self.host).stdin(Stdio::null());
        command
    }

    /// Why `ssh` itself failed.
    pub fn failure(&self, said: &str) -> TargetError {
        let advice = ADVICE.iter().find(|(words, _)| words.iter().any(|word| said.contains(word)));
        let advice = advice.map_or("try it by hand: `ssh -o BatchMode=yes HOST true`", |(_, advice)| advice);
        // The frame that it draws around what is most important says nothing on one line.
        let lines: Vec<&str> = said.lines().map(|line| line.trim_matches(['@', ' '])).collect();
        let said = if said.is_empty() { "ssh ended with 255 and said nothing".to_owned() } else { one_line(&lines.join("\n")) };
        TargetError::Unreachable { host: self.host.clone(), said, advice }
    }

    /// Ends the connection.
    pub fn close(&self) {
        // Where no connection was made there is none to end.
        if !self.folder.path().join(SOCKET).exists() {
            return;
        }
        let mut command = self.plain();
        command.args(["-O", "exit", "--"]).arg(&self.host);
        let _ = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    }

    fn plain(&self) -> Command {
        let mut command = Command::new("ssh");
        command.args(&self.words);
        command
    }
}

fn words(place: &Where, socket: &str) -> Vec<String> {
    let mut words = Vec::new();
    if let Some(config) = &place.ssh_config {
        words.extend(["-F".to_owned(), config.display().to_string()]);
    }
    let options = [
        // A question that nobody answers would hang.
        "BatchMode=yes",
        "ConnectTimeout=15",
        "ServerAliveInterval=10",
        "ServerAliveCountMax=3",
        "ControlMaster=auto",
        // Of a process that is killed the connection stays behind for so long.
        "ControlPersist=15",
        &format!("ControlPath={socket}"),
    ];
    words.extend(options.into_iter().flat_map(|option| ["-o".to_owned(), option.to_owned()]));
    if let Some(user) = &place.user {
        words.extend(["-l".to_owned(), user.clone()]);
    }
    if let Some(key) = &place.key {
        words.extend(["-i".to_owned(), key.display().to_string()]);
    }
    words
}

/// Removes the empty folders that killed processes of this user left. A folder that is not empty, or another's, stays.
fn remove_left(place: &Path) {
    for entry in fs::read_dir(place).into_iter().flatten().flatten() {
        let is_left =
            || entry.metadata().and_then(|data| data.modified()).is_ok_and(|at| at.elapsed().is_ok_and(|age| age > LEFT_AFTER));
        if entry.file_name().to_string_lossy().starts_with(PREFIX) && is_left() {
            // It may be in use, or another user's.
            let _ = fs::remove_dir(entry.path());
        }
    }
}

/// The login shell there may be any; the script is for `sh`.
fn remote(script: &str) -> String {
    format!("exec sh -c {}", shell(script))
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
        "the key is refused: load the right one with `ssh-add`, or name it and the user in ~/.ssh/config (for `hbnode run` also in \
         MLUX_KEY and MLUX_USER)",
    ),
    (&["Connection refused"], "nothing listens there: is the port right? ssh://host:8822 names one"),
    (
        &["timed out", "No route to host", "Network is unreachable"],
        "it does not answer from here: is a VPN or a jump host (`ProxyJump`) needed?",
    ),
    (&["Can't open user config file"], "is the path of --ssh-config right?"),
    (&["not responding", "closed by remote host", "Broken pipe"], "the connection was lost: try again"),
];

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
    }

    #[test]
    fn the_socket_lies_in_a_folder_of_its_owner_alone_that_goes_with_the_connection() {
        let ssh = ssh();
        let option = ssh.words.iter().find_map(|word| word.strip_prefix("ControlPath=")).unwrap();
        // `ssh` binds it under a longer name first: a dot and 16 letters.
        assert!(option.len() + 17 <= 107, "{option}");
        let folder = std::path::Path::new(option).parent().unwrap().to_owned();
        assert_eq!(std::fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
        drop(ssh);
        assert!(!folder.exists());
    }

    #[test]
    fn an_empty_folder_that_a_killed_process_left_is_removed_and_one_in_use_is_not() {
        let place = tempfile::tempdir().unwrap();
        let made = |name: &str| {
            let folder = place.path().join(name);
            fs::create_dir(&folder).unwrap();
            folder
        };
        let (left, used, new, other) =
            (made("hbnode-ssh-left"), made("hbnode-ssh-used"), made("hbnode-ssh-new"), made("another"));
        fs::write(used.join(SOCKET), "").unwrap();
        for folder in [&left, &used, &other] {
            fs::File::open(folder).unwrap().set_modified(std::time::SystemTime::now() - LEFT_AFTER * 2).unwrap();
        }
        remove_left(place.path());
        assert_eq!([&left, &used, &new, &other].map(|folder| folder.exists()), [false, true, true, true]);
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
    }
}
