//! Whoever can requeue: the store itself, or the bridge that owns it.

use std::sync::Arc;

use crate::cli::running::Running;
use crate::clock::Clock;
use crate::config::{Config, StoreUrl};
use crate::store::{self, OpenError, Store};
use crate::twilio::CallSid;

pub enum Door<'a> {
    /// A file that no bridge owns.
    File(Arc<dyn Store>),
    /// A database, in which bridges find what is requeued.
    Shared(Arc<dyn Store>),
    Bridge(Running<'a>),
}

impl<'a> Door<'a> {
    pub fn open(config: &'a Config) -> Result<Self, OpenError> {
        match (store::open(&config.store.url), &config.store.url) {
            (Ok(store), StoreUrl::Sqlite(_)) => Ok(Self::File(store)),
            (Ok(store), StoreUrl::Postgres(_)) => Ok(Self::Shared(store)),
            (Err(OpenError::InUse { .. }), _) => Ok(Self::Bridge(Running::of(&config.admin))),
            (Err(why), _) => Err(why),
        }
    }

    /// Whether calls may be sent while others are requeued.
    pub fn is_attended(&self) -> bool {
        !matches!(self, Self::File(_))
    }

    /// False if there is no such call.
    pub async fn requeue(&self, sid: &CallSid) -> anyhow::Result<bool> {
        match self {
            Self::File(store) | Self::Shared(store) => {
                Ok(store.requeue(sid, Clock::system().now()).await?)
            }
            Self::Bridge(running) => ask(running, sid).await,
        }
    }
}

async fn ask(running: &Running<'_>, sid: &CallSid) -> anyhow::Result<bool> {
    let answer = running.post(&format!("/api/calls/{sid}/requeue")).await?;
    match answer {
        202 => Ok(true),
        404 => Ok(false),
        401 => anyhow::bail!("the bridge on {running} asks for another admin.token"),
        status => anyhow::bail!("the bridge on {running} answered {status}"),
    }
}
