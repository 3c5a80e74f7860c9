//! Whoever can requeue: the store itself, or the bridge that owns it.

use std::sync::Arc;

use crate::cli::admin_client::{AdminClient, AdminClientError};
use crate::clock::Clock;
use crate::config::{Config, StoreUrl};
use crate::store::{self, OpenError, Store, StoreError};
use crate::twilio::CallSid;

pub enum RequeueTarget<'a> {
    /// A file that no bridge owns.
    File(Arc<dyn Store>),
    /// A database, in which bridges find what is requeued.
    Shared(Arc<dyn Store>),
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

    /// Whether calls may be sent while others are requeued.
    pub fn is_attended(&self) -> bool {
        !matches!(self, Self::File(_))
    }

    /// False if there is no such call.
    pub async fn requeue(&self, sid: &CallSid) -> Result<bool, RequeueError> {
        match self {
            Self::File(store) | Self::Shared(store) => {
                Ok(store.requeue(sid, Clock::system().now()).await?)
            }
            Self::Bridge(running) => ask(running, sid).await,
        }
    }
}

/// Why a call could not be requeued.
#[derive(Debug, thiserror::Error)]
pub enum RequeueError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    NoAnswer(#[from] AdminClientError),
    #[error("the bridge on {0} asks for another admin.token")]
    Token(String),
    #[error("the bridge on {0} answered {1}")]
    Status(String, u16),
}

impl RequeueError {
    /// Whether a bridge that restarts, or a database that is back, may do it.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Store(why) => why.is_away(),
            Self::NoAnswer(AdminClientError::NotConnected { .. }) => true,
            Self::NoAnswer(AdminClientError::Broken { .. }) | Self::Token(_) | Self::Status(..) => {
                false
            }
        }
    }
}

async fn ask(running: &AdminClient<'_>, sid: &CallSid) -> Result<bool, RequeueError> {
    match running.post(&format!("/api/calls/{sid}/requeue")).await? {
        202 => Ok(true),
        404 => Ok(false),
        401 => Err(RequeueError::Token(running.to_string())),
        status => Err(RequeueError::Status(running.to_string(), status)),
    }
}
