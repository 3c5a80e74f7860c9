//! `check --online`: can Acquire be reached from here, and is its certificate trusted?
//!
//! Nothing is posted: the connection is closed after the handshake.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::config::url::HttpUrl;
use crate::config::{Acquire, Config};

/// One line for each place that was reached; stops at the first that was not.
pub(super) fn reach(config: &Config) -> anyhow::Result<Vec<String>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(reach_acquire(config))
}

async fn reach_acquire(config: &Config) -> anyhow::Result<Vec<String>> {
    let mut urls: Vec<String> = config
        .accounts
        .iter()
        .map(|account| config.acquire.base_url_of(account))
        .collect();
    urls.sort();
    urls.dedup();
    let tls = TlsConnector::from(Arc::new(trusted(&config.acquire)?));
    let mut lines = Vec::with_capacity(urls.len());
    for base in urls {
        let line = connect(&base, &tls, config.delivery.timeout)
            .await
            .with_context(|| format!("{base} cannot be reached (acquire.base_url)"))?;
        lines.push(line);
    }
    Ok(lines)
}

async fn connect(base: &str, tls: &TlsConnector, limit: Duration) -> anyhow::Result<String> {
    let url = HttpUrl::parse(base).map_err(|why| anyhow!("it {why}"))?;
    let handshake = async {
        let tcp = TcpStream::connect((url.host.as_str(), url.port)).await?;
        let peer = tcp.peer_addr()?;
        if !url.is_https {
            return Ok(format!("{base} is reached at {peer}, without TLS"));
        }
        let name = ServerName::try_from(url.host.clone())?;
        tls.connect(name, tcp).await?;
        Ok(format!(
            "{base} is reached at {peer}, its certificate is trusted"
        ))
    };
    tokio::time::timeout(limit, handshake)
        .await
        .map_err(|_| anyhow!("no answer within delivery.timeout"))?
}

/// The system's roots and `acquire.ca_file`, as deliveries use them.
fn trusted(acquire: &Acquire) -> anyhow::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(file) = &acquire.ca_file {
        let unreadable = || {
            format!(
                "acquire.ca_file = \"{}\" holds no readable certificate",
                file.display()
            )
        };
        let own: Vec<_> = CertificateDer::pem_file_iter(file)
            .and_then(Iterator::collect)
            .with_context(unreadable)?;
        anyhow::ensure!(!own.is_empty(), unreadable());
        for certificate in own {
            roots.add(certificate).with_context(unreadable)?;
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}
