//! Posts a callback of a call that does not exist to the bridge's own public URL, so that an operator
//! learns when Twilio cannot reach the bridge: DNS, TLS, balancer, signature, commit.
//!
//! The callback ends in the store's notes: nothing goes to Acquire, and Twilio is not asked.

use std::fmt;
use std::time::Duration;

use awc::http::Method;
use secrecy::ExposeSecret as _;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::request::Request;
use crate::acquire::DeliveryFault;
use crate::clock::{Clock, Millis};
use crate::server::shared::BridgeParts;
use crate::store::StoreError;
use crate::store::records::{CANARY_PREFIX, CANARY_RESULT, canary_key};
use crate::telemetry::metrics::timestamp;
use crate::twilio::callback::CallbackKind;
use crate::twilio::signature::{Body, SigningKey, fields, sign};
use crate::twilio::{AccountSid, CallSid};

/// Twilio waits so long for an answer.
const TIMEOUT: Duration = Duration::from_secs(15);

/// A canary may wait in the spool of a node for so long.
const MEMORY: Duration = Duration::from_secs(86_400);

/// The account of a canary, if none is configured.
const NO_ACCOUNT: &str = "AC00000000000000000000000000000000";

/// Why a canary did not come back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CanaryFailure {
    /// The path to the public URL.
    Path(DeliveryFault, String),
    /// 403: a proxy changes what Twilio signed, or the URL is that of another bridge.
    Signature,
    /// The status of another answer.
    Status(u16),
    /// Answered, but by a server that does not use this store.
    Elsewhere(u16),
    Store(String),
}

impl CanaryFailure {
    /// All values of the label `reason`.
    const REASONS: [&'static str; 8] = [
        "dns",
        "connect",
        "tls",
        "time-out",
        "signature",
        "status",
        "elsewhere",
        "store",
    ];

    pub fn reason(&self) -> &'static str {
        match self {
            Self::Path(DeliveryFault::Dns, _) => "dns",
            Self::Path(DeliveryFault::Tls, _) => "tls",
            Self::Path(DeliveryFault::TimeOut, _) => "time-out",
            Self::Path(..) => "connect",
            Self::Signature => "signature",
            Self::Status(_) => "status",
            Self::Elsewhere(_) => "elsewhere",
            Self::Store(_) => "store",
        }
    }
}

impl fmt::Display for CanaryFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(_, why) => f.write_str(why),
            Self::Signature => f.write_str(
                "it was answered 403: a proxy changes what Twilio signs, or the URL leads to \
                 another bridge",
            ),
            Self::Status(status) => write!(f, "it was answered {status}"),
            Self::Elsewhere(status) => write!(
                f,
                "it was answered {status}, but by a server that does not use this store"
            ),
            Self::Store(why) => write!(f, "the store cannot note it: {why}"),
        }
    }
}

impl From<StoreError> for CanaryFailure {
    fn from(error: StoreError) -> Self {
        Self::Store(error.to_string())
    }
}

/// Sends a canary every `canary.every`, until `stop`.
pub async fn run(parts: BridgeParts, clock: Clock, stop: CancellationToken) {
    for reason in CanaryFailure::REASONS {
        parts.metrics.canary_failed(reason);
    }
    let Some(every) = parts.config.borrow().reconcile.canary_every else {
        return;
    };
    let mut next = clock.now();
    loop {
        let turn = async {
            clock.reach(next).await;
            let sent = send(&parts, clock.now()).await;
            note(&parts, sent, clock.now()).await;
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = turn => {}
        }
        next = clock.now().plus(every);
    }
}

async fn note(parts: &BridgeParts, sent: Result<(), CanaryFailure>, now: Millis) {
    let result = match sent {
        Ok(()) => {
            parts.metrics.canary_last_success().set(timestamp(now));
            debug!("the canary came back");
            format!("{now} ok")
        }
        Err(failure) => {
            let reason = failure.reason();
            parts.metrics.canary_failed(reason).inc();
            warn!(
                reason,
                "the canary did not come back through server.public_url: {failure}; Twilio's \
                 callbacks may be lost in the same way"
            );
            format!("{now} {failure}")
        }
    };
    let change = (CANARY_RESULT.to_owned(), Some(result));
    // Only for doctor; the store itself logs an outage.
    let _ = parts.store.write_notes(vec![change]).await;
}

/// Notes a SID, posts its callback, and expects the note to change.
async fn send(parts: &BridgeParts, now: Millis) -> Result<(), CanaryFailure> {
    let config = parts.config.borrow().clone();
    let signing = config.accounts.iter().find_map(|account| {
        let token = account.auth_tokens.first()?;
        Some((account, token))
    });
    // The configuration is refused without these.
    let (Some(url), Some((account, token))) = (config.server.public_urls.first(), signing) else {
        return Ok(());
    };
    let sid = format!("{CANARY_PREFIX}{:024x}", fastrand::u128(..) >> 32);
    let Some(key) = CallSid::parse(&sid).ok().and_then(|sid| canary_key(&sid)) else {
        return Ok(());
    };
    let mut changes = expired(parts, now).await?;
    changes.push((key.clone(), Some(format!("{now} sent"))));
    parts.store.write_notes(changes).await?;
    let url = url.entered(CallbackKind::Status.path());
    let account = account.twilio_account_sid.as_ref();
    let account = account.or(config.reconcile.account_sid.as_ref());
    let form = form(account.map_or(NO_ACCOUNT, AccountSid::as_str), &sid);
    let status = post(&url, &form, token.expose_secret()).await?;
    match status {
        200..=299 => {}
        403 => return Err(CanaryFailure::Signature),
        _ => return Err(CanaryFailure::Status(status)),
    }
    let notes = parts.store.notes(key.clone()).await?;
    if !notes.iter().any(|(_, text)| text.ends_with("came")) {
        return Err(CanaryFailure::Elsewhere(status));
    }
    parts.store.write_notes(vec![(key, None)]).await?;
    Ok(())
}

/// The removal of canaries that can no longer arrive.
async fn expired(
    parts: &BridgeParts,
    now: Millis,
) -> Result<Vec<(String, Option<String>)>, StoreError> {
    let notes = parts.store.notes(format!("canary/{CANARY_PREFIX}")).await?;
    let is_old = |text: &str| {
        let at = text.split(' ').next().unwrap_or_default().to_owned();
        Millis::try_from(at).is_ok_and(|at| now.since(at) > MEMORY)
    };
    let old = notes.into_iter().filter(|(_, text)| is_old(text));
    Ok(old.map(|(key, _)| (key, None)).collect())
}

fn form(account: &str, sid: &str) -> String {
    format!(
        "AccountSid={account}&CallSid={sid}&CallStatus=completed\
         &CallbackSource=call-progress-events&Direction=inbound&From=canary&To=canary"
    )
}

async fn post(url: &str, form: &str, token: &str) -> Result<u16, CanaryFailure> {
    let fields = fields(form.as_bytes());
    let signature = sign(&SigningKey::auth_token(token), url, Body::Form(&fields));
    let form_type = "application/x-www-form-urlencoded".to_owned();
    let request = Request {
        method: Method::POST,
        url,
        headers: vec![
            ("Content-Type", form_type),
            ("X-Twilio-Signature", signature),
        ],
        body: form.to_owned(),
        timeout: TIMEOUT,
        ca_file: None,
    };
    let answer = request.send().await;
    let answer = answer.map_err(|why| CanaryFailure::Path(why.fault, why.words))?;
    Ok(answer.status)
}
