//! `check --online`: can Acquire be reached from here, and is its certificate trusted?
//!
//! Nothing is posted: the connection is closed after the handshake.

use std::collections::BTreeSet;

use anyhow::anyhow;

use crate::acquire::client::Client;
use crate::app;
use crate::clock::Clock;
use crate::config::{Config, StoreUrl};
use crate::store::{self, OpenError};

/// Tells one line for the store and for each place that was reached; stops at the first that was
/// not.
pub(super) fn reach(
    config: &Config,
    mut tell: impl FnMut(String) -> std::io::Result<()>,
) -> anyhow::Result<()> {
    tell(open_store(&config.store.url)?)?;
    app::block_on(async {
        let client = Client::new(&config.acquire, &config.delivery, Clock::system())?;
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

/// Makes no file: it would belong to whoever checks.
pub(in crate::cli) fn open_store(url: &StoreUrl) -> anyhow::Result<String> {
    match url {
        StoreUrl::Postgres(_) => {
            store::open_to_read(url)?;
            return Ok(format!("{url} is reached"));
        }
        StoreUrl::Sqlite(path) if !path.exists() => {
            return Ok(format!("{url} is not there yet; serve will make it"));
        }
        StoreUrl::Sqlite(_) => {}
    }
    match store::open(url) {
        Ok(_) => Ok(format!("{url} can be written")),
        Err(OpenError::InUse { .. }) => {
            store::open_to_read(url)?;
            Ok(format!("{url} is owned by a running bridge"))
        }
        Err(why) => Err(why.into()),
    }
}
