//! The reasons for the fields of a request.

use std::borrow::Cow;

/// The reason for one field of a request, or for all of it; or why the request lacks the field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    pub about: About,
    pub why: Cow<'static, str>,
}

/// The subject of a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    All,
    From,
    To,
    Direction,
    CallStatus,
    Email,
    RecordingUrl,
    Duration,
}

impl About {
    pub(super) fn because(self, why: impl Into<Cow<'static, str>>) -> Reason {
        Reason {
            about: self,
            why: why.into(),
        }
    }

    /// The field, as Acquire names it.
    pub fn field(self) -> Option<&'static str> {
        match self {
            Self::All => None,
            Self::From => Some("From"),
            Self::To => Some("To"),
            Self::Direction => Some("Direction"),
            Self::CallStatus => Some("CallStatus"),
            Self::Email => Some("email"),
            Self::RecordingUrl => Some("RecordingUrl"),
            Self::Duration => Some("Duration"),
        }
    }
}
