//! The certificate of the public listener: read from files, and read again when they change.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::config::FileWatch;
use crate::net::tls::chain::{expiry, problems};
use crate::net::tls::{CertificatePair, TlsError, certificates, key};
use crate::server::shared::BridgeParts;
use crate::telemetry::metrics::timestamp;

const CERT: &str = "server.tls_cert_file";
const KEY: &str = "server.tls_key_file";

/// The current certificate.
#[derive(Debug)]
pub struct ServedCertificate(watch::Sender<Arc<CertifiedKey>>);

/// Resolves the current certificate for each new connection.
#[derive(Debug)]
struct Current(watch::Receiver<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.borrow()))
    }
}

/// Reads a certificate chain and its private key. They must belong together.
pub fn read(pair: &CertificatePair) -> Result<CertifiedKey, TlsError> {
    let chain = certificates(CERT, &pair.cert_file)?;
    let key = key(KEY, &pair.key_file)?;
    let provider = rustls::crypto::ring::default_provider();
    CertifiedKey::from_der(chain, key, &provider).map_err(|source| TlsError::Mismatch {
        cert_setting: CERT,
        key_setting: KEY,
        file: pair.cert_file.clone(),
        source,
    })
}

impl ServedCertificate {
    pub fn new(pair: &CertificatePair) -> Result<Self, TlsError> {
        Ok(Self(watch::Sender::new(Arc::new(read(pair)?))))
    }

    /// The TLS settings of a listener: TLS 1.2 and 1.3, HTTP/1.1.
    pub fn server_config(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Setup)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Current(self.0.subscribe())));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// Reads the files again when they or their settings change, until `stop`. A pair that cannot be
    /// used is logged once and changes nothing.
    pub async fn follow(self, bridge: BridgeParts, stop: CancellationToken) {
        let mut config = bridge.config.clone();
        loop {
            self.report(&bridge);
            let Some(pair) = config.borrow_and_update().server.tls.clone() else {
                return;
            };
            tokio::select! {
                () = stop.cancelled() => return,
                changed = config.changed() => if changed.is_err() { return },
                () = self.follow_files(&pair, &bridge) => {}
            }
        }
    }

    async fn follow_files(&self, pair: &CertificatePair, bridge: &BridgeParts) {
        let paths = vec![pair.cert_file.clone(), pair.key_file.clone()];
        let mut watched = FileWatch::new(paths);
        loop {
            watched.changed().await;
            let pair = pair.clone();
            match tokio::task::spawn_blocking(move || read(&pair)).await {
                Ok(Ok(read)) => self.replace(read, bridge),
                Ok(Err(why)) => warn!("the previous certificate stays in use: {why}"),
                Err(why) => warn!("the previous certificate stays in use: reading failed: {why}"),
            }
        }
    }

    /// Twilio says only in its console that it refuses a certificate.
    fn report(&self, bridge: &BridgeParts) {
        let chain = Arc::clone(&self.0.borrow());
        let hosts = bridge.config.borrow().server.https_hosts();
        let hosts: Vec<&str> = hosts.iter().map(|url| url.host.as_str()).collect();
        if let Some(expiry) = expiry(&chain.cert) {
            bridge.metrics.certificate_expiry().set(timestamp(expiry));
        }
        for problem in problems(&chain.cert, &hosts, bridge.clock.now()) {
            warn!("{CERT}: {problem}");
        }
    }

    fn replace(&self, read: CertifiedKey, bridge: &BridgeParts) {
        let is_new = self.0.send_if_modified(|current| {
            let is_new = current.cert != read.cert;
            if is_new {
                *current = Arc::new(read);
            }
            is_new
        });
        if is_new {
            info!("the certificate changed; new connections use it");
            self.report(bridge);
        }
    }
}
