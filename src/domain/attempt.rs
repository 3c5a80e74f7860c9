//! One request to Acquire and its result. The store keeps it as long as its call.
//!
//! When an attempt is repeated is decided in `retry`.

use std::time::Duration;

use crate::acquire::{DeliveryFault, RequestKind};
use crate::clock::Millis;
use crate::domain::cause::Cause;
use crate::domain::report_mode::ReportMode;
use crate::twilio::CallSid;

/// One request to Acquire: its leg, content, time and answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    pub leg: CallSid,
    pub kind: RequestKind,
    /// The mode under which it was planned.
    pub report_mode: ReportMode,
    pub at: Millis,
    pub took: Duration,
    /// The JSON that was sent.
    pub sent: String,
    /// Acquire's HTTP status, if one arrived.
    pub status: Option<u16>,
    pub verdict: Verdict,
    /// The fault, if the request failed and a retry may help.
    pub fault: Option<DeliveryFault>,
    /// The start of Acquire's response, or the network's error in words.
    pub excerpt: String,
}

impl Attempt {
    /// Whether Acquire may have accepted the request although no answer says so: it was sent, and the
    /// answer is missing or does not exclude it. 503 excludes it: Acquire sends that in maintenance.
    pub fn may_have_been_accepted(&self) -> bool {
        match self.fault {
            Some(
                DeliveryFault::TimeOut
                | DeliveryFault::Reset
                | DeliveryFault::SuccessFalse
                | DeliveryFault::Unreadable,
            ) => true,
            Some(DeliveryFault::Busy) => !matches!(self.status, Some(408 | 425 | 429 | 503)),
            Some(
                DeliveryFault::Dns
                | DeliveryFault::Connect
                | DeliveryFault::Proxy
                | DeliveryFault::ProxyRefused
                | DeliveryFault::Tls
                | DeliveryFault::Configuration,
            )
            | None => false,
        }
    }

    /// Why its request was given up, if it was.
    pub fn cause(&self) -> Cause {
        match (self.fault, self.status) {
            (None, Some(status)) => Cause::Refused(status),
            (Some(fault), _) if !fault.is_unclear() => Cause::ScheduleUsedUp,
            _ => Cause::Unclear,
        }
    }
}

/// The consequence of an attempt for its request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Accepted,
    /// Acquire answered that it already had the call.
    AcceptedAsRepeat,
    /// The request is retried at this time.
    Again(Millis),
    /// The same, and the attempt uses up no retry: Acquire may be down, or a setting is wrong.
    Held(Millis),
    /// No further attempt will be made, for this reason.
    GivenUp(String),
}

impl Verdict {
    pub fn is_accepted(&self) -> bool {
        matches!(self, Self::Accepted | Self::AcceptedAsRepeat)
    }

    /// When the request is retried.
    pub fn retry_at(&self) -> Option<Millis> {
        match self {
            Self::Again(at) | Self::Held(at) => Some(*at),
            Self::Accepted | Self::AcceptedAsRepeat | Self::GivenUp(_) => None,
        }
    }

    /// The word in the database, metrics and `show`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::AcceptedAsRepeat => "accepted-as-repeat",
            Self::Again(_) => "again",
            Self::Held(_) => "held",
            Self::GivenUp(_) => "given-up",
        }
    }
}
