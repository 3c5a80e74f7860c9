//! Whom outgoing TLS connections trust: the system's authorities, and a private one beside them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{Error as PemError, PemObject as _};
use rustls::{ClientConfig, RootCertStore};

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("acquire.ca_file {}: cannot be read as PEM", .file.display())]
    CaUnreadable { file: PathBuf, source: PemError },
    #[error("acquire.ca_file {}: holds no certificate", .0.display())]
    CaEmpty(PathBuf),
    #[error("acquire.ca_file {}: holds a certificate that cannot be used", .file.display())]
    CaUnusable {
        file: PathBuf,
        source: rustls::Error,
    },
    #[error(
        "no certificate authority is known: install the system's (ca-certificates) or set \
         acquire.ca_file"
    )]
    NoAuthorities,
    #[error("TLS cannot be set up")]
    Setup(#[source] rustls::Error),
}

/// Verifies certificates against the system's authorities and those of `ca_file` (PEM).
///
/// One of the system's that cannot be used is left out; one of `ca_file` is an error.
pub fn trusting(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(file) = ca_file {
        for certificate in certificates(file)? {
            let unusable = |source| TlsError::CaUnusable {
                file: file.to_owned(),
                source,
            };
            roots.add(certificate).map_err(unusable)?;
        }
    }
    if roots.is_empty() {
        return Err(TlsError::NoAuthorities);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Setup)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let unreadable = |source| TlsError::CaUnreadable {
        file: file.to_owned(),
        source,
    };
    let certificates = CertificateDer::pem_file_iter(file)
        .map_err(unreadable)?
        .collect::<Result<Vec<_>, _>>()
        .map_err(unreadable)?;
    if certificates.is_empty() {
        return Err(TlsError::CaEmpty(file.to_owned()));
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ca_file_is_read_or_named_in_the_error() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let file = folder.path().join("ca.pem");
        let told = || {
            let error = certificates(&file).expect_err("there is no certificate");
            assert!(error.to_string().contains("ca.pem"), "{error}");
            error
        };
        assert!(matches!(told(), TlsError::CaUnreadable { .. }));
        std::fs::write(&file, "no certificate\n").expect("the file can be written");
        assert!(matches!(told(), TlsError::CaEmpty(_)));
    }
}
