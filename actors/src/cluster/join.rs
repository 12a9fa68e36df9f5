//! A node's end: waits for the join file, and then for the leader that wrote it.

use std::{path::PathBuf, time::Duration};

use ractor::{Actor, ActorRef, pg};
use ractor_cluster::NodeServerMessage;
use tokio::{
    sync::{mpsc::UnboundedSender, oneshot},
    time::Instant,
};

use super::{
    AGENTS,
    ask::InboxHandle,
    events::{JoinError, NodeLinkEvent, PeerId},
    identity::Authority,
    join_file::{JoinFile, JoinFileError},
    node_link::{LinkArguments, NodeLink, NodeLinkMsg},
    server, tls,
};
use crate::messages::{AgentMsg, SCOPE};

/// The pause between two looks for the join file, which may lie on a shared file system.
const POLL: Duration = Duration::from_millis(200);
/// Time for our own actors to end.
const END: Duration = Duration::from_secs(2);

/// Where the secrets of the cluster come from.
#[derive(Debug, Clone)]
pub enum JoinSource {
    /// A file that the leader writes, perhaps later.
    File(PathBuf),
    /// They were handed over.
    Value(Box<JoinFile>),
}

/// A node of another build is there for so long: the leader asks it who it is, and turns it away.
const KNOCK: Duration = Duration::from_secs(2);

/// How to join.
#[derive(Debug, Clone)]
pub struct JoinOptions {
    /// Where the secrets come from.
    pub source: JoinSource,
    /// Another `host:port` than the join file's.
    pub address: Option<String>,
    /// Time from now until the leader must be found, the wait for the file included.
    pub deadline: Duration,
    /// Our build.
    pub build: String,
    /// The real host name.
    pub host: String,
    /// The ordinal we claim.
    pub ordinal: Option<u32>,
    /// The life of this process.
    pub incarnation: u64,
}

/// A node that has joined. Its link ends when this is dropped; [`Joined::end`] also waits for it.
pub struct Joined {
    /// What was joined with.
    pub file: JoinFile,
    /// The leader's Inbox as it was found first; later ones come as events.
    pub inbox: InboxHandle,
    link: ActorRef<NodeLinkMsg>,
    server: ActorRef<NodeServerMessage>,
}

/// Joins, and stays: the link is made anew whenever it closes, until the leader is away for too long.
///
/// # Errors
/// Why there is no leader; the process exits with 4.
pub async fn join(
    options: JoinOptions,
    agent: ActorRef<AgentMsg>,
    events: UnboundedSender<NodeLinkEvent>,
) -> Result<Joined, JoinError> {
    let started = Instant::now();
    let file = secrets(&options.source, options.deadline).await?;
    // A node of another build knocks all the same, so that the leader can say who was turned away and why.
    let is_other_build = file.build != options.build;
    let left = options.deadline.saturating_sub(started.elapsed());
    let local = |error: &dyn std::fmt::Display| JoinError::Local(error.to_string());
    let authority = Authority::from_pem(&file.ca_certificate_pem, &file.ca_key_pem).map_err(|e| local(&e))?;
    let connector = tls::connector(&authority).map_err(|e| local(&e))?;
    // Before there is a session: it tells its peer of the members there are when it becomes ready.
    pg::join_scoped(SCOPE.into(), AGENTS.into(), vec![agent.get_cell()]);
    let name = PeerId::of(&options.host, options.ordinal, options.incarnation);
    let server = server::start(&name, &options.host, &file.cookie).await.map_err(|e| local(&e))?;
    let (first, found) = oneshot::channel();
    let arguments = LinkArguments {
        server: server.clone(),
        address: options.address.unwrap_or_else(|| file.address.clone()),
        connector,
        deadline: if is_other_build { left.min(KNOCK) } else { left },
        seed: options.incarnation,
        events,
        first,
    };
    let link = match Actor::spawn(None, NodeLink, arguments).await {
        Ok((link, _)) => link,
        Err(error) => {
            server.stop(None);
            return Err(local(&error));
        }
    };
    match found.await {
        Ok(Ok(inbox)) if !is_other_build => Ok(Joined { file, inbox, link, server }),
        failed => {
            if is_other_build {
                tokio::time::sleep(KNOCK).await;
            }
            link.stop(None);
            server.stop(None);
            match failed {
                _ if is_other_build => Err(JoinError::OtherBuild { ours: options.build, theirs: file.build }),
                Ok(Err(error)) => Err(error),
                _ => Err(JoinError::Local("the link's actor ended".to_owned())),
            }
        }
    }
}

/// Waits for a file that is missing, and for nothing else: it comes by rename, so what is there is whole.
async fn secrets(source: &JoinSource, deadline: Duration) -> Result<JoinFile, JoinError> {
    let path = match source {
        JoinSource::Value(file) => return Ok((**file).clone()),
        JoinSource::File(path) => path,
    };
    let started = Instant::now();
    loop {
        match JoinFile::read(path) {
            Ok(file) => return Ok(file),
            Err(JoinFileError::Missing { .. }) if started.elapsed() < deadline => tokio::time::sleep(POLL).await,
            Err(JoinFileError::Missing { path }) => return Err(JoinError::NoFile { path, waited: started.elapsed() }),
            Err(error) => return Err(error.into()),
        }
    }
}

impl Joined {
    /// Ends the link, without a word to the leader: whoever was dismissed goes so.
    pub async fn end(self) {
        if self.link.stop_and_wait(None, Some(END)).await.is_err() {
            tracing::debug!("the node's link had ended before");
        }
        if self.server.stop_and_wait(None, Some(END)).await.is_err() {
            tracing::warn!("the node server did not end in time");
        }
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        self.link.stop(None);
        self.server.stop(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_file_that_never_comes_is_named_with_the_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("join.json");
        let error = secrets(&JoinSource::File(path.clone()), Duration::from_secs(120)).await.unwrap_err();
        assert!(matches!(error, JoinError::NoFile { path: named, waited } if named == path && waited.as_secs() == 120));
    }
}
