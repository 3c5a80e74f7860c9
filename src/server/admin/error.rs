//! Why a request on the admin listener fails, and its HTTP answer.

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, ResponseError};
use askama::Template;
use tracing::error;

use super::frame::Frame;
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
    /// With what is known of it nevertheless, each preceded by `; `.
    #[error("no callback of {0} was recorded here{1}")]
    UnknownCall(CallSid, String),
    #[error("a CallSid {0}")]
    InvalidSid(#[from] SidError),
    #[error("state must be one of {}", State::ALL.map(State::as_str).join(", "))]
    UnknownState,
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

    /// What the reader of the page can do about it.
    fn advice(&self) -> &'static str {
        match self {
            Self::Forbidden => {
                "Ask an operator; who you are signed in as stands at the top of each page."
            }
            Self::NotParked(_) => "Go back to the call: it may have been sent meanwhile.",
            Self::Reason(_) => "Go back, and correct the reason.",
            Self::NotFound | Self::WrongMethod(_) => "The pages of the bridge are listed above.",
            Self::UnknownCall(_, known) if !known.is_empty() => {
                "A refused request can be read, and repaired, under Refused."
            }
            Self::UnknownCall(..) => {
                "Twilio never reported this call to this bridge: look for errors 11200 to 11220 in the \
                 Twilio console. No refused request that is still kept names it."
            }
            Self::InvalidSid(_) => {
                "A CallSid has CA and 32 hexadecimal digits; copy it from the Twilio console."
            }
            Self::Filter(_) => {
                "Correct the filter in the search box above. A filter is a key, a colon and a value; all else \
                 is a number, an address, an e-mail or a CallSid."
            }
            Self::UnknownState | Self::Query(_) => "Correct the address of the page, or go back.",
            Self::NoToken | Self::WrongToken => {
                "Reload the page, and enter the token as the password; any user name will do."
            }
            Self::TooManyWrongTokens => "Wait a second, then reload the page.",
            Self::ForeignHost => {
                "Whoever operates the bridge can add the name in this page's address to admin.hosts."
            }
            Self::AnotherSite => {
                "Open the page of the bridge itself, and send the form from there."
            }
            Self::Store(_) => {
                "Callbacks go to the spool while the database is down, if there is one; this page works \
                 again once the store does."
            }
            Self::Page(_) => "Report this with the line of the log.",
        }
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

/// An error as browsers see it.
#[derive(Template)]
#[template(path = "error.html")]
pub(super) struct ErrorPage {
    title: String,
    sentence: String,
    advice: &'static str,
    frame: Frame,
}

impl ErrorPage {
    pub fn of(why: &AdminError) -> Self {
        Self {
            title: why.status_code().to_string(),
            sentence: why.to_string(),
            advice: why.advice(),
            frame: Frame::default(),
        }
    }
}

impl ResponseError for AdminError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::NotFound | Self::UnknownCall(..) => StatusCode::NOT_FOUND,
            Self::WrongMethod(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::InvalidSid(_)
            | Self::UnknownState
            | Self::Query(_)
            | Self::Filter(_)
            | Self::Reason(_) => StatusCode::BAD_REQUEST,
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
