//! TLS before a server that speaks none, under a certificate of an authority that nobody else has heard of.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer},
};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
};
use tokio_rustls::TlsAcceptor;

use super::Scene;

/// A door with TLS that leads to a plain server; it closes with this value.
pub struct Secured {
    /// Its port of this machine.
    pub port: u16,
    /// Its authority's certificate.
    pub authority: PathBuf,
    _runtime: Runtime,
}

impl Secured {
    /// Opens one before `plain`, with a certificate made out to this name.
    pub fn before(scene: &Scene, plain: &str, name: &str) -> Self {
        Self::speaking(scene, plain, name, &[])
    }

    /// The same where these versions of HTTP alone are spoken behind it, by their names in TLS.
    pub fn speaking(scene: &Scene, plain: &str, name: &str, versions: &[&str]) -> Self {
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let (key, authority_key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let pem = authority.self_signed(&authority_key).unwrap().pem();
        let leaf = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let leaf = leaf.signed_by(&key, &Issuer::new(authority, &authority_key)).unwrap();
        Self::with(scene, plain, leaf.der().clone(), &key, &pem, versions)
    }

    /// The same with a certificate that nobody else signed, as `openssl req -x509` makes it; it is its own authority.
    pub fn of_itself(scene: &Scene, plain: &str, name: &str) -> Self {
        let mut own = CertificateParams::new(vec![name.to_owned()]).unwrap();
        own.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let own = own.self_signed(&key).unwrap();
        Self::with(scene, plain, own.der().clone(), &key, &own.pem(), &[])
    }

    fn with(
        scene: &Scene,
        plain: &str,
        leaf: CertificateDer<'static>,
        key: &KeyPair,
        authority: &str,
        versions: &[&str],
    ) -> Self {
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let mut config = config.with_single_cert(vec![leaf], key).unwrap();
        config.alpn_protocols = versions.iter().map(|version| version.as_bytes().to_vec()).collect();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let port = listener.local_addr().unwrap().port();
        runtime.spawn(keep_open(listener, acceptor, plain.parse().unwrap()));
        Self { port, authority: scene.file(&format!("authority-{port}.pem"), authority), _runtime: runtime }
    }
}

async fn keep_open(listener: TcpListener, acceptor: TlsAcceptor, plain: SocketAddr) {
    while let Ok((stream, _)) = listener.accept().await {
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            // Who does not trust the certificate goes away here.
            let Ok(mut secure) = acceptor.accept(stream).await else { return };
            let Ok(mut plain) = TcpStream::connect(plain).await else { return };
            // Either side may hang up at any time.
            let _ = tokio::io::copy_bidirectional(&mut secure, &mut plain).await;
        });
    }
}
