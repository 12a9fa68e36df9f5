//! Whom the load trusts behind `https`: the system's certificate authorities, or those in `SSL_CERT_FILE`.

use std::sync::Arc;

use rustls::{ClientConfig, ConfigBuilder, WantsVerifier, client::WantsClientCert, crypto::aws_lc_rs};
use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio_rustls::TlsConnector;

use super::LoadError;

/// A connector that trusts what the system trusts.
pub(super) fn system() -> Result<TlsConnector, LoadError> {
    let verified = versions()?.with_platform_verifier().map_err(|error| LoadError::Tls(error.to_string()))?;
    Ok(connector(verified))
}

/// A connector that trusts these authorities alone.
#[cfg(test)]
pub(super) fn only(roots: rustls::RootCertStore) -> TlsConnector {
    connector(versions().unwrap().with_root_certificates(roots))
}

fn versions() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, LoadError> {
    // The provider is named: a process may hold two, and rustls then refuses to choose.
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    config.with_safe_default_protocol_versions().map_err(|error| LoadError::Tls(error.to_string()))
}

fn connector(verified: ConfigBuilder<ClientConfig, WantsClientCert>) -> TlsConnector {
    let mut config = verified.with_no_client_auth();
    // The load speaks HTTP/1.1; a server that may choose would choose HTTP/2.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config).into()
}
