//! A door to a server that writes down what is asked.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    runtime::{Builder, Runtime},
};

/// The JSON bodies that came through, each with its path, in the order of their ends.
type Heard = Arc<Mutex<Vec<(String, Value)>>>;

/// A relay before a server; it closes with this value.
pub struct Relay {
    address: SocketAddr,
    heard: Heard,
    _runtime: Runtime,
}

impl Relay {
    /// Opens one before `server`, which is an address.
    pub fn before(server: &str) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let (address, heard) = (listener.local_addr().unwrap(), Heard::default());
        runtime.spawn(keep_open(listener, server.parse().unwrap(), heard.clone()));
        Self { address, heard, _runtime: runtime }
    }

    /// Its base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The bodies that were sent to this path.
    pub fn bodies(&self, path: &str) -> Vec<Value> {
        let heard = self.heard.lock().unwrap();
        heard.iter().filter(|(to, _)| to == path).map(|(_, body)| body.clone()).collect()
    }
}

async fn keep_open(listener: TcpListener, server: SocketAddr, heard: Heard) {
    while let Ok((client, _)) = listener.accept().await {
        let heard = heard.clone();
        tokio::spawn(async move {
            let Ok(server) = TcpStream::connect(server).await else { return };
            let (asking, mut told) = client.into_split();
            let (mut answering, mut asked) = server.into_split();
            // Either side may hang up at any time.
            tokio::spawn(async move { tokio::io::copy(&mut answering, &mut told).await });
            let _ = listen(asking, &mut asked, &heard).await;
        });
    }
}

/// Passes on what comes, and keeps each body once it is whole.
async fn listen(mut asking: OwnedReadHalf, asked: &mut OwnedWriteHalf, heard: &Heard) -> std::io::Result<()> {
    let (mut seen, mut piece) = (Vec::new(), [0; 16 * 1024]);
    loop {
        let read = asking.read(&mut piece).await?;
        if read == 0 {
            return asked.shutdown().await;
        }
        seen.extend_from_slice(&piece[..read]);
        while let Some(end) = seen.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&seen[..end]).into_owned();
            let length =
                head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
            let body = end + 4..end + 4 + length.unwrap_or(0);
            if seen.len() < body.end {
                break;
            }
            let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
            // Noted before it is passed on, so that whoever has the answer finds the question here.
            heard.lock().unwrap().push((path, serde_json::from_slice(&seen[body.clone()]).unwrap_or_default()));
            seen.drain(..body.end);
        }
        asked.write_all(&piece[..read]).await?;
    }
}
