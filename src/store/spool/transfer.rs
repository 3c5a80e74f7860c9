//! Brings callbacks from the spool to the database, once that is back.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;
use tracing::{debug, error, info};

use super::{Shared, WritePath};
use crate::clock;
use crate::store::StoreError;
use crate::store::sqlite::spool::{Transferred, Waiting};

/// Calls moved at once: those who wait for the database share its transactions.
const CALLS: usize = 256;

/// So few callbacks are moved while nobody adds any: with others coming in, the spool would never be
/// empty. It takes the time of some transactions.
const FINAL_TRANSFER: u64 = 256;

/// Between two looks whether the database is back.
const DATABASE_POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Between two tries with what a database that works refuses.
const REFUSED_AGAIN: Duration = Duration::from_secs(60);

/// The longest between two tries with a database that refuses all there is: it may be full, or all
/// that came since may be refused for its own sake, and the next to come is good.
const REFUSES_ALL_AGAIN: Duration = Duration::from_secs(10);

/// What one pass over the spool led to, in callbacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct TransferPass {
    moved: u64,
    /// By a database that works: they stay, and keep no other waiting.
    refused: u64,
}

/// Why the spool could not be emptied.
enum TransferStop {
    Away(String),
    RefusesAll(String),
    Spool(StoreError),
}

/// Moves, whenever there is something to move.
pub(super) async fn run(shared: &Shared) {
    let mut way = shared.way.subscribe();
    let mut refused = 0;
    let mut look_again = DATABASE_POLL_INTERVAL;
    loop {
        let spooling = way.wait_for(|way| *way == WritePath::ToSpool);
        // The sender lives in `shared`, so waiting cannot end in an error.
        if refused == 0 {
            let _ = spooling.await;
        } else {
            let _ = timeout(REFUSED_AGAIN, spooling).await;
        }
        match shared.empty(refused).await {
            Ok(left) => {
                refused = left;
                look_again = DATABASE_POLL_INTERVAL;
            }
            Err(TransferStop::RefusesAll(why)) => {
                error!("the database takes nothing of the spool: {why}");
                clock::pause(look_again).await;
                look_again = REFUSES_ALL_AGAIN.min(look_again * 2);
            }
            Err(TransferStop::Away(why)) => {
                debug!("the database is still away: {why}");
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
    /// Moves all, and lets callbacks go to the database again; returns how many it refused.
    async fn empty(&self, mut refused: u64) -> Result<u64, TransferStop> {
        let answer = timeout(self.patience, self.database.ping()).await;
        answer
            .map_err(|_| TransferStop::Away("no answer".to_owned()))?
            .map_err(|why| TransferStop::Away(why.to_string()))?;
        let mut moved = 0;
        while self.waiting.load(Ordering::Relaxed) > refused + FINAL_TRANSFER {
            let pass = self.pass().await?;
            refused = pass.refused;
            moved += pass.moved;
        }
        let _alone = self.gate.write().await;
        let pass = self.pass().await?;
        if self.way.send_replace(WritePath::ToDatabase) == WritePath::ToSpool {
            let (moved, path) = (moved + pass.moved, self.path.display());
            info!(
                moved,
                "callbacks go to the database again; {moved} were moved from {path}"
            );
        }
        Ok(pass.refused)
    }

    /// Moves what there is.
    async fn pass(&self) -> Result<TransferPass, TransferStop> {
        let mut pass = TransferPass::default();
        let (mut after, mut refusal) = (0, String::new());
        loop {
            let calls = self.spool.waiting(after, CALLS).await;
            let calls = calls.map_err(TransferStop::Spool)?;
            let Some(last) = calls.last() else {
                break;
            };
            after = last.row;
            let moved = join_all(calls.iter().map(|call| self.move_call(call))).await;
            let mut handed = Vec::with_capacity(calls.len());
            let mut away = None;
            for (call, moved) in calls.iter().zip(moved) {
                let callbacks = call.callbacks.len();
                match moved {
                    Ok(()) => handed.push(Transferred {
                        row: call.row,
                        callbacks,
                    }),
                    Err(StoreError::Database(why)) => {
                        pass.refused += u64::try_from(callbacks).unwrap_or(u64::MAX);
                        refusal = format!("{why} (call {})", call.sid);
                    }
                    Err(why) => away = Some(TransferStop::Away(why.to_string())),
                }
            }
            let removed = self
                .spool
                .hand_over(handed)
                .await
                .map_err(TransferStop::Spool)?;
            self.waiting.fetch_sub(removed, Ordering::Relaxed);
            pass.moved += removed;
            if let Some(away) = away {
                return Err(away);
            }
        }
        match pass {
            TransferPass { refused: 0, .. } => {}
            TransferPass { moved: 0, .. } => return Err(TransferStop::RefusesAll(refusal)),
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

    /// One by one, so that none comes before an earlier one that fails.
    async fn move_call(&self, call: &Waiting) -> Result<(), StoreError> {
        for (callback, received) in &call.callbacks {
            let recording = self.database.record(callback.clone(), *received);
            timeout(self.patience, recording)
                .await
                .map_err(|_| StoreError::Away("no commit in time".to_owned()))??;
        }
        Ok(())
    }
}
