//! Nodes before they are started: each is looked at, and has the leader's binary or is brought it.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use tokio::{io::AsyncWriteExt as _, sync::OnceCell};

use super::script;
use crate::{
    cli::BUILD,
    submit::{Binary, Target, TargetError, Where, found, probe_script},
};

/// A question to a node that takes longer than this is not answered any more.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// The binary is copied within this time.
const COPY_WITHIN: Duration = Duration::from_secs(600);
/// Nodes that are dealt with at once: behind a jump host all of them knock at one door.
const AT_ONCE: usize = 8;

/// What nodes are prepared with.
#[derive(Debug)]
pub struct Preparing {
    /// The hosts, in the order of ordinals.
    pub names: Vec<String>,
    /// A configuration for `ssh`.
    pub ssh_config: Option<PathBuf>,
    /// The binary that was named, if one was.
    pub binary: Option<PathBuf>,
    /// The folder there for a copy.
    pub remote_dir: String,
    /// The leader's own host, which needs no ssh.
    pub own_host: String,
    /// The run, which tells copies that are under way apart.
    pub run: String,
}

/// A node that can be started.
#[derive(Debug)]
pub struct Ready {
    /// Its name as it was written.
    pub name: String,
    /// Its place in the order of roles.
    pub ordinal: usize,
    /// The way to it.
    pub target: Arc<Target>,
    /// The binary there.
    pub binary: String,
    /// The address by which it was reached, if it told a usable one.
    pub address: Option<IpAddr>,
}

impl Preparing {
    /// Prepares all of them. Dropped, it ends what it began.
    ///
    /// # Errors
    /// Every node that cannot be started, each with its cause.
    pub async fn all(&self) -> Result<Vec<Ready>, String> {
        let copied = OnceCell::new();
        let each = self.names.iter().enumerate().map(|(ordinal, name)| {
            let copied = &copied;
            async move { (ordinal, name, self.one(ordinal, name, copied).await) }
        });
        let mut nodes: Vec<_> = stream::iter(each).buffer_unordered(AT_ONCE).collect().await;
        nodes.sort_by_key(|(ordinal, ..)| *ordinal);
        let of = nodes.len();
        let (mut ready, mut refused) = (Vec::new(), Vec::new());
        for (_, name, node) in nodes {
            match node {
                Ok(node) => ready.push(node),
                Err(why) => refused.push(format!("\n  {name}: {why}")),
            }
        }
        if refused.is_empty() {
            return Ok(ready);
        }
        Err(format!("{} of {of} nodes cannot be started over ssh:{}", refused.len(), refused.concat()))
    }

    async fn one(&self, ordinal: usize, name: &str, copied: &OnceCell<Binary>) -> Result<Ready, String> {
        let is_here = name == "localhost" || name == self.own_host;
        let place = Where { host: (!is_here).then(|| name.to_owned()), ssh_config: self.ssh_config.clone(), ..Where::default() };
        let target = Arc::new(Target::open(place).map_err(|error| error.to_string())?);
        let own = std::env::current_exe().map_err(|error| format!("cannot tell where this binary is: {error}"))?;
        let own_path = own.display().to_string();
        let said = run(&target, "looking around", &script::look(&own_path), &[], ANSWER_WITHIN).await?;
        let looked = script::looked(&said);
        let has_own = self.binary.is_none() && looked.build.as_deref() == Some(&version());
        let binary = match has_own {
            true => own_path,
            false => {
                let source = self.binary.clone().unwrap_or(own);
                let read = || async {
                    let read = tokio::task::spawn_blocking(move || Binary::read(&source)).await;
                    read.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
                };
                self.bring(name, ordinal, &target, copied.get_or_try_init(read).await?).await?
            }
        };
        Ok(Ready { name: name.to_owned(), ordinal, target, binary, address: looked.address })
    }

    /// Copies the binary, unless a whole copy is there.
    async fn bring(&self, name: &str, ordinal: usize, target: &Target, binary: &Binary) -> Result<String, String> {
        let said = run(target, "looking around", &probe_script(&self.remote_dir), &[], ANSWER_WITHIN).await?;
        let found = found(target, &said).map_err(|error| error.to_string())?;
        let path = binary.path_in(&found.remote_dir);
        let is_there = format!("if {}; then echo there; fi", binary.is_there(&path));
        if run(target, "looking for the binary", &is_there, &[], ANSWER_WITHIN).await?.trim() != "there" {
            let misfits = binary.misfits(&found);
            if !misfits.is_empty() {
                return Err(misfits.join("; "));
            }
            eprintln!("{name}: copying the binary ({} MiB) to {path}, where it stays for the next run", binary.bytes.len() >> 20);
            let folder = hb_core::launch::shell(Path::new(&path).parent().and_then(Path::to_str).unwrap_or(".")).into_owned();
            let put = binary.put(&path, &format!("{}-{ordinal}", self.run));
            let put = format!("umask 077 && mkdir -p -- {folder} && {put}");
            run(target, "copying the binary", &put, &binary.bytes, COPY_WITHIN).await?;
        }
        let ask = format!("{} --version", hb_core::launch::shell(&path));
        let said = run(target, "starting the binary", &ask, &[], ANSWER_WITHIN).await?;
        let said = said.lines().last().unwrap_or_default();
        if said != version() {
            return Err(format!(
                "`{}` is another build ({said}) than the leader ({}); lead with it, or name one of the same sources with --binary",
                binary.path.display(),
                version()
            ));
        }
        Ok(path)
    }
}

fn version() -> String {
    format!("hbnode {BUILD}")
}

/// Runs a script there and gives what it wrote. Dropped, it ends the command.
pub async fn run(target: &Target, doing: &str, script: &str, input: &[u8], within: Duration) -> Result<String, String> {
    let asked = tokio::time::timeout(within, asked(target, doing, script, input)).await;
    let asked = asked
        .map_err(|_| format!("{doing} got no answer within {} s; is its home folder or login file stuck?", within.as_secs()));
    asked?.map_err(|error| error.to_string())
}

async fn asked(target: &Target, doing: &str, script: &str, input: &[u8]) -> Result<String, TargetError> {
    let mut command = command(target, script);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|cause| target.unstarted(cause))?;
    let mut stdin = child.stdin.take().expect("standard input was asked for");
    let write = async {
        // A script that ends before it has read everything says why on standard error.
        let _ = stdin.write_all(input).await;
        drop(stdin);
    };
    let ((), output) = tokio::join!(write, child.wait_with_output());
    let output = output.map_err(|cause| target.unstarted(cause))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(target.failure(doing, output.status, &output.stderr))
}

/// The command, which a Ctrl-C on the leader's terminal does not reach and which ends with its value.
pub fn command(target: &Target, script: &str) -> tokio::process::Command {
    let mut command = tokio::process::Command::from(target.command(script));
    command.process_group(0).kill_on_drop(true);
    command
}

/// Where the leader listens, and by which of its addresses each node reaches it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// The address it listens on; all of them, where nodes come by several.
    pub bind: IpAddr,
    /// By ordinal.
    pub of_node: Vec<IpAddr>,
}

impl Reach {
    /// By the address that was named; else by the one that this machine would send from to each node; else by its own.
    #[must_use]
    pub fn of(nodes: &[Ready], named: Option<IpAddr>, own: IpAddr) -> Self {
        let towards = |node: &Ready| match (named, node.address) {
            (Some(named), _) => named,
            (None, Some(there)) => towards(there).unwrap_or(own),
            (None, None) => own,
        };
        Self::by(nodes.iter().map(towards).collect(), own)
    }

    fn by(of_node: Vec<IpAddr>, own: IpAddr) -> Self {
        let first = of_node.first().copied().unwrap_or(own);
        // An address that this machine has not is one that another passes on.
        let is_own = UdpSocket::bind((first, 0)).is_ok();
        let is_one = of_node.iter().all(|address| *address == first);
        let bind = if is_one && is_own { first } else { Ipv4Addr::UNSPECIFIED.into() };
        Self { bind, of_node }
    }
}

/// The address that this machine would send from; a connected datagram socket sends nothing.
fn towards(there: IpAddr) -> Option<IpAddr> {
    let any: IpAddr = if there.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { std::net::Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(SocketAddr::new(there, 9)).ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_that_come_by_one_address_leave_the_others_closed() {
        let here: IpAddr = Ipv4Addr::LOCALHOST.into();
        let elsewhere: IpAddr = "192.0.2.7".parse().unwrap();
        let bind = |of_node: &[IpAddr]| Reach::by(of_node.to_vec(), here).bind;
        assert_eq!(bind(&[here, here]), here);
        assert_eq!(bind(&[here, elsewhere]), Ipv4Addr::UNSPECIFIED);
        assert_eq!(bind(&[elsewhere]), Ipv4Addr::UNSPECIFIED, "an address that is translated");
        assert_eq!(towards(here), Some(here));
    }

    #[tokio::test]
    async fn all_nodes_that_cannot_be_started_are_named_at_once() {
        let preparing = Preparing {
            names: vec!["-oProxyCommand=id".into(), String::new()],
            ssh_config: None,
            binary: None,
            remote_dir: "hbnode".into(),
            own_host: "here".into(),
            run: "r".into(),
        };
        let why = preparing.all().await.unwrap_err();
        assert!(why.starts_with("2 of 2 nodes cannot be started over ssh:\n  -oProxyCommand=id: "), "{why}");
    }

    #[tokio::test]
    async fn a_script_that_never_ends_is_given_up_with_a_sentence() {
        let target = Target::open(Where::default()).unwrap();
        let why = run(&target, "looking around", "sleep 60", &[], Duration::from_millis(50)).await.unwrap_err();
        assert!(why.contains("no answer within"), "{why}");
    }
}
