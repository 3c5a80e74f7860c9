//! Where a call is requeued: in the store, or through the bridge that owns it.
//!
//! It does not choose the calls, and knows no rate (`paced`).

use std::sync::Arc;

use crate::cli::admin_client::{AdminClient, AdminClientError};
use crate::clock::Clock;
use crate::config::{Config, StoreUrl};
use crate::store::{self, OpenError, Store, StoreError};
use crate::twilio::CallSid;

/// The component that requeues calls.
pub enum RequeueTarget<'a> {
    /// A SQLite file that no bridge owns.
    File(Arc<dyn Store>),
    /// A PostgreSQL database, which bridges poll.
    Shared(Arc<dyn Store>),
    /// The admin listener of the bridge that owns the SQLite file.
    Bridge(AdminClient<'a>),
}

impl<'a> RequeueTarget<'a> {
    pub fn open(config: &'a Config) -> Result<Self, OpenError> {
        match (store::open(&config.store.url), &config.store.url) {
            (Ok(store), StoreUrl::Sqlite(_)) => Ok(Self::File(store)),
            (Ok(store), StoreUrl::Postgres(_)) => Ok(Self::Shared(store)),
            (Err(OpenError::InUse { .. }), _) => Ok(Self::Bridge(AdminClient::of(&config.admin))),
            (Err(why), _) => Err(why),
        }
    }

    /// Whether a bridge may send calls while others are requeued.
    pub fn is_served(&self) -> bool {
        !matches!(self, Self::File(_))
    }

    /// Requeues a call; `false` if there is no such call.
    pub async fn requeue(&self, sid: &CallSid) -> Result<bool, RequeueError> {
        match self {
            Self::File(store) | Self::Shared(store) => {
                Ok(store.requeue(sid, Clock::system().now()).await?)
            }
            Self::Bridge(bridge) => post(bridge, sid).await,
        }
    }
}

/// Why a call could not be requeued.
#[derive(Debug, thiserror::Error)]
pub enum RequeueError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    AdminFailed(#[from] AdminClientError),
    #[error("the bridge on {0} rejects the admin.token; use the token of its configuration")]
    Token(String),
    #[error("the bridge on {0} answered {1}")]
    Status(String, u16),
}

impl RequeueError {
    /// Whether it may succeed once the bridge has restarted or the database is up.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Store(why) => why.is_unavailable(),
            Self::AdminFailed(AdminClientError::NotConnected { .. }) => true,
            Self::AdminFailed(AdminClientError::Broken { .. })
            | Self::Token(_)
            | Self::Status(..) => false,
        }
    }
}

async fn post(bridge: &AdminClient<'_>, sid: &CallSid) -> Result<bool, RequeueError> {
    match bridge.post(&format!("/api/calls/{sid}/requeue")).await? {
        202 => Ok(true),
        404 => Ok(false),
        401 => Err(RequeueError::Token(bridge.to_string())),
        status => Err(RequeueError::Status(bridge.to_string(), status)),
    }
}
