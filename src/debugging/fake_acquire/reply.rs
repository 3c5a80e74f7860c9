//! The replies of the fake Acquire, and their names on the command line.
//!
//! When each reply is given is decided in `state`.

use std::fmt;
use std::str::FromStr;

/// Acquire's response when it has saved a record (developer.acquire.io, call-end.md).
pub const SAVED: &str = r#"{"data":{"success":true,"message":"Successfully saved"}}"#;

/// One reply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Reply {
    /// 200 with the body of Acquire.
    #[default]
    Saved,
    /// This status with a small JSON body.
    Status(u16),
    /// 429 with this `Retry-After`.
    TooMany { retry_after: String },
    /// 200 with `success: false` in the body.
    SuccessFalse,
    /// 200 with an HTML page instead of JSON.
    Html,
    /// 400: the record exists already.
    Duplicate,
    /// 400: the record is invalid.
    Invalid,
    /// The connection is closed without a response.
    Reset,
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Saved => f.write_str("200"),
            Self::Status(status) => write!(f, "{status}"),
            Self::TooMany { .. } => f.write_str("429"),
            Self::SuccessFalse => f.write_str("200 success:false"),
            Self::Html => f.write_str("200 html"),
            Self::Duplicate => f.write_str("400 duplicate"),
            Self::Invalid => f.write_str("400 invalid"),
            Self::Reset => f.write_str("reset"),
        }
    }
}

/// A reply and the share of requests that get it, 0 to 1; written `503:0.3`.
#[derive(Clone, Debug, PartialEq)]
pub struct Share {
    pub reply: Reply,
    pub part: f64,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseReplyError {
    #[error(
        "{0:?} is not a fault: give a status from 200 to 599, or false, html, duplicate, invalid, reset"
    )]
    Reply(String),
    #[error("{0:?} is not a share: give a number from 0 to 1, as in 503:0.3")]
    Share(String),
}

impl FromStr for Reply {
    type Err = ParseReplyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "false" => Ok(Self::SuccessFalse),
            "html" => Ok(Self::Html),
            "duplicate" => Ok(Self::Duplicate),
            "invalid" => Ok(Self::Invalid),
            "reset" => Ok(Self::Reset),
            status => match status.parse() {
                Ok(status @ 200..=599) => Ok(Self::Status(status)),
                _ => Err(ParseReplyError::Reply(text.to_owned())),
            },
        }
    }
}

/// Without a share, all requests get the reply.
impl FromStr for Share {
    type Err = ParseReplyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (reply, part) = text.split_once(':').unwrap_or((text, "1"));
        let part = match part.parse() {
            Ok(part) if (0.0..=1.0).contains(&part) => part,
            _ => return Err(ParseReplyError::Share(part.to_owned())),
        };
        Ok(Self {
            reply: reply.parse()?,
            part,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_parsed() {
        let share = |reply, part| Ok(Share { reply, part });
        assert_eq!("503:0.3".parse(), share(Reply::Status(503), 0.3));
        assert_eq!("reset:1".parse(), share(Reply::Reset, 1.0));
        assert_eq!("html".parse(), share(Reply::Html, 1.0));
    }

    #[test]
    fn an_invalid_share_is_refused_and_quoted() {
        for (text, named) in [
            ("slow:0.3", "\"slow\""),
            ("99:0.3", "\"99\""),
            ("600", "\"600\""),
            ("503:2", "\"2\""),
            ("503:-1", "\"-1\""),
            ("503:NaN", "\"NaN\""),
            ("503:", "\"\""),
            ("", "\"\""),
        ] {
            let error = text.parse::<Share>().expect_err("it is not a share");
            assert!(error.to_string().starts_with(named), "{text}: {error}");
        }
    }
}
