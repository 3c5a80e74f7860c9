//! Why a request on the public listener is refused, and its HTTP answer.
//!
//! Answers are short `application/problem+json`. They never contain the expected signature or an
//! internal cause.

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, HeaderValue};
use actix_web::{HttpResponse, ResponseError};

use crate::server::shared::problem;
use crate::twilio::callback::{CallbackParseError, Lookalike};
use crate::twilio::signature::SignatureSettingsError;

/// The most bytes of a body that are read. Twilio's callbacks are below 2 KiB.
pub const MAX_BODY_BYTES: usize = 64 * 1024;

/// A request that is not recorded.
#[derive(Debug, thiserror::Error)]
pub enum RefusalError {
    #[error("the body must be application/x-www-form-urlencoded, as Twilio sends it")]
    NotAForm,
    /// A JSON body that has a name. Nothing of it is used, so its signature is not verified.
    #[error("this is {0}")]
    Json(Lookalike),
    #[error("the body is larger than {} KiB", MAX_BODY_BYTES / 1024)]
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
    UnknownCallback(#[from] CallbackParseError),
    /// With the cause, which is logged and not part of the answer.
    #[error("the callback could not be recorded; try again")]
    Unavailable(String),
    #[error(
        "nothing is served here; callbacks go to /twilio/voice/status, those of recordings to /twilio/voice/recording"
    )]
    NotFound,
    #[error("only POST is served here")]
    WrongMethod,
    /// There is nothing to repair in it, so it is not kept.
    #[error("this is not a callback; a load balancer checks /readyz of admin.listen")]
    HealthCheck,
}

impl RefusalError {
    /// A short label for counters and logs.
    pub fn reason(&self) -> &'static str {
        match self {
            // Not the label of lookalikes: unsigned requests must not displace signed ones of that cause.
            Self::NotAForm | Self::Json(_) => "not-a-form",
            Self::TooLarge => "too-large",
            Self::TooSlow => "too-slow",
            Self::Unreadable => "unreadable",
            Self::UnknownAccount | Self::NoAccountSid => "unknown-account",
            Self::NoSignature => "no-signature",
            Self::WrongSignature => "no-match",
            Self::Settings(SignatureSettingsError::UnknownAlgorithm(_)) => "unknown-algorithm",
            Self::Settings(SignatureSettingsError::Malformed) => "malformed-settings",
            Self::UnknownSharedKey => "unknown-shared-key",
            Self::UnknownCallback(not) => not.reason(),
            Self::Unavailable(_) => "unavailable",
            Self::NotFound => "not-found",
            Self::WrongMethod => "wrong-method",
            Self::HealthCheck => "health-check",
        }
    }

    /// Whether the sentence does not say what to correct, so that a diagnosis can help. A URL or body
    /// that was changed in transit has no valid signature, or lost its `AccountSid`.
    pub fn has_hidden_cause(&self) -> bool {
        matches!(self, Self::WrongSignature | Self::NoAccountSid)
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
            Self::Unreadable | Self::Json(_) | Self::UnknownCallback(_) => StatusCode::BAD_REQUEST,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::NotFound | Self::HealthCheck => StatusCode::NOT_FOUND,
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
