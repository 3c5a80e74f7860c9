//! The operator's settings that decide what is sent for a call.
//!
//! Values only: the configuration reads them, and the other files of the plan apply them.

use std::time::Duration;

use super::parties::SipCustomers;
use crate::domain::directory::Directory;
use crate::domain::recording_link::RecordingLinks;
pub use crate::domain::report_mode::ReportMode;

/// The settings that a plan depends on.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// `calls.empty_to`: sent as `To` for a leg that has none.
    pub empty_to: Option<String>,
    /// `calls.empty_from`: sent as `From` for a leg that has none.
    pub empty_from: Option<String>,
    /// `calls.client`
    pub client: ClientParents,
    /// `calls.sip_customers`
    pub sip_customers: SipCustomers,
    pub legs: LegRules,
    pub recordings: RecordingRules,
    /// `acquire.events`
    pub events: EventRules,
    pub directory: Directory,
}

words! {
    /// The direction of a call with an inbound first leg from `client:` (`calls.client`).
    #[derive(Default)]
    pub enum ClientParents {
        /// As Twilio reports it.
        #[default]
        Incoming = "incoming",
        /// The `client:` parents of the account are agents' softphones that call out.
        Outgoing = "outgoing",
    }
}

/// Settings about legs (`calls.report`, `calls.settle`, `calls.missed`, `calls.wait`).
#[derive(Clone, Debug)]
pub struct LegRules {
    pub report: ReportMode,
    /// The wait after the last known leg has ended; for one call-end per call.
    pub settle: Duration,
    pub missed: MissedStatus,
    /// The wait for a known leg that does not end, after the last one that did.
    pub wait: Duration,
}

words! {
    /// The status of a call that was not answered (`calls.missed`).
    #[derive(Default)]
    pub enum MissedStatus {
        /// That of the last leg dialled.
        #[default]
        Children = "children",
        /// That of the caller's leg, which is `completed`.
        Parent = "parent",
    }
}

impl Default for LegRules {
    fn default() -> Self {
        Self {
            report: ReportMode::default(),
            settle: Duration::from_secs(5),
            missed: MissedStatus::default(),
            wait: Duration::from_secs(4 * 3600),
        }
    }
}

/// Settings about recordings (`[recording]`).
#[derive(Clone, Debug)]
pub struct RecordingRules {
    pub expect: RecordingExpectation,
    /// The longest wait for a recording, from the arrival of the call's end.
    pub wait: Duration,
    pub late: LateRecording,
    /// The URL that Acquire gets (`recording.link`, `recording.format`).
    pub links: RecordingLinks,
}

words! {
    /// Calls that wait for a recording (`recording.expect`).
    #[derive(Default)]
    pub enum RecordingExpectation {
        /// Those with a recording that Twilio announced.
        #[default]
        WhenStarted = "when-started",
        /// All that were answered.
        Always = "always",
    }
}

words! {
    /// The use of a recording that arrives after the end was sent (`recording.late`).
    #[derive(Default)]
    pub enum LateRecording {
        /// It is shown, not sent.
        #[default]
        Keep = "keep",
        /// The call-end is sent once more, with it.
        Resend = "resend",
    }
}

impl Default for RecordingRules {
    fn default() -> Self {
        Self {
            expect: RecordingExpectation::default(),
            wait: Duration::from_secs(120),
            late: LateRecording::default(),
            links: RecordingLinks::default(),
        }
    }
}

/// The events that are sent beside a call's end (`acquire.events`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventRules {
    pub in_queue: Forward,
    pub ringing: Forward,
    pub answered: Forward,
}

/// Whether an event is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Forward {
    #[default]
    Off,
    On,
}
