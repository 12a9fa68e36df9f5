//! Mutual TLS 1.3 under the job's authority, and nothing else. The provider is passed everywhere: two
//! may be compiled in, and then the process's default is none.

use std::sync::Arc;

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    client::Resumption,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::ServerName,
    server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier},
    sign::CertifiedKey,
    version::TLS13,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::identity::{Authority, IdentityError, SERVER_NAME};

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn roots(authority: &Authority) -> Result<Arc<RootCertStore>, IdentityError> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate().clone()).map_err(refused)?;
    Ok(Arc::new(roots))
}

fn refused(error: impl std::fmt::Display) -> IdentityError {
    IdentityError::Certificate(error.to_string())
}

/// The name every leaf carries.
pub(crate) fn server_name() -> ServerName<'static> {
    ServerName::try_from(SERVER_NAME).expect("the constant is a DNS name")
}

/// The leader's end: only leaves of the same authority come in.
pub(crate) fn acceptor(authority: &Authority) -> Result<TlsAcceptor, IdentityError> {
    let leaf = authority.leaf()?;
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(authority)?, provider()).build().map_err(refused)?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(refused)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![leaf.certificate], leaf.key)
        .map_err(refused)?;
    config.send_tls13_tickets = 0; // a link lives as long as the run; there is nothing to resume
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// A node's end.
pub(crate) fn connector(authority: &Authority) -> Result<TlsConnector, IdentityError> {
    let leaf = authority.leaf()?;
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(refused)?
        .with_root_certificates(roots(authority)?)
        .with_client_auth_cert(vec![leaf.certificate], leaf.key)
        .map_err(refused)?;
    config.resumption = Resumption::disabled();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// An acceptor without a certificate: no handshake with it ever succeeds.
pub(crate) fn refuse_everyone() -> Result<TlsAcceptor, IdentityError> {
    let config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(refused)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(NoCertificate));
    Ok(TlsAcceptor::from(Arc::new(config)))
}

#[derive(Debug)]
struct NoCertificate;

impl ResolvesServerCert for NoCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        None
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    /// Both ends' view of a handshake followed by one byte each way.
    async fn greet(acceptor: TlsAcceptor, connector: TlsConnector) -> (std::io::Result<()>, std::io::Result<()>) {
        let (near, far) = duplex(16 * 1024);
        let server = async move {
            let mut stream = acceptor.accept(far).await?;
            stream.write_all(b"!").await?;
            stream.flush().await?;
            stream.read_u8().await.map(drop)
        };
        let client = async move {
            let mut stream = connector.connect(server_name(), near).await?;
            stream.write_all(b"?").await?;
            stream.flush().await?;
            stream.read_u8().await.map(drop)
        };
        tokio::join!(server, client)
    }

    #[tokio::test]
    async fn leaves_of_one_authority_meet() {
        let authority = Authority::create().unwrap();
        let read = Authority::from_pem(authority.certificate_pem(), &authority.key_pem()).unwrap();
        let (server, client) = greet(acceptor(&authority).unwrap(), connector(&read).unwrap()).await;
        server.unwrap();
        client.unwrap();
    }

    #[tokio::test]
    async fn a_leaf_of_another_authority_is_refused_by_both_ends() {
        let (one, other) = (Authority::create().unwrap(), Authority::create().unwrap());
        let (server, client) = greet(acceptor(&one).unwrap(), connector(&other).unwrap()).await;
        assert!(server.is_err());
        assert!(client.is_err());
    }

    #[tokio::test]
    async fn the_stub_refuses_even_the_right_leaf() {
        let authority = Authority::create().unwrap();
        let (server, client) = greet(refuse_everyone().unwrap(), connector(&authority).unwrap()).await;
        assert!(server.is_err());
        assert!(client.is_err());
    }
}
