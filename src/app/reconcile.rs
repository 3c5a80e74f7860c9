//! Compares Twilio's own records with the store, and imports missing ones.
//!
//! The rules are those of [`crate::domain::reconcile`]; [`crate::twilio_api`] asks Twilio.

pub mod continuous;
mod gaps;
mod import;
mod known;
mod lease;
mod memory;
mod missing;
mod pass;
mod recordings;
mod report;
mod window;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use self::lease::Lease;
use self::pass::Pass;
use self::window::Window;
use crate::clock::{Clock, Millis};
use crate::config::Config;
use crate::net::tls::TlsError;
use crate::store::StoreError;
use crate::telemetry::metrics::{IMPORTED_EVIDENCE, Metrics};
use crate::twilio::{AccountSid, CallSid};
use crate::twilio_api::{self, TwilioApi, TwilioApiError};

pub use self::known::KnownStore;
pub use self::report::{AccountReport, RecordLine, Reports};

/// Whether a pass imports missing records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// Only reports them.
    DryRun,
    Import,
}

/// Whether a pass imports held gaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HeldGaps {
    Keep,
    /// An operator decided that Acquire does not have these calls.
    TakeIn,
}

/// The comparison that is asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReconcileRequest {
    /// Calls that ended at this time or later, within the limits of the store; `None`: those that are due
    /// for a first or another look.
    pub from: Option<Millis>,
    /// Calls that ended before this time.
    pub until: Option<Millis>,
    /// Only this account.
    pub account: Option<AccountSid>,
    /// Only these calls; then neither the first day of the store nor the class of a leg matters.
    pub calls: Vec<CallSid>,
    pub mode: Mode,
    pub held: HeldGaps,
}

/// Why a comparison ended early. What was imported before stays.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    #[error(transparent)]
    Twilio(#[from] TwilioApiError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(
        "Twilio listed call {0}, which ended before the time that was asked for: it ignored the \
         filter, so the list is not used"
    )]
    FilterIgnored(CallSid),
    #[error("{0}")]
    NoAccount(String),
    #[error("the spool has callbacks that the database lacks; their calls would look missing")]
    Spooled,
    #[error("another node compares now")]
    Leased,
}

pub type Result<T, E = ReconcileError> = std::result::Result<T, E>;

/// The parts that all passes of a process share.
pub struct Reconciler {
    pub config: Arc<Config>,
    pub store: KnownStore,
    pub clock: Clock,
    pub metrics: Arc<Metrics>,
}

impl Reconciler {
    /// Compares each account that is asked for, one after another: the failure of one, such as a refused
    /// key, leaves the others. `progress` gets the number of rows so far.
    pub async fn run(
        &self,
        request: &ReconcileRequest,
        progress: &dyn Fn(u64),
    ) -> Result<Vec<Result<AccountReport>>> {
        if self.store.spooled() > 0 {
            return Err(ReconcileError::Spooled);
        }
        let apis = self.apis(request.account.as_ref()).await?;
        let lease = Lease::take(self, request.mode).await?;
        let mut results = Vec::new();
        for api in &apis {
            match window::due(self, api.account(), request).await {
                Ok(windows) => {
                    for window in windows {
                        results.push(self.compare(api, &lease, request, window, progress).await);
                    }
                }
                Err(why) => results.push(Err(why)),
            }
        }
        // The results so far are valid, also if the lease ends by itself.
        results.extend(lease.release(self).await.err().map(Err));
        Ok(results)
    }

    /// Records that were imported so far.
    pub fn imported(&self) -> u64 {
        let accounts = self.config.accounts.iter();
        let counters = accounts.flat_map(|of| {
            let account = &of.acquire_account_id;
            IMPORTED_EVIDENCE.map(|evidence| self.metrics.reconcile_taken_in(account, evidence))
        });
        counters.map(|counter| counter.get()).sum()
    }

    async fn compare(
        &self,
        api: &TwilioApi,
        lease: &Lease,
        request: &ReconcileRequest,
        window: Window,
        progress: &dyn Fn(u64),
    ) -> Result<AccountReport> {
        if request.mode == Mode::Import {
            gaps::hold_set_back(self, api.account()).await?;
        }
        let released = gaps::release_held(self, request, api.account()).await?;
        let window = Window {
            from: released.map_or(window.from, |first| first.min(window.from)),
            ..window
        };
        let pass = Pass::begin(self, api, lease, request, window).await?;
        let report = pass.run(progress).await?;
        if request.calls.is_empty() && request.mode == Mode::Import {
            window::note(self, api.account(), window, &report).await?;
        }
        Ok(report)
    }

    /// A client for each account that has an API key.
    pub async fn apis(&self, wanted: Option<&AccountSid>) -> Result<Vec<TwilioApi>> {
        let settings = &self.config.twilio;
        let tls = twilio_api::tls_config(settings)?;
        let mut apis = Vec::new();
        for account in &self.config.accounts {
            let Some(key) = &account.twilio_api_key else {
                continue;
            };
            let configured = account.twilio_account_sid.as_ref();
            let sids = match configured.or(self.config.reconcile.account_sid.as_ref()) {
                Some(sid) => vec![sid.clone()],
                None => self.store.accounts().await?,
            };
            let wanted = sids
                .into_iter()
                .filter(|sid| wanted.is_none_or(|one| sid == one));
            apis.extend(wanted.map(|sid| {
                TwilioApi::new(
                    settings,
                    tls.clone(),
                    key.clone(),
                    sid,
                    account.acquire_account_id.clone(),
                    Arc::clone(&self.metrics),
                )
            }));
        }
        if apis.is_empty() {
            let why = match wanted {
                Some(sid) => format!("account {sid} is not configured with an API key"),
                None => "no account has an API key that may list calls: set twilio.api_key_sid, \
                     twilio.api_key_secret and twilio.account_sid, or twilio_api_key_sid and \
                     twilio_api_key_secret in [[accounts]]"
                    .to_owned(),
            };
            return Err(ReconcileError::NoAccount(why));
        }
        Ok(apis)
    }
}
