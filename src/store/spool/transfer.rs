//! Transfers callbacks from the spool to the database once that is back.
//!
//! It does not decide which callbacks go to the spool (`store/spool.rs`).

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;
use tracing::{debug, error, info};

use super::{Shared, WritePath};
use crate::clock;
use crate::store::StoreError;
use crate::store::records::ends_canary;
use crate::store::sqlite::spool::{Transferred, Waiting};

/// Calls transferred at the same time, so that they share transactions of the database.
const TRANSFER_BATCH_CALLS: usize = 256;

/// The number of callbacks that are transferred while new ones wait: otherwise the spool would never be
/// empty under load. It takes the time of a few transactions.
const FINAL_TRANSFER: u64 = 256;

/// Between two checks whether the database is back.
const DATABASE_POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Between two tries with callbacks that a working database refuses.
const RETRY_REFUSED_AFTER: Duration = Duration::from_secs(60);

/// The longest wait between two tries with a database that refuses every callback: its disk may be
/// full, or each callback may be at fault and the next one good.
const RETRY_ALL_REFUSED_AFTER: Duration = Duration::from_secs(10);

/// The result of one pass over the spool, in callbacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct TransferPass {
    transferred: u64,
    /// By a working database: they stay in the spool and delay no other.
    refused: u64,
}

/// Why the spool could not be emptied.
enum TransferStop {
    Unavailable(String),
    RefusesAll(String),
    Spool(StoreError),
}

/// Transfers whenever the spool has callbacks.
pub(super) async fn run(shared: &Shared) {
    let mut write_path = shared.write_path.subscribe();
    let mut refused = 0;
    let mut retry_after = DATABASE_POLL_INTERVAL;
    loop {
        let spooling = write_path.wait_for(|write_path| *write_path == WritePath::ToSpool);
        // The sender lives in `shared`, so waiting cannot end in an error.
        if refused == 0 {
            let _ = spooling.await;
        } else {
            let _ = timeout(RETRY_REFUSED_AFTER, spooling).await;
        }
        match shared.empty(refused).await {
            Ok(left) => {
                refused = left;
                retry_after = DATABASE_POLL_INTERVAL;
            }
            Err(TransferStop::RefusesAll(why)) => {
                error!("the database refuses all callbacks of the spool: {why}");
                clock::pause(retry_after).await;
                retry_after = RETRY_ALL_REFUSED_AFTER.min(retry_after * 2);
            }
            Err(TransferStop::Unavailable(why)) => {
                debug!("the database is still unavailable: {why}");
                clock::pause(DATABASE_POLL_INTERVAL).await;
            }
            Err(TransferStop::Spool(why)) => {
                error!("failed to empty the spool: {why}");
                clock::pause(DATABASE_POLL_INTERVAL).await;
            }
        }
    }
}

impl Shared {
    /// Transfers all and stores new callbacks in the database again; returns how many it refused.
    async fn empty(&self, mut refused: u64) -> Result<u64, TransferStop> {
        let answer = timeout(self.commit_timeout, self.database.ping()).await;
        answer
            .map_err(|_| TransferStop::Unavailable("no answer".to_owned()))?
            .map_err(|why| TransferStop::Unavailable(why.to_string()))?;
        let mut transferred = 0;
        while self.waiting.load(Ordering::Relaxed) > refused + FINAL_TRANSFER {
            let pass = self.pass().await?;
            refused = pass.refused;
            transferred += pass.transferred;
        }
        // From here on new callbacks wait, so this pass empties the spool.
        let _alone = self.gate.write().await;
        let pass = self.pass().await?;
        if self.write_path.send_replace(WritePath::ToDatabase) == WritePath::ToSpool {
            let (transferred, path) = (transferred + pass.transferred, self.path.display());
            info!(
                transferred,
                "callbacks go to the database again; {transferred} were transferred from {path}"
            );
        }
        Ok(pass.refused)
    }

    /// Transfers the callbacks that are in the spool now.
    async fn pass(&self) -> Result<TransferPass, TransferStop> {
        let mut pass = TransferPass::default();
        let (mut after, mut refusal) = (0, String::new());
        loop {
            let calls = self.spool.waiting(after, TRANSFER_BATCH_CALLS).await;
            let calls = calls.map_err(TransferStop::Spool)?;
            let Some(last) = calls.last() else {
                break;
            };
            // The next query continues after this row: refused callbacks stay and are not read again.
            after = last.row;
            // The order matters only within a call, so calls are transferred concurrently and share commits.
            let transferred = join_all(calls.iter().map(|call| self.transfer_call(call))).await;
            let mut committed = Vec::with_capacity(calls.len());
            let mut outage = None;
            for (call, transferred) in calls.iter().zip(transferred) {
                let callbacks = call.callbacks.len();
                match transferred {
                    Ok(()) => committed.push(Transferred {
                        row: call.row,
                        callbacks,
                    }),
                    Err(StoreError::Database(why)) => {
                        pass.refused += u64::try_from(callbacks).unwrap_or(u64::MAX);
                        refusal = format!("{why} (call {})", call.sid);
                    }
                    Err(why) => outage = Some(TransferStop::Unavailable(why.to_string())),
                }
            }
            // Removed only now that the database has committed them.
            let removed = self
                .spool
                .remove_transferred(committed)
                .await
                .map_err(TransferStop::Spool)?;
            self.waiting.fetch_sub(removed, Ordering::Relaxed);
            pass.transferred += removed;
            if let Some(outage) = outage {
                return Err(outage);
            }
        }
        match pass {
            TransferPass { refused: 0, .. } => {}
            TransferPass { transferred: 0, .. } => return Err(TransferStop::RefusesAll(refusal)),
            TransferPass { refused, .. } => {
                let path = self.path.display();
                error!(
                    refused,
                    "the database refuses {refused} callbacks, which stay in {path}: {refusal}"
                );
            }
        }
        Ok(pass)
    }

    /// One by one, so that none overtakes an earlier one that fails.
    async fn transfer_call(&self, call: &Waiting) -> Result<(), StoreError> {
        for (callback, received) in &call.callbacks {
            let recording = async {
                if ends_canary(&*self.database, &callback.leg).await? {
                    return Ok(());
                }
                let recorded = self.database.record(callback.clone(), *received).await;
                recorded.map(|_| ())
            };
            timeout(self.commit_timeout, recording)
                .await
                .map_err(|_| StoreError::Unavailable("no commit in time".to_owned()))??;
        }
        Ok(())
    }
}
