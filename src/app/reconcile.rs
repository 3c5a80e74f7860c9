//! Compares Twilio's own records with the store, and imports missing ones.
//!
//! The rules are those of [`crate::domain::reconcile`]; [`crate::twilio_api`] asks Twilio.

pub mod continuous;
mod gaps;
mod import;
mod known;
mod lease;
mod pass;
mod report;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use self::lease::Lease;
use crate::clock::{Clock, Millis};
use crate::config::{ApiKey, Config};
use crate::net::tls::TlsError;
use crate::store::StoreError;
use crate::telemetry::metrics::Metrics;
use crate::twilio::{AccountSid, CallSid};
use crate::twilio_api::{self, TwilioApi, TwilioApiError};

pub use self::known::KnownStore;
pub use self::pass::Progress;
pub use self::report::{AccountReport, RecordLine};

/// What a pass does about missing records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// Only reports them.
    DryRun,
    Import,
}

/// What a pass does about held gaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HeldGaps {
    Keep,
    /// An operator decided that Acquire does not have these calls.
    TakeIn,
}

/// The comparison that is asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReconcileRequest {
    /// Calls that ended at this time or later, within the limits of the store; `None`: since the last whole
    /// pass, or longer ago if a second look is due.
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

/// One account with the key that reads its records.
struct ReconciledAccount {
    sid: AccountSid,
    label: String,
    key: ApiKey,
}

/// The parts that all passes of a process share.
pub struct Reconciler {
    pub config: Arc<Config>,
    pub store: KnownStore,
    pub clock: Clock,
    pub metrics: Arc<Metrics>,
}

impl Reconciler {
    /// Compares each account that is asked for, one after another.
    pub async fn run(
        &self,
        request: &ReconcileRequest,
        progress: &dyn Fn(Progress),
    ) -> Result<Vec<AccountReport>, ReconcileError> {
        if self.store.spooled() > 0 {
            return Err(ReconcileError::Spooled);
        }
        let mut reports = Vec::new();
        let apis = self.apis(request.account.as_ref()).await?;
        let lease = Lease::take(self, request.mode).await?;
        for api in apis {
            let request = self.windowed(request, api.account()).await?;
            let pass = pass::Pass::begin(self, &api, &lease, &request).await;
            let report = match pass {
                Ok(pass) => pass.run(progress).await,
                Err(why) => Err(why),
            };
            match report {
                Ok(report) => {
                    self.passed(&request, &report).await?;
                    reports.push(report);
                }
                Err(why) => {
                    lease.release(self).await?;
                    return Err(why);
                }
            }
        }
        lease.release(self).await?;
        Ok(reports)
    }

    /// The request with its start.
    async fn windowed(
        &self,
        request: &ReconcileRequest,
        account: &AccountSid,
    ) -> Result<ReconcileRequest, ReconcileError> {
        let from = match request.from {
            Some(from) => from,
            None => continuous::window_start(self, account).await?,
        };
        Ok(ReconcileRequest {
            from: Some(from),
            ..request.clone()
        })
    }

    /// Moves the watermark behind a whole pass that had no end.
    async fn passed(
        &self,
        request: &ReconcileRequest,
        report: &AccountReport,
    ) -> Result<(), ReconcileError> {
        let is_whole = request.until.is_none() && request.calls.is_empty();
        if is_whole && request.mode == Mode::Import {
            let from = request.from.unwrap_or_default();
            continuous::note_window(self, from, report).await?;
        }
        Ok(())
    }

    /// A client for each account.
    pub async fn apis(
        &self,
        wanted: Option<&AccountSid>,
    ) -> Result<Vec<TwilioApi>, ReconcileError> {
        let tls = twilio_api::tls_config(&self.config.twilio)?;
        let accounts = self.accounts(wanted).await?.into_iter();
        Ok(accounts
            .map(|account| {
                TwilioApi::new(
                    &self.config.twilio,
                    tls.clone(),
                    account.key,
                    account.sid,
                    account.label,
                    Arc::clone(&self.metrics),
                )
            })
            .collect())
    }

    async fn accounts(
        &self,
        wanted: Option<&AccountSid>,
    ) -> Result<Vec<ReconciledAccount>, ReconcileError> {
        let mut found = Vec::new();
        for account in &self.config.accounts {
            let Some(key) = &account.twilio_api_key else {
                continue;
            };
            let configured = account.twilio_account_sid.as_ref();
            let sids = match configured.or(self.config.reconcile.account_sid.as_ref()) {
                Some(sid) => vec![sid.clone()],
                None => self.store.accounts().await?,
            };
            found.extend(sids.into_iter().map(|sid| ReconciledAccount {
                sid,
                label: account.acquire_account_id.clone(),
                key: key.clone(),
            }));
        }
        found.retain(|account| wanted.is_none_or(|sid| account.sid == *sid));
        if found.is_empty() {
            let why = match wanted {
                Some(sid) => format!("account {sid} is not configured with an API key"),
                None => "no account has an API key that may list calls: set twilio.api_key_sid, \
                     twilio.api_key_secret and twilio.account_sid, or twilio_api_key_sid and \
                     twilio_api_key_secret in [[accounts]]"
                    .to_owned(),
            };
            return Err(ReconcileError::NoAccount(why));
        }
        Ok(found)
    }
}
