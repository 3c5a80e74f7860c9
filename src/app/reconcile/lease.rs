//! The lease of a comparison: one node at a time. Importing twice is harmless, so clocks of nodes may
//! differ by less than the lease.

use std::cell::RefCell;
use std::time::Duration;

use super::{Mode, ReconcileError, Reconciler, Result};
use crate::clock::Millis;
use crate::config::StoreUrl;

const KEY: &str = "lease/reconcile";

/// A page takes seconds, and the waits after 429 some minutes.
const LEASE: Duration = Duration::from_secs(600);

/// The right to import, renewed after each page; `None` for a comparison that only reports.
pub(super) struct Lease(RefCell<Option<String>>);

impl Lease {
    pub async fn take(reconciler: &Reconciler, mode: Mode) -> Result<Self> {
        if mode == Mode::DryRun {
            return Ok(Self(RefCell::new(None)));
        }
        let held = reconciler.store.noted(KEY).await?;
        let until = held.as_ref().and_then(|text| text.rsplit(' ').next());
        let until = until.and_then(|until| until.parse().ok()).map(Millis);
        // A file has one process, which compares once at a time: the lease is that of one that was killed.
        let is_shared = matches!(reconciler.config.store.url, StoreUrl::Postgres(_));
        if is_shared && until.is_some_and(|until| until > reconciler.clock.now()) {
            return Err(ReconcileError::Leased);
        }
        let lease = Self(RefCell::new(held));
        lease.replace(reconciler, Some(next(reconciler))).await?;
        Ok(lease)
    }

    pub async fn renew(&self, reconciler: &Reconciler) -> Result<()> {
        if self.0.borrow().is_none() {
            return Ok(());
        }
        self.replace(reconciler, Some(next(reconciler))).await
    }

    pub async fn release(self, reconciler: &Reconciler) -> Result<()> {
        if self.0.borrow().is_none() {
            return Ok(());
        }
        self.replace(reconciler, None).await
    }

    async fn replace(&self, reconciler: &Reconciler, text: Option<String>) -> Result<()> {
        let Some(store) = reconciler.store.writable() else {
            return Ok(());
        };
        let before = self.0.borrow().clone();
        let change = (KEY.to_owned(), text.clone());
        if !store.replace_note(change, before).await? {
            return Err(ReconcileError::Leased);
        }
        *self.0.borrow_mut() = text;
        Ok(())
    }
}

/// A new text, which no other node has.
fn next(reconciler: &Reconciler) -> String {
    let until = reconciler.clock.now().plus(LEASE);
    format!("{:016x} {}", fastrand::u64(..), until.0)
}
