//! Why a request on the admin listener fails, and its HTTP answer.

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderValue, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, ResponseError};
use tracing::error;

use crate::server::shared::problem;
use crate::store::{State, StoreError};
use crate::twilio::{CallSid, SidError};

/// Why a request on the admin listener fails.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    #[error("no callback of {0} was recorded here")]
    UnknownCall(CallSid),
    #[error("a CallSid {0}")]
    InvalidSid(#[from] SidError),
    #[error("state must be one of {}", State::ALL.map(State::as_str).join(", "))]
    UnknownState,
    #[error("{0}")]
    Query(String),
    #[error("this listener requires admin.token")]
    NoToken,
    #[error("requests from pages of other sites are not accepted")]
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
            Self::InvalidSid(_) | Self::UnknownState | Self::Query(_) => StatusCode::BAD_REQUEST,
            Self::NoToken => StatusCode::UNAUTHORIZED,
            Self::AnotherSite => StatusCode::FORBIDDEN,
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
        if matches!(self, Self::NoToken) {
            // Makes a browser ask for the token.
            let challenge = HeaderValue::from_static("Basic realm=\"twilio-acquire-bridge\"");
            answer.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        answer
    }
}
