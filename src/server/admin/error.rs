//! Why a request on the admin listener fails, and its HTTP answer.

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, ResponseError};
use tracing::error;

use crate::domain::audit::ReasonError;
use crate::domain::call_filter::CallFilterError;
use crate::domain::plain_text::{cut, plain};
use crate::server::shared::problem;
use crate::store::{State, StoreError};
use crate::telemetry::metrics::ADMIN_REASONS;
use crate::twilio::{CallSid, SidError};

/// Bytes of an unknown query key in an answer.
const MAX_SHOWN_KEY: usize = 100;

/// Why a request on the admin listener fails.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    #[error("nothing is served here")]
    NotFound,
    #[error("only {0} is served here")]
    WrongMethod(&'static str),
    #[error("no callback of {0} was recorded here{1}")]
    UnknownCall(CallSid, Traces),
    #[error("there is no operation {0}")]
    UnknownOperation(i64),
    #[error("a CallSid {0}")]
    InvalidSid(#[from] SidError),
    #[error("{0}")]
    Query(String),
    #[error("{0}")]
    Filter(CallFilterError),
    #[error("this listener requires a token: that of an operator, or admin.token")]
    NoToken,
    #[error("the token is neither an operator's nor admin.token")]
    WrongToken,
    #[error(
        "your role is viewer, which reads; this needs the role operator ([[operators]] has the roles)"
    )]
    Forbidden,
    #[error("the call is {0}: only a parked call can be dismissed")]
    NotParked(State),
    #[error(transparent)]
    Reason(#[from] ReasonError),
    #[error("too many wrong tokens; try again")]
    TooManyWrongTokens,
    #[error(
        "this listener is not served under this host name: add the name to admin.hosts, or use an IP address"
    )]
    ForeignHost,
    #[error("requests from pages of other sites are not accepted")]
    AnotherSite,
    #[error("the store cannot be read; the log says why")]
    Store(#[from] StoreError),
    #[error("the page cannot be shown; the log says why")]
    Page(#[from] askama::Error),
}

/// What is known of a call that is not in the store, in sentences.
#[derive(Debug, Default)]
pub struct Traces {
    pub removed: Vec<String>,
    pub refused: Option<String>,
}

impl fmt::Display for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut all = self.removed.iter().chain(&self.refused);
        all.try_for_each(|sentence| write!(f, "; {sentence}"))
    }
}

impl AdminError {
    /// The label of a request that is refused before its route.
    pub(super) fn refusal_reason(&self) -> Option<&'static str> {
        let [no_token, wrong_token, foreign_host, foreign_origin] = ADMIN_REASONS;
        Some(match self {
            Self::NoToken => no_token,
            Self::WrongToken => wrong_token,
            Self::ForeignHost => foreign_host,
            Self::AnotherSite => foreign_origin,
            _ => return None,
        })
    }

    /// The key comes from outside, so it is cut and made harmless.
    pub(super) fn unknown_key(key: &str, known: &[&str]) -> Self {
        let key = cut(key, MAX_SHOWN_KEY);
        Self::Query(match known {
            [] => format!("unknown query key {}: this path has none", plain(key)),
            known => format!(
                "unknown query key {}: known are {}",
                plain(key),
                known.join(", ")
            ),
        })
    }
}

impl ResponseError for AdminError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::NotFound | Self::UnknownCall(..) | Self::UnknownOperation(_) => {
                StatusCode::NOT_FOUND
            }
            Self::WrongMethod(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::InvalidSid(_) | Self::Query(_) | Self::Filter(_) | Self::Reason(_) => {
                StatusCode::BAD_REQUEST
            }
            Self::NotParked(_) => StatusCode::CONFLICT,
            Self::NoToken | Self::WrongToken => StatusCode::UNAUTHORIZED,
            Self::TooManyWrongTokens => StatusCode::TOO_MANY_REQUESTS,
            Self::ForeignHost => StatusCode::MISDIRECTED_REQUEST,
            Self::AnotherSite | Self::Forbidden => StatusCode::FORBIDDEN,
            Self::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Page(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn error_response(&self) -> HttpResponse {
        match self {
            Self::Store(why) => error!("failed to read the store: {why}"),
            Self::Page(why) => error!("failed to render a page: {why}"),
            _ => {}
        }
        let mut answer = problem(self.status_code(), &self.to_string());
        let header = match self {
            // Makes a browser ask for the token.
            Self::NoToken | Self::WrongToken => {
                (WWW_AUTHENTICATE, "Basic realm=\"twilio-acquire-bridge\"")
            }
            Self::WrongMethod(allowed) => (ALLOW, *allowed),
            Self::TooManyWrongTokens => (RETRY_AFTER, "1"),
            _ => return answer,
        };
        let (name, value) = header;
        answer
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
        answer
    }
}
