//! Errors as pages, each with what to do.

use actix_web::ResponseError as _;
use askama::Template;

use super::error::AdminError;
use super::frame::Frame;
use crate::clock::Millis;

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
            advice: advice(why),
            frame: Frame {
                as_of: None,
                ..Frame::of("", Millis::default())
            },
        }
    }
}

/// What the reader of the page can do about it.
fn advice(why: &AdminError) -> &'static str {
    match why {
        AdminError::Forbidden => "Ask an operator. The top of each page has your name and role.",
        AdminError::NotParked(_) => "Go back to the call: it may have been sent meanwhile.",
        AdminError::Reason(_) => "Go back, and correct the reason.",
        AdminError::NotFound | AdminError::WrongMethod(_) => {
            "The pages of the bridge are listed above."
        }
        AdminError::UnknownCall(_, traces) if traces.refused.is_some() => {
            "Open Refused, and choose the cause: it says what to change, and shows the request."
        }
        AdminError::UnknownCall(_, traces) if !traces.removed.is_empty() => {
            "Its data is gone. The report still counts it on the day of its first callback."
        }
        AdminError::UnknownCall(..) => {
            "No refused request that the bridge still keeps names this call. Twilio probably did not reach \
             the bridge: look for errors 11200 to 11220 in the Twilio console."
        }
        AdminError::UnknownOperation(_) => "Operations lists all of them, also finished ones.",
        AdminError::InvalidSid(_) => {
            "A CallSid has CA and 32 hexadecimal digits; copy it from the Twilio console."
        }
        AdminError::Filter(_) => {
            "Correct the filter in the search box above. A filter is a key, a colon and a value; all else \
             is a number, a client identity, an e-mail or a CallSid."
        }
        AdminError::Query(_) => "Correct the address of the page, or go back.",
        AdminError::NoToken | AdminError::WrongToken => {
            "Reload the page, and enter the token as the password. The user name does not matter."
        }
        AdminError::TooManyWrongTokens => "Wait a second, then reload the page.",
        AdminError::ForeignHost => "Add the host name in the address of this page to admin.hosts.",
        AdminError::AnotherSite => {
            "Open the page of the bridge itself, and send the form from there."
        }
        AdminError::Store(_) => {
            "This page works again when the database is up. Meanwhile the bridge stores callbacks in its \
             spool, if it has one."
        }
        AdminError::Page(_) => "Report this bug with the log line.",
    }
}
