//! The conditions that concern an operator. The page Today, `status`, notifications and the heartbeat use
//! the same ones, so that they never contradict each other.

use serde::{Deserialize, Serialize};

words! {
    /// What concerns an operator, the most urgent first.
    #[derive(PartialOrd, Ord, Serialize, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    pub enum ConditionKind {
        /// A callback would be answered 503.
        NotStored = "not-stored",
        /// The database is down; callbacks go to the spool.
        DatabaseDown = "database-down",
        /// Acquire cannot be reached for an account.
        Unreachable = "unreachable",
        /// Acquire rejects an account.
        Rejected = "rejected",
        /// Requests that Twilio signed were refused.
        Refused = "refused",
        /// No callback for an hour, unlike a week ago.
        NoCallbacks = "no-callbacks",
        /// Calls are parked.
        NeedDecision = "need-decision",
        /// What `doctor` reports, too.
        Problem = "problem",
        /// A bulk operation runs. No operator is needed.
        Operation = "operation",
        /// Calls were late today. No operator is needed.
        Late = "late",
    }
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

    /// 1 is the most urgent. The exit code of `status` is 1 for 1 to 8.
    pub fn order(self) -> u8 {
        self as u8 + 1
    }

    /// Whether it is one of a single node, and not of the calls that all nodes share.
    pub fn is_of_node(self) -> bool {
        matches!(self, Self::NotStored | Self::DatabaseDown | Self::Problem)
    }

    /// The page that shows more.
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

words! {
    /// What has a problem.
    pub enum ProblemKind {
        /// Another program uses the SQLite file.
        OtherProgram = "other program",
        DiskSpace = "disk space",
        Certificate = "certificate",
        Consistency = "consistency",
    }
}
