//! A server as the load sees it: where it is, what stands in every request's head, and the idle connections to it.

use std::{
    net::SocketAddr,
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;
use hb_core::{http_version::HttpVersion, record::Kind};
use http_body_util::Full;
use hyper::{
    Method, Request, Uri,
    header::{CONTENT_TYPE, HOST, HeaderMap, HeaderValue},
};
use rustls::pki_types::ServerName;
use tokio::{
    net::TcpStream,
    sync::OnceCell,
    time::{Instant, timeout_at},
};
use tokio_rustls::TlsConnector;

use super::{
    LoadError,
    connection::{Link, Stream},
    ending::Ending,
    unread::ReceiveQueues,
};
use crate::{limits, server_manager::own_headers::OwnHeaders};

/// One server of the trial.
pub(super) struct Server {
    host: String,
    port: u16,
    version: HttpVersion,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    uri: Uri,
    headers: HeaderMap,
    addresses: OnceCell<Vec<SocketAddr>>,
    /// The one used last is taken first: it is the least likely to have been closed.
    idle: Mutex<Vec<Link>>,
    queues: ReceiveQueues,
    /// Told when the server is gone.
    pub ending: Ending,
}

impl Server {
    /// `trust` is asked for a connector only where the URL wants TLS.
    pub fn new(
        url: &str,
        path: &str,
        own: Option<&OwnHeaders>,
        version: HttpVersion,
        queues: ReceiveQueues,
        trust: impl FnOnce() -> Result<TlsConnector, LoadError>,
    ) -> Result<Self, LoadError> {
        let refuse = |why: &str| LoadError::Url { url: url.to_owned(), why: why.to_owned() };
        let parsed: Uri = url.parse().map_err(|error| refuse(&format!("{error}")))?;
        let is_secure = match parsed.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(refuse("it must begin with http:// or https://")),
        };
        let authority = parsed.authority().ok_or_else(|| refuse("it names no host"))?;
        if authority.as_str().contains('@') {
            return Err(refuse("a name or password in it is not used; name the key by servers.api_key_env"));
        }
        // Endpoints are often written with the `/v1` that the operation's path has, too.
        let base = parsed.path().trim_end_matches('/');
        let base = if path.starts_with("/v1/") { base.strip_suffix("/v1").unwrap_or(base) } else { base };
        let header = HeaderValue::from_str(authority.as_str()).map_err(|_| refuse("its host cannot stand in a header"))?;
        let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        // HTTP/2 takes scheme and host from the URI, and has no such header.
        let uri = match version {
            HttpVersion::Http1 => {
                headers.insert(HOST, header);
                format!("{base}{path}")
            }
            HttpVersion::Http2 => format!("{}://{authority}{base}{path}", if is_secure { "https" } else { "http" }),
        };
        let uri = uri.parse().map_err(|error| refuse(&format!("{error}")))?;
        if let Some(own) = own {
            headers.extend(own.map());
        }
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let tls = if is_secure {
            let name = ServerName::try_from(host.clone()).map_err(|_| refuse("its host cannot stand in a certificate"))?;
            Some((trust()?, name))
        } else {
            None
        };
        Ok(Self {
            host,
            port: authority.port_u16().unwrap_or(if is_secure { 443 } else { 80 }),
            version,
            tls,
            uri,
            headers,
            addresses: OnceCell::new(),
            idle: Mutex::default(),
            queues,
            ending: Ending::default(),
        })
    }

    pub fn request(&self, body: Bytes) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }

    /// An idle connection that is still open, as far as can be seen.
    pub fn idle(&self) -> Option<Link> {
        loop {
            let mut link = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
            if link.is_ready() {
                return Some(link);
            }
        }
    }

    /// Takes a connection back that has carried an answer, if it can serve again.
    pub fn keep(&self, mut link: Link) {
        link.rest();
        if link.is_ready() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(link);
        }
    }

    /// Opens a connection ahead of the request that will want it, if that can be done by `deadline`. Where it cannot, the
    /// request itself will find out.
    pub async fn connect_ahead(&self, deadline: Instant) {
        if let Ok(link) = self.connect(deadline).await {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(link);
        }
    }

    pub async fn connect(&self, deadline: Instant) -> Result<Link, Kind> {
        let opening = Instant::now();
        let connecting = async {
            let addresses = self.addresses.get_or_try_init(|| async {
                let found: Vec<_> = tokio::net::lookup_host((self.host.as_str(), self.port))
                    .await
                    .map_err(|error| kind(&error, Kind::Resolve))?
                    .collect();
                if found.is_empty() { Err(Kind::Resolve) } else { Ok(found) }
            });
            let stream = TcpStream::connect(addresses.await?.as_slice()).await.map_err(|error| kind(&error, Kind::Connect))?;
            stream.set_nodelay(true).map_err(|_| Kind::Connect)?;
            let place = self.queues.enter(&stream);
            let stream = match &self.tls {
                None => Stream::Plain(stream),
                Some((connector, name)) => {
                    let secured = connector.connect(name.clone(), stream).await;
                    Stream::Tls(Box::new(secured.map_err(|error| {
                        tracing::warn!(host = self.host, %error, "no TLS with a server");
                        Kind::Tls
                    })?))
                }
            };
            let mut link = Link::new(stream, place, self.version).await?;
            link.opened_in = opening.elapsed().into();
            Ok(link)
        };
        timeout_at(deadline, connecting).await.unwrap_or(Err(Kind::ConnectTimeout))
    }
}

/// What it means that there is no connection.
fn kind(error: &std::io::Error, otherwise: Kind) -> Kind {
    if limits::is_exhausted(error) { Kind::ClientLimit } else { otherwise }
}
