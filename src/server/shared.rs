//! What the listeners share with the rest of a running bridge.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::{Notify, watch};

use crate::clock::Clock;
use crate::config::Config;
use crate::domain::plan::Rules;
use crate::net::tls::TlsError;
use crate::store::Store;
use crate::telemetry::metrics::Metrics;

/// Why a listener cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error("cannot listen on {address} ({key})")]
    Bind {
        /// The setting that names the address.
        key: &'static str,
        address: SocketAddr,
        source: std::io::Error,
    },
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// The parts that listeners, the delivery worker and background tasks of one bridge share.
#[derive(Clone)]
pub struct BridgeParts {
    /// The current configuration: a reload replaces it.
    pub config: watch::Receiver<Arc<Config>>,
    pub store: Arc<dyn Store>,
    pub clock: Clock,
    pub metrics: Arc<Metrics>,
    /// Notified when a call has become due.
    pub due: Arc<Notify>,
    /// The current rules: the directory of e-mails may change without a reload.
    pub rules: watch::Receiver<Arc<Rules>>,
}
