//! A made-up authority, and servers with certificates of its own.

use std::io::Write as _;
use std::sync::Arc;

use rcgen::{BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tempfile::NamedTempFile;
use twilio_acquire_bridge::net::tls::CertificatePair;

pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// Whom a server lets in.
#[derive(Clone, Copy)]
pub enum Clients<'a> {
    All,
    CertifiedBy(&'a Authority),
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new([]).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("a certificate"))
    }

    /// What `acquire.ca_file` names.
    pub fn file(&self) -> NamedTempFile {
        file(&self.0.pem())
    }

    fn issues(&self, name: &str) -> (Certificate, KeyPair) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new([name.to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        (certificate, key)
    }

    /// A server of this name.
    pub fn server(&self, name: &str, clients: Clients<'_>) -> Arc<ServerConfig> {
        let (certificate, key) = self.issues(name);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("ring speaks TLS");
        let builder = match clients {
            Clients::All => builder.with_no_client_auth(),
            Clients::CertifiedBy(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(authority.0.der().clone()).expect("a certificate");
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().expect("a verifier"))
            }
        };
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("it is a key");
        let config = builder.with_single_cert(vec![certificate.der().clone()], key);
        Arc::new(config.expect("key and certificate belong together"))
    }

    /// A client certificate as the settings name it; the files live as long as the returned folder.
    pub fn client(&self) -> (CertificatePair, [NamedTempFile; 2]) {
        let (certificate, key) = self.issues("bridge");
        let files = [file(&certificate.pem()), file(&key.serialize_pem())];
        let [cert_file, key_file] = files.each_ref().map(|file| file.path().to_owned());
        let settings = CertificatePair {
            cert_file,
            key_file,
        };
        (settings, files)
    }
}

pub fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().expect("a file can be made");
    file.write_all(text.as_bytes())
        .expect("a file can be written");
    file
}
