//! The Dummy as a process of its own, and its own counters.

use std::collections::BTreeMap;

use super::{Running, Scene, get};

/// A Dummy that runs; it ends with this value.
pub struct Dummy {
    _process: Running,
    /// Its `host:port`.
    pub address: String,
    is_http2: bool,
}

impl Dummy {
    /// Starts one with these flags, on a port of its own.
    pub fn start(scene: &Scene, flags: &[&str]) -> Self {
        Self::start_at(scene, "0", flags)
    }

    /// Starts one on this port.
    pub fn start_at(scene: &Scene, port: &str, flags: &[&str]) -> Self {
        let mut process = scene.start(&[&["dummy", "--port", port], flags].concat());
        let url = process.word_after("answers at ");
        let is_http2 = flags.contains(&"--http2=true");
        Self { _process: process, address: url.trim_start_matches("http://").to_owned(), is_http2 }
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Everything it counted, under the names of its `/metrics`, without their common beginning.
    pub fn counters(&self) -> BTreeMap<String, u64> {
        let page = if self.is_http2 { self.page_in_http2() } else { get(&self.address, "/metrics").body };
        let rows = page.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once(' '));
        // Times are no counts.
        rows.filter_map(|(name, count)| Some((name.strip_prefix("dummy_server_")?.to_owned(), count.parse().ok()?))).collect()
    }

    /// Its `/metrics`, where it is asked in HTTP/2 alone.
    fn page_in_http2(&self) -> String {
        let client = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { client.get(format!("{}/metrics", self.url())).send().await.unwrap().text().await.unwrap() })
    }

    /// Requests for tokens that came in, over all paths.
    pub fn received(&self) -> u64 {
        let is_received = |name: &str| name.starts_with("requests_received_total");
        self.counters().iter().filter(|(name, _)| is_received(name)).map(|(_, count)| count).sum()
    }
}
