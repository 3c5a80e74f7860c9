//! The conditions that concern an operator. The page Today, `status`, notifications and the heartbeat use
//! the same ones, so that they never contradict each other.

use serde::{Deserialize, Serialize};

/// What concerns an operator, the most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConditionKind {
    /// A callback would be answered 503.
    NotStored,
    /// The database is down; callbacks go to the spool.
    DatabaseDown,
    /// Acquire cannot be reached for an account.
    Unreachable,
    /// Acquire rejects an account.
    Rejected,
    /// Requests that Twilio signed were refused.
    Refused,
    /// No callback for an hour, unlike a week ago.
    NoCallbacks,
    /// Calls are parked.
    NeedDecision,
    /// What `doctor` reports, too.
    Problem,
    /// A bulk operation runs. No operator is needed.
    Operation,
    /// Calls were late today. No operator is needed.
    Late,
}

impl ConditionKind {
    /// Those that need an operator, and of which messages are sent.
    pub const NOTIFIED: [Self; 8] = [
        Self::NotStored,
        Self::DatabaseDown,
        Self::Unreachable,
        Self::Rejected,
        Self::Refused,
        Self::NoCallbacks,
        Self::NeedDecision,
        Self::Problem,
    ];

    /// Its name in the API, in messages and in the setting `events`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotStored => "not-stored",
            Self::DatabaseDown => "database-down",
            Self::Unreachable => "unreachable",
            Self::Rejected => "rejected",
            Self::Refused => "refused",
            Self::NoCallbacks => "no-callbacks",
            Self::NeedDecision => "need-decision",
            Self::Problem => "problem",
            Self::Operation => "operation",
            Self::Late => "late",
        }
    }

    /// 1 is the most urgent. The exit code of `status` is 1 for 1 to 8.
    #[must_use]
    pub fn order(self) -> u8 {
        self as u8 + 1
    }

    /// Whether it is one of a single node, and not of the calls that all nodes share.
    #[must_use]
    pub fn is_of_node(self) -> bool {
        matches!(self, Self::NotStored | Self::DatabaseDown | Self::Problem)
    }

    /// The page that shows more.
    #[must_use]
    pub fn page(self) -> &'static str {
        match self {
            Self::Unreachable | Self::Rejected => "/calls?state=pending",
            Self::Refused => "/refused",
            Self::NeedDecision => "/parked",
            Self::Operation => "/operations",
            Self::Late => "/report",
            Self::NotStored | Self::DatabaseDown | Self::NoCallbacks | Self::Problem => "/",
        }
    }

    /// The sentence of its end. `subject` is the account, or the part that had a problem.
    #[must_use]
    pub fn end(self, subject: &str) -> String {
        match self {
            Self::NotStored => "Callbacks are stored again.".to_owned(),
            Self::DatabaseDown => "The database is back.".to_owned(),
            Self::Unreachable => format!("Acquire is reachable again for account {subject}."),
            Self::Rejected => format!("Acquire no longer rejects account {subject}."),
            Self::Refused => "No request was refused in the last 15 minutes.".to_owned(),
            Self::NeedDecision => "No call needs a decision any more.".to_owned(),
            Self::NoCallbacks => "Callbacks arrive again.".to_owned(),
            Self::Problem => format!("The problem is over: {subject}."),
            Self::Operation => "No operation runs.".to_owned(),
            Self::Late => "No call was late today.".to_owned(),
        }
    }
}

/// What has a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProblemKind {
    /// Another program uses the SQLite file.
    OtherProgram,
    DiskSpace,
    Certificate,
    Consistency,
}

impl ProblemKind {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OtherProgram => "other program",
            Self::DiskSpace => "disk space",
            Self::Certificate => "certificate",
            Self::Consistency => "consistency",
        }
    }
}
