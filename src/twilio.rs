//! Twilio's types: the identifiers, statuses and directions of a voice callback.
//!
//! It does no I/O and does not know Acquire; [`crate::domain::plan`] maps a call to Acquire.

pub mod auth_token;
pub mod callback;
pub mod callback_url;
pub mod diagnosis;
pub mod form;
pub mod listed;
mod public_url;
mod raw_url;
pub mod signature;

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use raw_url::RawUrl;

/// A text that is not a SID of the expected kind.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be {prefix} followed by 32 hexadecimal digits")]
pub struct SidError {
    prefix: &'static str,
}

macro_rules! sid {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(
            Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(into = "String", try_from = "String")]
        pub struct $name(Box<str>);

        impl $name {
            /// Accepts exactly the prefix and 32 hexadecimal digits of either case, kept as written.
            pub fn parse(text: &str) -> Result<Self, SidError> {
                match text.strip_prefix($prefix) {
                    Some(hex) if hex.len() == 32 && hex.bytes().all(|b| b.is_ascii_hexdigit()) => {
                        Ok(Self(text.into()))
                    }
                    _ => Err(SidError { prefix: $prefix }),
                }
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<$name> for String {
            fn from(sid: $name) -> Self {
                sid.0.into()
            }
        }

        impl TryFrom<String> for $name {
            type Error = SidError;

            fn try_from(text: String) -> Result<Self, SidError> {
                Self::parse(&text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

sid!(
    /// Identifies one leg of a call (Twilio API, Call resource: `^CA[0-9a-fA-F]{32}$`).
    CallSid,
    "CA"
);
sid!(
    /// Identifies the account or subaccount that owns the call (`^AC[0-9a-fA-F]{32}$`).
    AccountSid,
    "AC"
);
sid!(
    /// Identifies one recording (`^RE[0-9a-fA-F]{32}$`).
    RecordingSid,
    "RE"
);

/// Declares an enum of Twilio's words. Twilio may add one without notice, so an unknown one is kept as it
/// was sent.
macro_rules! open_words {
    ($(#[$doc:meta])* $name:ident { $($(#[$of_variant:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name {
            $($(#[$of_variant])* $variant,)+
            Unknown(Box<str>),
        }

        impl $name {
            pub fn parse(text: &str) -> Self {
                match text {
                    $($word => Self::$variant,)+
                    other => Self::Unknown(other.into()),
                }
            }

            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $word,)+
                    Self::Unknown(text) => text,
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

open_words! {
    /// The state of a leg (Twilio docs, Call resource, "Call status values").
    CallStatus {
        Queued = "queued",
        Initiated = "initiated",
        Ringing = "ringing",
        InProgress = "in-progress",
        Completed = "completed",
        Busy = "busy",
        NoAnswer = "no-answer",
        Canceled = "canceled",
        Failed = "failed",
    }
}

open_words! {
    /// The side that started a leg (Twilio docs, Call resource, "Direction").
    Direction {
        Inbound = "inbound",
        OutboundApi = "outbound-api",
        OutboundDial = "outbound-dial",
        TrunkingOriginating = "trunking-originating",
        TrunkingTerminating = "trunking-terminating",
    }
}

/// One verified request from Twilio about one leg, read from its form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callback {
    pub account: AccountSid,
    pub leg: CallSid,
    /// The leg that dialled this one (`<Dial>`); absent on the first leg of a call.
    pub parent: Option<CallSid>,
    pub kind: CallbackContent,
}

/// The content of a callback about its leg.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallbackContent {
    Status(StatusCallback),
    Recording(RecordingCallback),
}

/// A voice status callback (Twilio docs, Voice webhooks, "`StatusCallback`").
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StatusCallback {
    pub evidence: Evidence,
    pub status: CallStatus,
    /// E.164, `client:…`, `sip:…`, a caller ID as sent, or a word such as `anonymous`.
    pub from: String,
    /// As `from`; empty on the parent leg of a browser softphone's call.
    pub to: String,
    pub direction: Option<Direction>,
    /// `CallDuration` as sent, in whole seconds. `Duration` is not read, because it is in minutes.
    pub call_duration: Option<String>,
    pub origin: FieldSource,
    /// The recording in the status callback itself: only for calls created with `Record=true` or
    /// dialled with `record`.
    pub recording_sid: Option<RecordingSid>,
    pub recording_url: Option<String>,
    /// Whole seconds.
    pub recording_duration: Option<u32>,
    /// The number of the event among the subscribed events of the leg, from 0.
    pub sequence_number: Option<u32>,
    pub timestamp: Option<Timestamp>,
    /// The `?email=` of the callback URL, which Twilio signed with the form.
    pub email: Option<UrlEmail>,
    /// The field for which a given `?email=` is ignored: the end of the e-mail may have been moved into
    /// its name.
    pub email_ignored_for: Option<String>,
}

/// The `?email=` of a callback URL, decoded. Anybody may have entered it, so it can be no e-mail address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UrlEmail {
    pub text: String,
    /// Whether the URL has a `+`, which means a space in a query.
    pub has_plus: bool,
}

words! {
    /// How surely a request is the status callback of its leg.
    #[derive(PartialOrd, Ord)]
    pub enum Evidence {
        /// It has `CallbackSource=call-progress-events`, which only status callbacks have (Twilio docs,
        /// Voice webhooks, and every capture).
        StatusCallback = "status-callback",
        /// It has a terminal status, no `CallbackSource`, and nothing that names it as another request.
        Weaker = "weaker",
        /// The form of a callback that failed, from Twilio's alert: its fields are those of the callback.
        Alerted = "alerted",
        /// A row of Twilio's list of calls, where the callback did not come.
        Listed = "listed",
    }
}

impl Evidence {
    /// Whether it reports the end as the status callback does, so that only one of them is used.
    pub fn is_of_callback(self) -> bool {
        self != Self::Weaker
    }
}

/// Where a leg started, which decides whether its fields can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FieldSource {
    /// The phone network (PSTN), SIP, the API or `<Dial>`: the fields are Twilio's.
    Twilio,
    /// A browser or an app with the Voice SDK: Twilio adds the parameters of the app, of any name
    /// and value, to its own fields (Twilio docs, Voice SDK, `connect`). Twilio itself never sends a
    /// parent or a recording for such a leg, so both are ignored.
    App,
}

/// A recording status callback (Twilio docs, Voice webhooks, "`RecordingStatusCallback`").
///
/// It identifies the recorded leg, which is always the parent, and reports nothing else about it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordingCallback {
    pub sid: RecordingSid,
    pub status: RecordingStatus,
    /// Without an extension. There is audio only if the recording is completed.
    pub url: Option<String>,
    /// Whole seconds.
    pub duration: Option<u32>,
    pub started: Option<Timestamp>,
    /// Why there is no recording (Twilio docs, error and warning dictionary); `None` for 0.
    pub error_code: Option<String>,
}

open_words! {
    /// The state of a recording.
    RecordingStatus {
        InProgress = "in-progress",
        /// It can be fetched.
        Completed = "completed",
        /// Nothing was recorded.
        Absent = "absent",
        Failed = "failed",
    }
}

/// Identifies repeats of a callback: leg, kind, status and evidence, and for a recording its SID.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CallbackKey(Box<str>);

impl CallbackKey {
    /// A key from the store.
    pub(crate) fn stored(text: String) -> Self {
        Self(text.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CallbackKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Callback {
    /// The call of this callback, identified by its first leg.
    pub fn call(&self) -> &CallSid {
        self.parent.as_ref().unwrap_or(&self.leg)
    }

    /// A recording callback has `RecordingStatus`, which no other request of a call has.
    pub fn evidence(&self) -> Evidence {
        match &self.kind {
            CallbackContent::Status(status) => status.evidence,
            CallbackContent::Recording(_) => Evidence::StatusCallback,
        }
    }

    pub fn key(&self) -> CallbackKey {
        let leg = &self.leg;
        let key = match &self.kind {
            CallbackContent::Status(status) => {
                // Without a suffix for a status callback, so that keys of older versions stay valid.
                let suffix = match status.evidence {
                    // An imported record has the key of the callback that it replaces.
                    Evidence::StatusCallback | Evidence::Alerted | Evidence::Listed => "",
                    Evidence::Weaker => "/weaker",
                };
                format!("{leg}/status/{}{suffix}", status.status)
            }
            CallbackContent::Recording(recording) => {
                format!("{leg}/recording/{}/{}", recording.sid, recording.status)
            }
        };
        CallbackKey(key.into())
    }
}
