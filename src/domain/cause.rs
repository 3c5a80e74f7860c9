//! Why a call is parked or skipped, as a closed set of codes: for lists, counts and reports.
//!
//! The words about one call, with SIDs and what Acquire said, are in its reason.

use std::fmt;

/// The code of a reason. It is in the database, and in filters and reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cause {
    /// Acquire refused a request with this HTTP status.
    Refused(u16),
    /// Acquire may have accepted a request, and the bridge gave it up.
    Unclear,
    /// `delivery.schedule` is used up.
    ScheduleUsedUp,
    /// Acquire has no equivalent for a `CallStatus`.
    UnmappableStatus,
    /// The direction of a leg is not known.
    UnmappableDirection,
    /// No request can be made: a stored callback cannot be read, or the account is not configured.
    UnmappableOther,
    /// A leg has no To.
    NoTo,
    /// A leg has no From. Such a call is parked.
    NoFrom,
    /// No leg has ended.
    NotEnded,
    /// The settings say that it is not reported.
    NotReported,
    /// It was merged into the call of its parent leg.
    PartOfAnother,
    /// An operator decided that it is not sent.
    Dismissed,
}

/// What the code of [`Cause::Refused`] starts with; the status follows.
const REFUSED: &str = "refused-";

const CODES: [(Cause, &str); 11] = [
    (Cause::Unclear, "unclear"),
    (Cause::ScheduleUsedUp, "schedule-used-up"),
    (Cause::UnmappableStatus, "unmappable-status"),
    (Cause::UnmappableDirection, "unmappable-direction"),
    (Cause::UnmappableOther, "unmappable-other"),
    (Cause::NoTo, "no-to"),
    (Cause::NoFrom, "no-from"),
    (Cause::NotEnded, "not-ended"),
    (Cause::NotReported, "not-reported"),
    (Cause::PartOfAnother, "part-of-another"),
    (Cause::Dismissed, "dismissed"),
];

impl Cause {
    /// Reads a code as [`Display`](fmt::Display) writes it.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(status) = text.strip_prefix(REFUSED) {
            let status = status.parse().ok().filter(|status| *status > 99);
            return status.map(Self::Refused);
        }
        let found = CODES.iter().find(|(_, code)| *code == text);
        found.map(|(cause, _)| *cause)
    }

    /// What happened to a call of this cause, as a sentence without a full stop. It fits one call and many.
    pub fn sentence(self) -> String {
        let text = match self {
            Self::Refused(status) => return format!("Acquire answered {status}"),
            Self::Unclear => "Acquire may have accepted the request, but did not confirm it",
            Self::ScheduleUsedUp => "All attempts failed, and delivery.schedule is used up",
            Self::UnmappableStatus => {
                "Twilio reported a CallStatus for which Acquire has no equivalent"
            }
            Self::UnmappableDirection => {
                "Twilio reported a Direction that the bridge does not know"
            }
            Self::UnmappableOther => {
                "A stored callback is unreadable, or the account is not configured"
            }
            Self::NoTo => "A leg has no To, which Acquire requires",
            Self::NoFrom => "A leg has no From, which Acquire requires",
            Self::NotEnded => "Twilio reported no end of a leg",
            Self::NotReported => "calls.report or acquire.events excludes such calls",
            Self::PartOfAnother => "The leg is part of another call, which has its callbacks",
            Self::Dismissed => "An operator decided not to send the call",
        };
        text.to_owned()
    }

    /// What to fix before calls are sent again, as a sentence without a full stop. It fits one call and many.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Refused(401 | 403) => "Check acquire.api_key, then requeue",
            Self::Refused(404) => "Check acquire.base_url and acquire.call_end_path, then requeue",
            Self::Refused(_) => {
                "Read Acquire's answer to the example, correct the cause, then requeue"
            }
            Self::Unclear => {
                "Look for each call in Acquire: requeue it if it is missing there, else dismiss it"
            }
            Self::ScheduleUsedUp => {
                "Read the last answer to the example; once Acquire works, requeue"
            }
            Self::UnmappableStatus => "Update the bridge and requeue, or dismiss",
            Self::UnmappableDirection => {
                "Read the reason of the example, then update the bridge and requeue, or dismiss"
            }
            Self::UnmappableOther => "Read the reason of the example, correct it, then requeue",
            Self::NoTo => "Set calls.empty_to to a text to send instead, then requeue",
            Self::NoFrom => "Set calls.empty_from to a text to send instead, then requeue",
            Self::NotEnded => "Check which events the status callback subscribes to at Twilio",
            Self::NotReported => "See calls.report and acquire.events",
            Self::PartOfAnother => "Nothing",
            Self::Dismissed => "Requeue a call to send it after all",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Refused(status) = self {
            return write!(f, "{REFUSED}{status}");
        }
        let found = CODES.iter().find(|(cause, _)| cause == self);
        f.pad(found.map_or("", |(_, code)| code))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_read_back_and_no_other_is_a_cause() {
        let causes = CODES.iter().map(|(cause, _)| *cause);
        for cause in causes.chain([Cause::Refused(422), Cause::Refused(400)]) {
            assert_eq!(Cause::parse(&cause.to_string()), Some(cause));
        }
        for text in [
            "",
            "refused",
            "refused-",
            "refused-x",
            "refused-7",
            "refused",
        ] {
            assert_eq!(Cause::parse(text), None, "{text}");
        }
    }
}
