//! Which version of HTTP a server speaks: HTTP/1.1 wherever it is answered, and HTTP/2 where nothing else is. It is found
//! out once, here, and the load is told.

use std::{sync::OnceLock, time::Duration};

use hb_core::http_version::HttpVersion;
use reqwest::{Client, Response, StatusCode};
use rustls::ClientConfig;
use tokio::time::timeout;

use crate::trust;

/// The time a question about the version has.
const LIMIT: Duration = Duration::from_secs(5);

/// A client for each version, and which of them the server speaks.
pub(super) struct Clients {
    http1: Client,
    http2: Client,
    found: OnceLock<HttpVersion>,
}

impl Clients {
    pub fn new(trusted: &ClientConfig) -> reqwest::Result<Self> {
        let of = |version| trust::asking(trusted.clone(), version).build();
        Ok(Self { http1: of(HttpVersion::Http1)?, http2: of(HttpVersion::Http2)?, found: OnceLock::new() })
    }

    /// What is spoken with it, as far as is known.
    pub fn version(&self) -> HttpVersion {
        self.found.get().copied().unwrap_or_default()
    }

    /// The client to ask it with.
    pub fn client(&self) -> &Client {
        match self.version() {
            HttpVersion::Http1 => &self.http1,
            HttpVersion::Http2 => &self.http2,
        }
    }

    /// Whether what came of a question in HTTP/1.1 is why `url` turns out to speak HTTP/2 and nothing else. A server that is
    /// still starting may close a connection, too: so it must answer in HTTP/2 and then still not in HTTP/1.1.
    pub async fn is_other(&self, url: &str, came: &reqwest::Result<Response>) -> bool {
        if self.version() == HttpVersion::Http2 || !leaves_open(came) {
            return false;
        }
        let answers = async |client: &Client| timeout(LIMIT, client.get(url).send()).await.ok();
        let is_it = matches!(answers(&self.http2).await, Some(Ok(_)))
            && answers(&self.http1).await.is_some_and(|came| leaves_open(&came));
        if is_it {
            tracing::info!(url, "a server speaks HTTP/2 and no HTTP/1.1");
            self.found.get_or_init(|| HttpVersion::Http2);
        }
        is_it
    }
}

/// Whether it may be that HTTP/1.1 is not spoken: somebody took the connection and answered otherwise, or not at all.
fn leaves_open(came: &reqwest::Result<Response>) -> bool {
    match came {
        Ok(answer) => matches!(answer.status(), StatusCode::UPGRADE_REQUIRED | StatusCode::HTTP_VERSION_NOT_SUPPORTED),
        Err(error) if error.is_connect() => trust::is_other_version(error),
        Err(error) => error.is_request(),
    }
}
