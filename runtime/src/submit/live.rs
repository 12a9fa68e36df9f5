//! The live page of a job's run, reached through the connection to its login node.

use std::{net::TcpListener, time::Duration};

use hb_core::tally::Live;

use super::target::{Target, TargetError};
use crate::terminal;

/// How the leader tells where its page is.
const TOLD: &str = "live page: ";
/// A page that does not answer within this time is not there.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// A run's live page as seen from here.
#[derive(Debug)]
pub(super) struct LivePage {
    address: String,
    token: String,
    runtime: tokio::runtime::Runtime,
    client: reqwest::Client,
}

/// Why a page cannot be seen from here.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoPage {
    #[error(transparent)]
    Tunnel(#[from] TargetError),
    #[error("no port of this machine leads there: {0}")]
    Port(#[from] std::io::Error),
    #[error("no client can be made: {0}")]
    Client(#[from] reqwest::Error),
}

/// A command of the shell that writes the line of the job's output in which the leader tells where its page is.
pub(super) fn line_of(output: &str) -> String {
    format!("grep -h -m 1 '^{TOLD}' -- {output} 2>/dev/null")
}

impl LivePage {
    /// Opens a way to the page of which this line tells; `None` where it tells of none.
    pub fn open(target: &Target, line: &str) -> Option<Result<Self, NoPage>> {
        let (address, token) = line.strip_prefix(TOLD)?.trim().strip_prefix("http://")?.split_once("/?token=")?;
        Some(Self::reach(target, address, token))
    }

    fn reach(target: &Target, address: &str, token: &str) -> Result<Self, NoPage> {
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let address = if target.forward(port, address)? { format!("127.0.0.1:{port}") } else { address.to_owned() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let client = reqwest::Client::builder().no_proxy().timeout(ANSWERS_WITHIN).build()?;
        Ok(Self { address, token: token.to_owned(), runtime, client })
    }

    /// Where a browser on this machine finds it.
    pub fn url(&self) -> String {
        format!("http://{}/?token={}", self.address, self.token)
    }

    /// The figures of the trial under way, in a line; empty between trials.
    ///
    /// # Errors
    /// The page is gone, or the way to it.
    pub fn figures(&self) -> Result<String, reqwest::Error> {
        let url = format!("http://{}/api/live", self.address);
        let asked = self.client.get(url).bearer_auth(&self.token);
        let live: Live = self.runtime.block_on(async { asked.send().await?.error_for_status()?.json().await })?;
        Ok(if live.trial.is_some() { terminal::figures(&live) } else { String::new() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::submit::Where;

    #[test]
    fn a_line_that_tells_of_no_page_opens_none() {
        let here = Target::open(Where::default()).unwrap();
        for line in ["", "live page: ", "live page: http://10.1.1.1:4000/", "the live page: http://a:1/?token=t"] {
            assert!(LivePage::open(&here, line).is_none(), "{line}");
        }
        let page = LivePage::open(&here, "live page: http://127.0.0.1:1/?token=t\n").unwrap().unwrap();
        assert_eq!(page.url(), "http://127.0.0.1:1/?token=t", "this machine reaches it as it is");
        assert!(page.figures().is_err());
    }
}
