//! Lists and fetches Twilio's own records: calls, recordings, call events, numbers and alerts.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use awc::http::header::{self, HeaderMap};
use rustls::ClientConfig;
use secrecy::ExposeSecret as _;
use serde_json::Value;
use tokio::time::timeout;

use super::http_client;
use crate::clock::{self, Millis};
use crate::config::{ApiKey, TwilioSettings};
use crate::net::{OutboundUrl, USER_AGENT};
use crate::telemetry::metrics::Metrics;
use crate::twilio::listed::text;
use crate::twilio::{AccountSid, CallSid};

/// For one answer with its body. A page of 1,000 calls takes Twilio seconds.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The largest answer that is read, in bytes: a page of 1,000 calls has about 2.2 MB.
const MAX_BODY: usize = 32 << 20;

/// The first wait after a 429 without `Retry-After`; each further wait is twice as long.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// The longest wait after a 429, also if `Retry-After` says more.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// How often a request is sent that gets a 429 each time.
const MAX_TRIES: u32 = 8;

/// Why Twilio's records cannot be read. The sentences are for the operator.
#[derive(Debug, thiserror::Error)]
pub enum TwilioApiError {
    #[error(
        "Twilio refused the API key {key} with {status}: {text} (twilio.api_key_sid, or \
         twilio_api_key_sid of [[accounts]]){hint}"
    )]
    KeyRefused {
        key: String,
        status: u16,
        /// Twilio's own, with its error code.
        text: String,
        hint: &'static str,
    },
    #[error("Twilio still limits the request rate (429) after {MAX_TRIES} tries")]
    TooOften,
    /// A smaller page may succeed.
    #[error("Twilio failed: {0}")]
    Failed(String),
    #[error("Twilio has no such record ({0})")]
    NotFound(String),
    #[error("Twilio refused the request with {status}: {text} ({url})")]
    Refused {
        status: u16,
        text: String,
        url: String,
    },
    #[error("Twilio named a next page on another host, {0:?}, which is not followed")]
    ForeignPage(String),
    #[error("Twilio named the same next page twice, {0:?}")]
    RepeatedPage(String),
    #[error("Twilio cannot be reached (twilio.api_url, twilio.monitor_url, twilio.proxy): {0}")]
    Network(String),
}

pub(super) type Result<T> = std::result::Result<T, TwilioApiError>;

impl TwilioApiError {
    /// The value of the label `outcome`.
    fn outcome(&self) -> &'static str {
        match self {
            Self::KeyRefused { .. } => "key-refused",
            Self::TooOften => "too-often",
            Self::Failed(_) => "failed",
            Self::NotFound(_) => "not-found",
            Self::Refused { .. } | Self::ForeignPage(_) | Self::RepeatedPage(_) => "refused",
            Self::Network(_) => "network",
        }
    }
}

/// Reads the records of one account, one request at a time.
pub struct TwilioApi {
    http: awc::Client,
    pub(super) api_url: String,
    pub(super) monitor_url: String,
    key: ApiKey,
    account: AccountSid,
    /// The label of the metrics.
    label: String,
    metrics: Arc<Metrics>,
    requests: Cell<u64>,
    server_time: Cell<Option<Millis>>,
}

impl TwilioApi {
    /// Opens no connection yet. `label` names the account in metrics.
    pub fn new(
        settings: &TwilioSettings,
        tls: Option<Arc<ClientConfig>>,
        key: ApiKey,
        account: AccountSid,
        label: String,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            http: http_client(settings, tls, TIMEOUT),
            api_url: settings.api_url.clone(),
            monitor_url: settings.monitor_url.clone(),
            key,
            account,
            label,
            metrics,
            requests: Cell::new(0),
            server_time: Cell::new(None),
        }
    }

    pub fn account(&self) -> &AccountSid {
        &self.account
    }

    /// The name of the account in metrics.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The number of requests so far.
    pub fn requests(&self) -> u64 {
        self.requests.get()
    }

    /// The `Date` of the last answer.
    pub fn server_time(&self) -> Option<Millis> {
        self.server_time.get()
    }

    /// The URL of a resource of the account, as it is stored with an imported row.
    pub fn url(&self, resource: &str) -> String {
        let (api, account) = (&self.api_url, &self.account);
        format!("{api}/2010-04-01/Accounts/{account}/{resource}.json")
    }

    /// One call; `None` if Twilio has none with this SID.
    pub async fn call(&self, sid: &CallSid) -> Result<Option<Value>> {
        self.found(&self.url(&format!("Calls/{sid}"))).await
    }

    /// One alert with the request that failed.
    pub async fn alert(&self, sid: &str) -> Result<Option<Value>> {
        self.found(&format!("{}/v1/Alerts/{sid}", self.monitor_url))
            .await
    }

    async fn found(&self, url: &str) -> Result<Option<Value>> {
        match self.get(url).await {
            Err(TwilioApiError::NotFound(_)) => Ok(None),
            other => other.map(Some),
        }
    }

    /// Sends a GET; repeats it while Twilio answers 429.
    pub(super) async fn get(&self, url: &str) -> Result<Value> {
        let mut wait = FIRST_WAIT;
        for _ in 0..MAX_TRIES {
            let (answer, retry_after) = self.get_once(url).await;
            let outcome = answer
                .as_ref()
                .map_or_else(TwilioApiError::outcome, |_| "ok");
            self.metrics.reconcile_request(&self.label, outcome).inc();
            self.requests.set(self.requests.get() + 1);
            if !matches!(answer, Err(TwilioApiError::TooOften)) {
                return answer;
            }
            let jitter = wait.mul_f64(fastrand::f64() / 2.0);
            clock::pause(retry_after.map_or(wait + jitter, |after| after.min(MAX_WAIT))).await;
            wait = (wait * 2).min(MAX_WAIT);
        }
        Err(TwilioApiError::TooOften)
    }

    async fn get_once(&self, url: &str) -> (Result<Value>, Option<Duration>) {
        let Some(target) = OutboundUrl::of(url) else {
            let why = format!("{url:?} is not a URL");
            return (Err(TwilioApiError::Network(why)), None);
        };
        let request = self
            .http
            .get(target.uri)
            .insert_header((header::HOST, target.authority))
            .insert_header((header::USER_AGENT, USER_AGENT))
            .insert_header((header::ACCEPT, "application/json"))
            .basic_auth(&self.key.sid, self.key.secret.expose_secret());
        let mut answer = match timeout(TIMEOUT, request.send()).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(why)) => return (Err(TwilioApiError::Network(why.to_string())), None),
            Err(_) => {
                let why = format!("no answer within {TIMEOUT:?}");
                return (Err(TwilioApiError::Failed(why)), None);
            }
        };
        if let Some(date) = date(answer.headers()) {
            self.server_time.set(Some(date));
        }
        let (status, after) = (answer.status().as_u16(), retry_after(answer.headers()));
        let body = match timeout(TIMEOUT, answer.body().limit(MAX_BODY)).await {
            Ok(Ok(body)) => body,
            Ok(Err(why)) if status == 200 => {
                let why = format!("the answer was cut short: {why}");
                return (Err(TwilioApiError::Failed(why)), None);
            }
            Err(_) if status == 200 => {
                let why = format!("the answer did not end within {TIMEOUT:?}");
                return (Err(TwilioApiError::Failed(why)), None);
            }
            _ => bytes::Bytes::new(),
        };
        (self.page(url, status, &body), after)
    }

    fn page(&self, url: &str, status: u16, body: &[u8]) -> Result<Value> {
        let json = serde_json::from_slice::<Value>(body);
        // Twilio's own words and error code, which docs name.
        let said = json.as_ref().map_or_else(
            |_| "no explanation".to_owned(),
            |json| {
                let code = text(json, "code").map(|code| format!("{code}: "));
                let message = text(json, "message").or_else(|| text(json, "detail"));
                code.into_iter().chain(message).collect()
            },
        );
        match status {
            200 => json.map_err(|why| TwilioApiError::Failed(format!("no JSON: {why}"))),
            401 | 403 => Err(TwilioApiError::KeyRefused {
                key: self.key.sid.clone(),
                status,
                hint: key_hint(&said),
                text: said,
            }),
            404 => Err(TwilioApiError::NotFound(url.to_owned())),
            429 => Err(TwilioApiError::TooOften),
            500.. => Err(TwilioApiError::Failed(format!("it answered {status}"))),
            _ => Err(TwilioApiError::Refused {
                status,
                text: said,
                url: url.to_owned(),
            }),
        }
    }
}

/// What to do about a refused key (facts: Twilio's error dictionary).
fn key_hint(said: &str) -> &'static str {
    if said.starts_with("70051") {
        "; add the permission that Twilio names to the key"
    } else if said.starts_with("20008") {
        "; test credentials cannot list calls"
    } else {
        "; a key is valid for one account and one region"
    }
}

fn date(headers: &HeaderMap) -> Option<Millis> {
    let date = headers.get(header::DATE)?.to_str().ok()?;
    let since = httpdate::parse_http_date(date).ok()?;
    Some(Millis(0).plus(since.duration_since(std::time::UNIX_EPOCH).ok()?))
}

/// In whole seconds; Twilio documents none, and balancers send it.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    seconds.parse().ok().map(Duration::from_secs)
}
