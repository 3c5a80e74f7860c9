//! One request to Acquire and what became of it; kept for ever beside the call it was made for.

use std::time::Duration;

use crate::acquire::{DeliveryFault, RequestKind};
use crate::clock::Millis;
use crate::twilio::CallSid;

/// One request to Acquire: for which leg, what, when, and the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    pub leg: CallSid,
    pub kind: RequestKind,
    pub at: Millis,
    pub took: Duration,
    /// The JSON that was sent.
    pub sent: String,
    /// Acquire's HTTP status, if one arrived.
    pub status: Option<u16>,
    pub verdict: Verdict,
    /// What went wrong, if something did and trying again may help.
    pub fault: Option<DeliveryFault>,
    /// The beginning of Acquire's answer, or the network's error in words.
    pub excerpt: String,
}

impl Attempt {
    /// Whether Acquire may have taken the request although it did not say so: it was sent, and no
    /// answer came, or none that rules it out. 503 is Acquire's word for maintenance.
    #[must_use]
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
}

/// What an attempt means for the request it made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Accepted,
    /// Acquire had it already.
    AcceptedAsRepeat,
    /// The request is due again at this time.
    Again(Millis),
    /// No further attempt will be made, for this reason.
    GivenUp(String),
}

impl Verdict {
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        matches!(self, Self::Accepted | Self::AcceptedAsRepeat)
    }

    /// The word in the database, metrics and `show`.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::AcceptedAsRepeat => "accepted-as-repeat",
            Self::Again(_) => "again",
            Self::GivenUp(_) => "given-up",
        }
    }
}
