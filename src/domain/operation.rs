//! Bulk operations: one decision about all calls that match a filter.

use serde::{Deserialize, Serialize};

/// What an operation does to each call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OperationKind {
    Requeue,
    /// Of parked calls only.
    Dismiss,
    /// Of all calls that have a [`Subject`](super::subject::Subject).
    Erase,
}

impl OperationKind {
    pub const ALL: [Self; 3] = [Self::Requeue, Self::Dismiss, Self::Erase];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requeue => "requeue",
            Self::Dismiss => "dismiss",
            Self::Erase => "erase",
        }
    }

    /// What became of a call.
    #[must_use]
    pub fn done(self) -> &'static str {
        match self {
            Self::Requeue => "requeued",
            Self::Dismiss => "dismissed",
            Self::Erase => "erased",
        }
    }
}

/// Where an operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OperationState {
    /// A bridge carries it out, once it is the first of its kind.
    Running,
    Paused,
    Cancelled,
    Done,
    /// Of an erasure: a file still has the value.
    Failed,
}

impl OperationState {
    pub const ALL: [Self; 5] = [
        Self::Running,
        Self::Paused,
        Self::Cancelled,
        Self::Done,
        Self::Failed,
    ];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Cancelled => "cancelled",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }

    /// Whether it will change no further call.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Cancelled | Self::Done | Self::Failed)
    }
}

/// What an operator does to an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OperationChange {
    Pause,
    Resume,
    Cancel,
}

impl OperationChange {
    /// The state that follows; `None` if an operation in this state cannot be changed so.
    #[must_use]
    pub fn applied_to(self, state: OperationState) -> Option<OperationState> {
        match (self, state) {
            (Self::Pause, OperationState::Running) => Some(OperationState::Paused),
            (Self::Resume, OperationState::Paused) => Some(OperationState::Running),
            (Self::Cancel, state) if !state.is_final() => Some(OperationState::Cancelled),
            _ => None,
        }
    }
}
