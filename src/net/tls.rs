//! TLS for outgoing connections: the trusted authorities and the client certificate. It also reads
//! the certificate files of the bridge's own listener.
//!
//! It opens no connection; `handshake` does.

pub mod chain;
pub mod handshake;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WantsClientCert;
use rustls::pki_types::pem::{Error as PemError, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};

const DATABASE_CA: &str = "sslrootcert of store.url";
const CLIENT_CERT: &str = "acquire.client_cert_file";
const CLIENT_KEY: &str = "acquire.client_key_file";

/// A certificate chain and its key, each a PEM file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificatePair {
    pub cert_file: PathBuf,
    pub key_file: PathBuf,
}

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{setting} {}: cannot be read as PEM: {why}", .file.display())]
    Unreadable {
        setting: &'static str,
        file: PathBuf,
        why: PemError,
    },
    #[error("{setting} {}: holds no certificate", .file.display())]
    Empty {
        setting: &'static str,
        file: PathBuf,
    },
    #[error("{setting} {}: holds a certificate that cannot be used: {why}", .file.display())]
    CaUnusable {
        setting: &'static str,
        file: PathBuf,
        why: rustls::Error,
    },
    #[error("{cert_setting} {}: its certificate and the key of {key_setting} do not go together", .file.display())]
    Mismatch {
        cert_setting: &'static str,
        key_setting: &'static str,
        file: PathBuf,
        source: rustls::Error,
    },
    #[error(
        "no certificate authority is known: install the system's (ca-certificates) or set \
         acquire.ca_file or twilio.ca_file (for the database: sslrootcert in store.url)"
    )]
    NoAuthorities,
    #[error("TLS cannot be set up")]
    Setup(#[source] rustls::Error),
}

/// Private certificate authorities: a PEM file, and the setting that names it.
#[derive(Clone, Copy, Debug)]
pub struct PrivateCa<'a> {
    pub setting: &'static str,
    pub file: &'a Path,
}

/// A client that trusts the system's authorities and `private` ones, and that has the certificate
/// `client` for servers that request one.
///
/// An unusable certificate of the system is ignored; one of `private` is an error.
pub fn client_config(
    private: Option<PrivateCa<'_>>,
    client: Option<&CertificatePair>,
) -> Result<Arc<ClientConfig>, TlsError> {
    let mut roots = system_roots();
    if let Some(private) = private {
        add(private, &mut roots)?;
    }
    let builder = verifying(roots)?;
    let mut config = match client {
        None => builder.with_no_client_auth(),
        Some(CertificatePair {
            cert_file,
            key_file,
        }) => builder
            .with_client_auth_cert(
                certificates(CLIENT_CERT, cert_file)?,
                key(CLIENT_KEY, key_file)?,
            )
            .map_err(|source| TlsError::Mismatch {
                cert_setting: CLIENT_CERT,
                key_setting: CLIENT_KEY,
                file: cert_file.clone(),
                source,
            })?,
    };
    // HTTP/1.1 only: AwcResponseFix cannot read HTTP/2.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// A client for the database: it trusts only the authorities of `file` (PEM) if one is given, else
/// the system's, as libpq does with `sslrootcert`.
pub fn database_client_config(file: Option<&Path>) -> Result<ClientConfig, TlsError> {
    let roots = match file {
        None => system_roots(),
        Some(file) => {
            let mut roots = RootCertStore::empty();
            let setting = DATABASE_CA;
            add(PrivateCa { setting, file }, &mut roots)?;
            roots
        }
    };
    Ok(verifying(roots)?.with_no_client_auth())
}

fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

fn add(
    PrivateCa { setting, file }: PrivateCa<'_>,
    roots: &mut RootCertStore,
) -> Result<(), TlsError> {
    for certificate in certificates(setting, file)? {
        let unusable = |why| TlsError::CaUnusable {
            setting,
            file: file.to_owned(),
            why,
        };
        roots.add(certificate).map_err(unusable)?;
    }
    Ok(())
}

fn verifying(
    roots: RootCertStore,
) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, TlsError> {
    if roots.is_empty() {
        return Err(TlsError::NoAuthorities);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Setup)?;
    Ok(builder.with_root_certificates(roots))
}

pub(crate) fn certificates(
    setting: &'static str,
    file: &Path,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let unreadable = unreadable(setting, file);
    let certificates = CertificateDer::pem_file_iter(file)
        .map_err(&unreadable)?
        .collect::<Result<Vec<_>, _>>()
        .map_err(unreadable)?;
    if certificates.is_empty() {
        let file = file.to_owned();
        return Err(TlsError::Empty { setting, file });
    }
    Ok(certificates)
}

pub(crate) fn key(setting: &'static str, file: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(file).map_err(unreadable(setting, file))
}

fn unreadable(setting: &'static str, file: &Path) -> impl Fn(PemError) -> TlsError {
    let file = file.to_owned();
    move |why| TlsError::Unreadable {
        setting,
        file: file.clone(),
        why,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ca_file_is_read_or_named_in_the_error() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let file = folder.path().join("ca.pem");
        let error = || {
            let error =
                certificates("acquire.ca_file", &file).expect_err("there is no certificate");
            assert!(error.to_string().contains("ca.pem"), "{error}");
            error
        };
        assert!(matches!(error(), TlsError::Unreadable { .. }));
        std::fs::write(&file, "no certificate\n").expect("the file can be written");
        assert!(matches!(error(), TlsError::Empty { .. }));
    }
}
