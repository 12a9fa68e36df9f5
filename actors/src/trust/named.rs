//! A server's own certificate, named in the file of authorities: what `openssl req -x509` makes, and what most private
//! servers have. Its maker marked it as an authority, and an authority may not stand for a server by itself.

use std::sync::Arc;

use rustls::{
    CertificateError, DigitallySignedStruct, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
    server::ParsedCertificate,
};
use rustls_platform_verifier::Verifier;

/// Trusts what the system trusts, and the very certificates of one file.
#[derive(Debug)]
pub(super) struct NamedToo {
    system: Verifier,
    named: Vec<CertificateDer<'static>>,
}

impl NamedToo {
    /// The system's authorities, and the certificates in this file, if there is one and it can be read.
    ///
    /// # Errors
    /// There is no authority at all.
    pub fn new(provider: Arc<CryptoProvider>, file: Option<&str>) -> Result<Self, rustls::Error> {
        let read = |file: &str| CertificateDer::pem_file_iter(file).map(|found| found.flatten().collect());
        // A file that cannot be read is told by the system's own look at it.
        let named = file.and_then(|file| read(file).ok()).unwrap_or_default();
        Ok(Self { system: Verifier::new(provider)?, named })
    }
}

impl ServerCertVerifier for NamedToo {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let judged = self.system.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        // Another name or time has a word of its own; `Other` is left for a certificate of the wrong kind.
        let is_of_another_kind = matches!(judged, Err(rustls::Error::InvalidCertificate(CertificateError::Other(_))));
        if !is_of_another_kind || !self.named.iter().any(|named| named.as_ref() == end_entity.as_ref()) {
            return judged;
        }
        verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.system.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.system.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.system.supported_verify_schemes()
    }
}
