//! Asks servers for their own counts, before a trial's load and after it: whether somebody else asks them, and whether
//! they are still the processes that they were. Whoever does not tell is left out; nothing fails for it.

use std::{collections::BTreeSet, time::Duration};

use hb_core::{counted::ServerCounts, http_version::HttpVersion, trial::ServiceSpec};
use hb_services::exposition::{Taken, taken};
use reqwest::Client;

use crate::{server_manager::own_headers::OwnHeaders, trust};

/// The time that all servers have together; the load waits for it.
const LIMIT: Duration = Duration::from_millis(500);
/// Several processes behind one URL are found out by asking more than once, each time on a new connection.
const TIMES: usize = 3;
/// The longest exposition that is read.
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// The servers of one trial.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    /// Base URLs, by ordinal.
    pub urls: Vec<String>,
    /// What they serve.
    pub service: ServiceSpec,
    /// Those of the URLs behind which only HTTP/2 is spoken.
    pub http2: BTreeSet<String>,
}

impl Asked {
    /// The counts of those that tell.
    pub(super) async fn counts(&self) -> Vec<ServerCounts> {
        // Where nobody is trusted the load itself says so.
        let Ok(trusted) = trust::of_urls(self.urls.iter().map(String::as_str)) else { return Vec::new() };
        let client = |version| trust::asking(trusted.clone(), version).pool_max_idle_per_host(0).build();
        let (Ok(http1), Ok(http2)) = (client(HttpVersion::Http1), client(HttpVersion::Http2)) else { return Vec::new() };
        // A header that cannot be read fails the load itself, with its sentence.
        let own = OwnHeaders::read(&self.service).ok().flatten();
        let asked = self.urls.iter().zip(0..).map(|(url, server)| {
            let client = if self.http2.contains(url) { &http2 } else { &http1 };
            let own = own.as_ref();
            async move {
                let told = tokio::time::timeout(LIMIT, agreed(client, url, own)).await.ok().flatten()?;
                let Taken { started, prompts, queued, prefix_cache, drafted } = told;
                Some(ServerCounts { server, started, prompts, queued, prefix_cache, drafted })
            }
        });
        futures_util::future::join_all(asked).await.into_iter().flatten().collect()
    }
}

/// What one URL tells, if it tells the same each time.
async fn agreed(client: &Client, url: &str, own: Option<&OwnHeaders>) -> Option<Taken> {
    let mut last: Option<Taken> = None;
    for _ in 0..TIMES {
        let told = once(client, url, own).await?;
        if last.is_some_and(|last| last.started != told.started || told.prompts < last.prompts) {
            return None;
        }
        last = Some(told);
    }
    last.filter(|told| told.started.is_some() || told.prompts.is_some() || told.drafted.is_some())
}

async fn once(client: &Client, url: &str, own: Option<&OwnHeaders>) -> Option<Taken> {
    // Endpoints are often written with the `/v1` of their operations.
    let base = url.trim_end_matches('/');
    let mut request = client.get(format!("{}/metrics", base.strip_suffix("/v1").unwrap_or(base)));
    if let Some(own) = own {
        request = request.headers(own.map());
    }
    let mut answer = request.send().await.ok()?.error_for_status().ok()?;
    let mut text = Vec::new();
    while let Some(bytes) = answer.chunk().await.ok()? {
        text.extend_from_slice(&bytes);
        if text.len() > MOST_BYTES {
            return None;
        }
    }
    Some(taken(&String::from_utf8_lossy(&text)))
}
