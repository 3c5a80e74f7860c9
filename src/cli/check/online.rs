//! `check --online`: opens the store, and connects to Acquire to check its certificate.
//!
//! Nothing is posted: the connection is closed after the TLS handshake.

use std::collections::BTreeSet;
use std::fmt;

use anyhow::anyhow;

use crate::app;
use crate::cli::spool::is_missing;
use crate::clock::Clock;
use crate::config::{Config, StoreUrl};
use crate::delivery::acquire_client::AcquireClient;
use crate::store::{self, OpenError};

/// Calls `print` with one line for the store and one for each URL of Acquire; stops at the first that
/// is unreachable.
pub(super) fn reach(
    config: &Config,
    mut print: impl FnMut(String) -> std::io::Result<()>,
) -> anyhow::Result<()> {
    let url = &config.store.url;
    print(format!("{url} {}", open_store(url)?))?;
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
            print(line)?;
        }
        Ok(())
    })
}

/// The state of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Opened {
    Reached,
    NotThereYet,
    Writable,
    OwnedByABridge,
}

/// A predicate; the subject of the sentence is the store.
impl fmt::Display for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reached => "is reachable",
            Self::NotThereYet => "does not exist yet; serve will create it",
            Self::Writable => "is writable",
            Self::OwnedByABridge => "is owned by a running bridge",
        })
    }
}

/// Opens the store as `serve` would, but creates no file: it would belong to the user who runs the
/// check, not to the user of the bridge.
pub(in crate::cli) fn open_store(url: &StoreUrl) -> anyhow::Result<Opened> {
    match url {
        StoreUrl::Postgres(_) => {
            // Opened to read only: opening it to write would migrate it.
            store::open_to_read(url)?;
            return Ok(Opened::Reached);
        }
        StoreUrl::Sqlite(path) if is_missing(path) => return Ok(Opened::NotThereYet),
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
