//! The parts of a plan: requests to Acquire with their reasons, or why there is none.
//!
//! No rule is applied here.

use super::reason::Reason;
use crate::acquire::{CallEnd, CallEvent, RequestKind};
use crate::clock::Millis;
use crate::domain::cause::Cause;
use crate::twilio::CallSid;

/// One part of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlanItem {
    Send(Box<PlannedRequest>),
    /// The request depends on later callbacks, which the bridge waits for.
    Undecided(Wait),
    /// There is no request, for this reason.
    Nothing(Cause, String),
    /// No request can be made, for this reason.
    Unmappable(Cause, String),
}

/// An item, and the position of the first callback that led to it.
#[derive(Clone, Debug)]
pub(super) struct PlanEntry {
    pub item: PlanItem,
    pub position: usize,
}

/// A request with its reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedRequest {
    pub request: AcquireRequest,
    /// The wait before it is sent.
    pub wait: Option<Wait>,
    pub reasons: Vec<Reason>,
}

/// A wait and its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    pub until: Millis,
    pub what: Awaited,
    pub why: String,
}

/// What a wait is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaited {
    Recording,
    /// The end of a leg that is known.
    LegEnd,
    /// Legs of which nothing is known yet.
    MoreLegs,
    /// Better evidence of an end.
    StatusCallback,
}

/// One request to Acquire about a leg.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcquireRequest {
    pub leg: CallSid,
    pub message: AcquireMessage,
}

impl AcquireRequest {
    /// Whether both are the same request about the same leg, with whatever content.
    pub(super) fn is_for(&self, other: &Self) -> bool {
        self.leg == other.leg && self.message.kind() == other.message.kind()
    }
}

/// The content of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AcquireMessage {
    /// Something that happened before the end.
    Event(RequestKind, CallEvent),
    CallEnd(CallEnd),
    /// The same call-end with a recording that came after it.
    CallEndAgain(CallEnd),
}

impl AcquireMessage {
    pub fn kind(&self) -> RequestKind {
        match self {
            Self::Event(kind, _) => *kind,
            Self::CallEnd(_) => RequestKind::CallEnd,
            Self::CallEndAgain(_) => RequestKind::CallEndAgain,
        }
    }

    /// Reads a body that was sent as this kind.
    pub(super) fn from_json(kind: RequestKind, body: &str) -> serde_json::Result<Self> {
        match kind {
            RequestKind::CallEnd => serde_json::from_str(body).map(Self::CallEnd),
            RequestKind::CallEndAgain => serde_json::from_str(body).map(Self::CallEndAgain),
            RequestKind::CallInQueue | RequestKind::CallRinging | RequestKind::CallAnswered => {
                serde_json::from_str(body).map(|event| Self::Event(kind, event))
            }
        }
    }

    /// `RecordingUrl` of a call-end.
    pub(super) fn recording_url(&self) -> Option<&str> {
        match self {
            Self::Event(..) => None,
            Self::CallEnd(end) | Self::CallEndAgain(end) => end.recording_url.as_deref(),
        }
    }

    /// The same message with another `RecordingUrl`; an event has none.
    pub(super) fn with_recording_url(mut self, url: Option<String>) -> Self {
        if let Self::CallEnd(end) | Self::CallEndAgain(end) = &mut self {
            end.recording_url = url;
        }
        self
    }

    /// The request's body.
    pub fn to_json(&self) -> String {
        let json = match self {
            Self::Event(_, event) => serde_json::to_string(event),
            Self::CallEnd(end) | Self::CallEndAgain(end) => serde_json::to_string(end),
        };
        json.expect("strings and unit variants are always JSON")
    }
}
