//! Whom this node trusts behind `https`: the system's certificate authorities, or those of `SSL_CERT_FILE` and
//! `SSL_CERT_DIR` in their place. The load and the questions before it ask here, so that both trust the same.

mod named;

use std::{env, error::Error, sync::Arc};

use hb_core::http_version::HttpVersion;
use rustls::{AlertDescription, CertificateError, ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier, crypto::aws_lc_rs};

use self::named::NamedToo;

/// The variable that names a file of authorities.
const FILE: &str = "SSL_CERT_FILE";

/// Nobody is trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// The file that was named holds no authority, or there is none.
    #[error("no certificate authority can be read from `{path}`, which the variable {FILE} names: {why}")]
    Named {
        /// The file.
        path: String,
        /// What was wrong.
        why: String,
    },
    /// The system has none.
    #[error("this node knows no certificate authority ({0}); name a file of them in the variable {FILE}")]
    Unknown(String),
}

/// A configuration that trusts what the system trusts.
///
/// # Errors
/// There is no authority, or the file that was named cannot be used.
pub(crate) fn system() -> Result<ClientConfig, TrustError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = NamedToo::new(provider, env::var(FILE).ok().as_deref()).map_err(|error| without_authority(&error))?;
    let verified = versions().dangerous().with_custom_certificate_verifier(Arc::new(verifier));
    Ok(verified.with_no_client_auth())
}

/// A configuration for these URLs. Where no TLS is spoken, nobody needs to know an authority.
///
/// # Errors
/// As [`system`], where one of them is behind `https`.
pub(crate) fn of_urls<'a>(urls: impl IntoIterator<Item = &'a str>) -> Result<ClientConfig, TrustError> {
    let is_any_secure = urls.into_iter().any(|url| url.starts_with("https://"));
    if is_any_secure { system() } else { Ok(only(RootCertStore::empty())) }
}

/// A configuration that trusts these authorities alone.
pub(crate) fn only(roots: RootCertStore) -> ClientConfig {
    versions().with_root_certificates(roots).with_no_client_auth()
}

/// The same configuration for one version of HTTP.
pub(crate) fn speaking(mut config: ClientConfig, version: HttpVersion) -> ClientConfig {
    // Only one is offered: most servers that may choose choose HTTP/2, and it is for those that have nothing else.
    config.alpn_protocols = vec![match version {
        HttpVersion::Http1 => b"http/1.1".to_vec(),
        HttpVersion::Http2 => b"h2".to_vec(),
    }];
    config
}

/// A client for questions in this version of HTTP. It goes past a proxy of the environment, as the load does, and follows
/// nobody elsewhere.
pub(crate) fn asking(trusted: ClientConfig, version: HttpVersion) -> reqwest::ClientBuilder {
    let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    let client = client.tls_backend_preconfigured(speaking(trusted, version));
    match version {
        HttpVersion::Http1 => client.http1_only(),
        HttpVersion::Http2 => client.http2_prior_knowledge(),
    }
}

/// Whether a server said in the TLS handshake that it does not speak the version of HTTP that was offered.
pub(crate) fn is_other_version(error: &(dyn Error + 'static)) -> bool {
    matches!(of_tls(error), Some(rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol)))
}

/// What is wrong with a server's certificate or its TLS, if that is why asking it failed: it will be so again.
pub(crate) fn refused(error: &(dyn Error + 'static)) -> Option<String> {
    of_tls(error).and_then(in_words)
}

/// The error of TLS that is behind an error.
fn of_tls<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(error) = cause.downcast_ref::<rustls::Error>() {
            return Some(error);
        }
        // An `io::Error` hides what it was made of from `source`.
        let inner = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        next = inner.map(|inner| inner as &(dyn Error + 'static)).or_else(|| cause.source());
    }
    None
}

fn in_words(error: &rustls::Error) -> Option<String> {
    use CertificateError as Bad;
    let of_name = "its certificate is made out to another name";
    let sentence = match error {
        // Another authority of the same name signed it otherwise.
        rustls::Error::InvalidCertificate(Bad::UnknownIssuer | Bad::BadSignature) => {
            format!("its certificate is of an authority that is not trusted here; {}", advice())
        }
        rustls::Error::InvalidCertificate(Bad::NotValidForName) => of_name.to_owned(),
        rustls::Error::InvalidCertificate(Bad::NotValidForNameContext { expected, presented }) => {
            let name = expected.to_str();
            format!("{of_name} than {name}: {}", presented.join(", "))
        }
        rustls::Error::InvalidCertificate(Bad::Expired | Bad::ExpiredContext { .. }) => "its certificate has expired".to_owned(),
        rustls::Error::InvalidCertificate(Bad::NotValidYet | Bad::NotValidYetContext { .. }) => {
            "its certificate is not valid yet, by this node's clock".to_owned()
        }
        rustls::Error::InvalidCertificate(Bad::Other(_)) => {
            format!("its certificate is one of an authority, or is made for another use than a server's; {}", advice())
        }
        rustls::Error::InvalidCertificate(other) => format!("its certificate cannot be trusted: {other}"),
        rustls::Error::InvalidMessage(_) => "it does not speak TLS there; should the URL begin with http://?".to_owned(),
        _ => return None,
    };
    Some(sentence)
}

/// What to do where a certificate is not trusted.
fn advice() -> String {
    let Ok(path) = env::var(FILE) else {
        return format!("name the file of that authority, or of the certificate itself, in the variable {FILE}");
    };
    match std::fs::metadata(&path) {
        Ok(_) => {
            format!("the file `{path}`, which the variable {FILE} names, holds neither that authority nor the certificate itself")
        }
        Err(error) => format!("the file `{path}`, which the variable {FILE} names, cannot be read: {error}"),
    }
}

fn versions() -> ConfigBuilder<ClientConfig, WantsVerifier> {
    // The provider is named: a process may hold two, and rustls then refuses to choose.
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    config.with_safe_default_protocol_versions().expect("the provider has cipher suites for TLS 1.2 and 1.3")
}

fn without_authority(error: &rustls::Error) -> TrustError {
    match env::var(FILE) {
        Ok(path) => {
            let why = match std::fs::metadata(&path) {
                Ok(_) => "it holds no certificate in PEM".to_owned(),
                Err(error) => error.to_string(),
            };
            TrustError::Named { path, why }
        }
        Err(_) => TrustError::Unknown(error.to_string()),
    }
}
