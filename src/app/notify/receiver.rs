//! Sends a message to a receiver of `[[notify]]`.

use std::path::Path;
use std::time::Duration;

use awc::http::Method;
use secrecy::ExposeSecret as _;

use crate::acquire::DeliveryFault;
use crate::acquire::response::requested_wait;
use crate::app::request::Request;
use crate::clock::Millis;
use crate::config::{MessageFormat, NotifyTarget};
use crate::delivery::acquire_client::errors::NetworkError;
use crate::domain::breaker::Signal;
use crate::domain::message::Message;

/// How long a receiver may take to answer.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// Why a receiver does not have a message. It never shows the URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotifyError {
    #[error("{1}")]
    Network(DeliveryFault, String),
    /// With the wait that `Retry-After` asks for.
    #[error("it answered {0}")]
    Status(u16, Option<Duration>),
}

impl NotifyError {
    /// What it shows about the receiver.
    pub fn signal(&self) -> Signal {
        match self {
            Self::Status(300..=399 | 401 | 403 | 404 | 410, _) => Signal::Misconfigured,
            Self::Status(..) | Self::Network(..) => Signal::Bad,
        }
    }

    /// Whether the message may be the reason, so that the next one may be accepted.
    pub fn is_rejection(&self) -> bool {
        match self {
            // Too slow, too early, too many.
            Self::Status(408 | 425 | 429, _) | Self::Network(..) => false,
            Self::Status(status, _) => {
                (400..=499).contains(status) && self.signal() != Signal::Misconfigured
            }
        }
    }

    /// How long the receiver asks to be left alone.
    pub fn requested_wait(&self) -> Duration {
        match self {
            Self::Status(_, wait) => wait.unwrap_or_default(),
            Self::Network(..) => Duration::ZERO,
        }
    }
}

impl From<NetworkError> for NotifyError {
    fn from(error: NetworkError) -> Self {
        Self::Network(error.fault, error.words)
    }
}

/// Posts the message at `now`. The receiver has it if this succeeds.
pub async fn post(
    target: &NotifyTarget,
    message: &Message,
    ca_file: Option<&Path>,
    now: Millis,
) -> Result<(), NotifyError> {
    let mut headers = vec![("Content-Type", "application/json".to_owned())];
    let body = match &target.format {
        MessageFormat::Slack => message.slack(),
        MessageFormat::Json(secret) => {
            let (body, seconds) = (message.json(), now.0.div_euclid(1_000));
            headers.push(("webhook-id", message.id.clone()));
            headers.push(("webhook-timestamp", seconds.to_string()));
            headers.push((
                "webhook-signature",
                secret.sign(&message.id, seconds, &body),
            ));
            body
        }
    };
    let request = Request {
        method: Method::POST,
        url: target.url.expose_secret(),
        headers,
        body,
        timeout: TIMEOUT,
        ca_file,
    };
    accepted(request, now).await
}

/// Requests the URL of the heartbeat at `now`.
pub(super) async fn beat(
    url: &str,
    ca_file: Option<&Path>,
    now: Millis,
) -> Result<(), NotifyError> {
    let request = Request {
        method: Method::GET,
        url,
        headers: Vec::new(),
        body: String::new(),
        timeout: TIMEOUT,
        ca_file,
    };
    accepted(request, now).await
}

async fn accepted(request: Request<'_>, now: Millis) -> Result<(), NotifyError> {
    let answer = request.send().await?;
    match answer.status {
        200..=299 => Ok(()),
        status => {
            let wait = answer.retry_after.as_deref();
            let wait = wait.and_then(|value| requested_wait(value, now));
            Err(NotifyError::Status(status, wait))
        }
    }
}
