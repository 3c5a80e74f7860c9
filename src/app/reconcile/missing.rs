//! A record that the store lacks.

use crate::clock::Millis;
use crate::domain::reconcile::MissingCause;
use crate::twilio::CallSid;
use crate::twilio::listed::{ListedCall, ListedRecording};

/// A record that the store lacks.
pub(super) struct Missing {
    pub leg: CallSid,
    pub ended: Millis,
    pub cause: MissingCause,
    pub record: Record,
    /// The row as JSON.
    pub row: String,
}

pub(super) enum Record {
    Call(ListedCall),
    Recording(ListedRecording),
}
