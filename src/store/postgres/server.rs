//! The database server: its address, its TLS, and how long to wait for it.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use tokio_postgres_rustls::MakeRustlsConnect;

use super::tls;
use crate::config::postgres::PostgresUrl;
use crate::store::sql::Session;
use crate::store::{OpenError, StoreError};

/// To open and set up a connection, over all hosts of the URL.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// A server that connections are made to.
#[derive(Clone)]
pub(super) struct PgServer {
    pub url: PostgresUrl,
    pub tls: MakeRustlsConnect,
    /// For one operation, its wait for the connection included.
    pub timeout: Duration,
    /// Connections that are down. Shared by all connections of a store, so that an outage is logged
    /// once, when the first one fails and when the last one is back.
    pub down: Arc<AtomicUsize>,
}

impl PgServer {
    pub fn new(url: &PostgresUrl, timeout: Duration) -> Result<Self, OpenError> {
        let tls = tls::connector(&url.trust).map_err(|source| OpenError::Tls {
            url: url.to_string(),
            source: Box::new(source),
        })?;
        Ok(Self {
            url: url.clone(),
            tls,
            timeout,
            down: Arc::default(),
        })
    }

    /// The connection lives as long as the current local set runs.
    pub async fn connect(&self) -> Result<Session, StoreError> {
        let (client, connection) = self.url.config.connect(self.tls.clone()).await?;
        Ok(Session::new(client, connection))
    }

    pub fn unusable(&self, why: &dyn std::fmt::Display) -> OpenError {
        OpenError::Database {
            url: self.url.to_string(),
            why: why.to_string(),
        }
    }

    /// A runtime on the current thread, for this server's connections.
    pub fn runtime(&self) -> Result<tokio::runtime::Runtime, OpenError> {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| self.unusable(&format!("no thread for it: {error}")))
    }
}
