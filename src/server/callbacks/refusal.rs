//! Why a request is refused, on either side, and the one place that makes HTTP of it.
//!
//! Answers are short `application/problem+json`; an expected signature or an inner cause is never
//! in them.

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, HeaderValue, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError};

use tracing::error;

use crate::store::{State, StoreError};
use crate::twilio::callback::CallbackParseError;
use crate::twilio::signature::SignatureSettingsError;
use crate::twilio::{CallSid, SidError};

/// A request that is not recorded.
#[derive(Debug, thiserror::Error)]
pub enum RefusalError {
    #[error("the body must be application/x-www-form-urlencoded, as Twilio sends it")]
    NotAForm,
    #[error("the body is larger than 64 KiB")]
    TooLarge,
    #[error("the body did not arrive in time")]
    TooSlow,
    #[error("the body could not be read")]
    Unreadable,
    #[error("the AccountSid is missing or not one that this bridge serves")]
    UnknownAccount,
    #[error("the form has no AccountSid, which Twilio always sends")]
    NoAccountSid,
    #[error("the X-Twilio-Signature header is missing")]
    NoSignature,
    #[error("the X-Twilio-Signature header does not match")]
    WrongSignature,
    #[error("X-Twilio-Webhooks-Signature-Settings cannot be followed: {0}")]
    Settings(#[from] SignatureSettingsError),
    #[error("X-Twilio-Webhooks-Signature-Settings names a key that this bridge does not have")]
    UnknownSharedKey,
    #[error("{0}")]
    NotACallback(#[from] CallbackParseError),
    /// With the cause, which is logged and not shown.
    #[error("the callback could not be recorded; try again")]
    Unavailable(String),
    #[error(
        "nothing is served here; callbacks go to /twilio/voice/status, those of recordings to /twilio/voice/recording"
    )]
    NotFound,
    #[error("only POST is served here")]
    WrongMethod,
}

impl RefusalError {
    /// A short label for counters and logs.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotAForm => "not-a-form",
            Self::TooLarge => "too-large",
            Self::TooSlow => "too-slow",
            Self::Unreadable => "unreadable",
            Self::UnknownAccount | Self::NoAccountSid => "unknown-account",
            Self::NoSignature => "no-signature",
            Self::WrongSignature => "no-match",
            Self::Settings(SignatureSettingsError::UnknownAlgorithm(_)) => "unknown-algorithm",
            Self::Settings(SignatureSettingsError::Malformed) => "malformed-settings",
            Self::UnknownSharedKey => "unknown-shared-key",
            Self::NotACallback(not) => not.reason(),
            Self::Unavailable(_) => "unavailable",
            Self::NotFound => "not-found",
            Self::WrongMethod => "wrong-method",
        }
    }
}

impl ResponseError for RefusalError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::NotAForm => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::UnknownAccount
            | Self::NoAccountSid
            | Self::NoSignature
            | Self::WrongSignature
            | Self::Settings(_)
            | Self::UnknownSharedKey => StatusCode::FORBIDDEN,
            Self::Unreadable | Self::NotACallback(_) => StatusCode::BAD_REQUEST,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::WrongMethod => StatusCode::METHOD_NOT_ALLOWED,
        }
    }

    fn error_response(&self) -> HttpResponse {
        let mut answer = problem(self.status_code(), &self.to_string());
        if matches!(self, Self::WrongMethod) {
            let post = HeaderValue::from_static("POST");
            answer.headers_mut().insert(ALLOW, post);
        }
        answer
    }
}

/// A question of the operator's side that has no answer.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    #[error("no callback of {0} was recorded here")]
    UnknownCall(CallSid),
    #[error("a CallSid {0}")]
    NotASid(#[from] SidError),
    #[error("state must be one of {}", State::ALL.map(State::as_str).join(", "))]
    UnknownState,
    #[error("{0}")]
    Query(String),
    #[error("admin.token is asked for here")]
    NoToken,
    #[error("requests from pages of other sites are not taken")]
    AnotherSite,
    #[error("the store cannot be read; the log says why")]
    Store(#[from] StoreError),
    #[error("the page cannot be shown; the log says why")]
    Page(#[from] askama::Error),
}

impl ResponseError for AdminError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::UnknownCall(_) => StatusCode::NOT_FOUND,
            Self::NotASid(_) | Self::UnknownState | Self::Query(_) => StatusCode::BAD_REQUEST,
            Self::NoToken => StatusCode::UNAUTHORIZED,
            Self::AnotherSite => StatusCode::FORBIDDEN,
            Self::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Page(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn error_response(&self) -> HttpResponse {
        match self {
            Self::Store(why) => error!("failed to ask the store: {why}"),
            Self::Page(why) => error!("failed to render a page: {why}"),
            _ => {}
        }
        let mut answer = problem(self.status_code(), &self.to_string());
        if matches!(self, Self::NoToken) {
            // Lets a browser ask for it.
            let ask = HeaderValue::from_static("Basic realm=\"twilio-acquire-bridge\"");
            answer.headers_mut().insert(WWW_AUTHENTICATE, ask);
        }
        answer
    }
}

/// A short `application/problem+json` (RFC 9457).
#[must_use]
pub fn problem(status: StatusCode, detail: &str) -> HttpResponse {
    let body = serde_json::json!({
        "title": status.canonical_reason().unwrap_or("error"),
        "status": status.as_u16(),
        "detail": detail,
    });
    HttpResponseBuilder::new(status)
        .content_type("application/problem+json")
        .body(body.to_string())
}
