//! Why a request is as it is.

use std::borrow::Cow;

/// Why one field of a request, or all of it, is as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    pub about: About,
    pub why: Cow<'static, str>,
}

/// What a reason is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    All,
    To,
    Direction,
    CallStatus,
    Email,
    RecordingUrl,
}

impl About {
    pub(super) fn because(self, why: impl Into<Cow<'static, str>>) -> Reason {
        Reason {
            about: self,
            why: why.into(),
        }
    }

    /// The one field, as Acquire names it.
    #[must_use]
    pub fn field(self) -> Option<&'static str> {
        match self {
            Self::All => None,
            Self::To => Some("To"),
            Self::Direction => Some("Direction"),
            Self::CallStatus => Some("CallStatus"),
            Self::Email => Some("email"),
            Self::RecordingUrl => Some("RecordingUrl"),
        }
    }
}
