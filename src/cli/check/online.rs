//! `check --online`: can Acquire be reached from here, and is its certificate trusted?
//!
//! Nothing is posted: the connection is closed after the handshake.

use std::collections::BTreeSet;
use std::fmt;

use anyhow::anyhow;

use crate::app;
use crate::clock::Clock;
use crate::config::{Config, StoreUrl};
use crate::delivery::acquire_client::AcquireClient;
use crate::store::{self, OpenError};

/// Tells one line for the store and for each place that was reached; stops at the first that was
/// not.
pub(super) fn reach(
    config: &Config,
    mut tell: impl FnMut(String) -> std::io::Result<()>,
) -> anyhow::Result<()> {
    let url = &config.store.url;
    tell(format!("{url} {}", open_store(url)?))?;
    app::block_on(async {
        let client = AcquireClient::new(&config.acquire, &config.delivery, Clock::system())?;
        let mut reached = BTreeSet::new();
        for account in &config.accounts {
            let base = config.acquire.base_url_of(account);
            if !reached.insert(base.clone()) {
                continue;
            }
            let line = client
                .reach(account)
                .await
                .map_err(|why| anyhow!("{base} cannot be reached (acquire.base_url): {why}"))?;
            tell(line)?;
        }
        Ok(())
    })
}

/// How a store was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Opened {
    Reached,
    NotThereYet,
    Writable,
    OwnedByABridge,
}

/// Follows the store's name in a sentence.
impl fmt::Display for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reached => "is reached",
            Self::NotThereYet => "is not there yet; serve will make it",
            Self::Writable => "can be written",
            Self::OwnedByABridge => "is owned by a running bridge",
        })
    }
}

/// Makes no file: it would belong to whoever checks.
pub(in crate::cli) fn open_store(url: &StoreUrl) -> anyhow::Result<Opened> {
    match url {
        StoreUrl::Postgres(_) => {
            store::open_to_read(url)?;
            return Ok(Opened::Reached);
        }
        StoreUrl::Sqlite(path) if !path.exists() => return Ok(Opened::NotThereYet),
        StoreUrl::Sqlite(_) => {}
    }
    match store::open(url) {
        Ok(_) => Ok(Opened::Writable),
        Err(OpenError::InUse { .. }) => {
            store::open_to_read(url)?;
            Ok(Opened::OwnedByABridge)
        }
        Err(why) => Err(why.into()),
    }
}
