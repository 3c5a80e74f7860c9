//! Bulk operations: one decision about all calls that match a filter.

use serde::{Deserialize, Serialize};

words! {
    /// The act on each call of an operation.
    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    pub enum OperationKind {
        Requeue = "requeue",
        /// Of parked calls only.
        Dismiss = "dismiss",
        /// Of all calls that have a [`Subject`](super::subject::Subject).
        Erase = "erase",
    }
}

impl OperationKind {
    /// The result for a call.
    pub fn done(self) -> &'static str {
        match self {
            Self::Requeue => "requeued",
            Self::Dismiss => "dismissed",
            Self::Erase => "erased",
        }
    }
}

words! {
    /// Where an operation is.
    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    pub enum OperationState {
        /// A bridge carries it out, once it is the first of its kind.
        Running = "running",
        Paused = "paused",
        Cancelled = "cancelled",
        Done = "done",
        /// Of an erasure: a file still has the value.
        Failed = "failed",
    }
}

impl OperationState {
    /// Whether it will change no further call.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Cancelled | Self::Done | Self::Failed)
    }
}

/// A change that an operator makes to an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OperationChange {
    Pause,
    Resume,
    Cancel,
}

impl OperationChange {
    /// The state that follows; `None` if an operation in this state cannot be changed so.
    pub fn applied_to(self, state: OperationState) -> Option<OperationState> {
        match (self, state) {
            (Self::Pause, OperationState::Running) => Some(OperationState::Paused),
            (Self::Resume, OperationState::Paused) => Some(OperationState::Running),
            (Self::Cancel, state) if !state.is_final() => Some(OperationState::Cancelled),
            _ => None,
        }
    }
}
