//! The job's certificate authority and the leaves that processes mint for themselves. One authority is
//! one run: whoever holds its key, which only the join file tells, belongs to it.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use rustls::{
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

/// The one name in every certificate. Names of hosts prove nothing here, and are not known beforehand.
pub const SERVER_NAME: &str = "hbnode.internal";

/// Why the authority cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The certificate library refused.
    #[error("cannot make the job's certificates: {0}")]
    Certificate(String),
    /// A text is no certificate or key.
    #[error("the job's {what} cannot be read: {why}")]
    Pem {
        /// Which.
        what: &'static str,
        /// Why.
        why: String,
    },
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    NoRandomness,
}

impl From<rcgen::Error> for IdentityError {
    fn from(error: rcgen::Error) -> Self {
        Self::Certificate(error.to_string())
    }
}

/// The job's certificate authority.
pub struct Authority {
    certificate: CertificateDer<'static>,
    certificate_pem: String,
    key: KeyPair,
}

/// A process's own certificate and key.
pub(crate) struct Leaf {
    /// The certificate alone: the authority is known to every verifier.
    pub(crate) certificate: CertificateDer<'static>,
    /// Its key.
    pub(crate) key: PrivateKeyDer<'static>,
}

impl Authority {
    /// Makes a new one.
    ///
    /// # Errors
    /// If the certificate library refuses.
    pub fn create() -> Result<Self, IdentityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = authority_params().self_signed(&key)?;
        Ok(Self { certificate_pem: certificate.pem(), certificate: certificate.der().clone(), key })
    }

    /// Reads one back from a join file's texts.
    ///
    /// # Errors
    /// If a text is not what it should be.
    pub fn from_pem(certificate_pem: &str, key_pem: &str) -> Result<Self, IdentityError> {
        let certificate = CertificateDer::from_pem_slice(certificate_pem.as_bytes())
            .map_err(|e| IdentityError::Pem { what: "CA certificate", why: e.to_string() })?;
        let key = KeyPair::from_pem(key_pem).map_err(|e| IdentityError::Pem { what: "CA key", why: e.to_string() })?;
        Ok(Self { certificate, certificate_pem: certificate_pem.to_owned(), key })
    }

    /// The certificate as text.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The key as text.
    #[must_use]
    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// The certificate.
    pub(crate) fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Mints a certificate for this process, good for both ends of a link.
    pub(crate) fn leaf(&self) -> Result<Leaf, IdentityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::new(vec![SERVER_NAME.to_owned()])?;
        params.distinguished_name = named("hbnode");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        // The issuer is rebuilt from constant parameters, so that no certificate has to be parsed for it.
        let certificate = params.signed_by(&key, &Issuer::new(authority_params(), &self.key))?;
        let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(|e| IdentityError::Certificate(e.to_owned()))?;
        Ok(Leaf { certificate: certificate.der().clone(), key })
    }
}

fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = named("hbnode job");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

/// Thirty-two random bytes from the system, as hexadecimal: a cookie, or a token.
///
/// # Errors
/// If the system gives none.
pub fn random_secret() -> Result<String, IdentityError> {
    let mut bytes = [0; 32];
    let random = aws_lc_rs::default_provider().secure_random;
    random.fill(&mut bytes).map_err(|_| IdentityError::NoRandomness)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_survives_its_texts() {
        let made = Authority::create().unwrap();
        let read = Authority::from_pem(made.certificate_pem(), &made.key_pem()).unwrap();
        assert_eq!(read.certificate(), made.certificate());
        read.leaf().unwrap();
    }

    #[test]
    fn garbage_is_no_authority() {
        let made = Authority::create().unwrap();
        assert!(matches!(Authority::from_pem("", &made.key_pem()), Err(IdentityError::Pem { what: "CA certificate", .. })));
        assert!(matches!(Authority::from_pem(made.certificate_pem(), "secret"), Err(IdentityError::Pem { what: "CA key", .. })));
    }

    #[test]
    fn secrets_are_long_and_differ() {
        let (one, other) = (random_secret().unwrap(), random_secret().unwrap());
        assert_eq!(one.len(), 64);
        assert_ne!(one, other);
    }
}
