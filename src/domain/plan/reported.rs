//! A leg that is reported to Acquire: the input of its events and its call-end.

use std::borrow::Cow;

use super::call::{KnownRecording, Leg, LegStatus};
use super::item::PlanEntry;
use super::rules::Rules;
use super::status;
use crate::acquire;
use crate::clock::Millis;
use crate::twilio::StatusCallback;

/// An e-mail address and its source.
pub(super) type CalleeEmail = (String, Cow<'static, str>);

/// A leg that is reported to Acquire, with the fields that other legs change.
pub(super) struct Reported<'r, 'a> {
    pub leg: &'r Leg<'a>,
    /// When its end arrived, or why none is due; `None` if the plan says so for the whole call.
    pub ended: Result<Millis, Option<PlanEntry>>,
    /// Replaces the leg's own, with the reason.
    pub direction: Option<(acquire::Direction, &'static str)>,
    pub status: Option<(acquire::CallStatus, Cow<'static, str>)>,
    pub email: Option<CalleeEmail>,
    /// Why the e-mails of callback URLs are not used.
    pub invalid_emails: Vec<String>,
    /// The statuses that its events are made of.
    pub statuses: Vec<LegStatus<'a>>,
    pub recordings: Vec<&'r KnownRecording<'a>>,
    /// Whether a recording that has not been announced would belong to this leg.
    pub expects_recording: bool,
}

impl<'r, 'a> Reported<'r, 'a> {
    /// The leg as Twilio reports it.
    pub fn plain(leg: &'r Leg<'a>, ended: Result<Millis, Option<PlanEntry>>) -> Self {
        Self {
            leg,
            ended,
            direction: None,
            status: None,
            email: None,
            invalid_emails: invalid_emails([leg]),
            statuses: leg.statuses.clone(),
            recordings: Vec::new(),
            expects_recording: true,
        }
    }

    /// Acquire's direction of the call, with the reason; or why it has none.
    pub fn direction(
        &self,
        status: &StatusCallback,
        rules: &Rules,
    ) -> Result<(acquire::Direction, &'static str), String> {
        self.direction
            .map_or_else(|| status::direction(status, rules), Ok)
    }
}

/// One sentence for each leg with a callback URL that has an invalid e-mail.
pub(super) fn invalid_emails<'l, 'a: 'l>(
    legs: impl IntoIterator<Item = &'l Leg<'a>>,
) -> Vec<String> {
    let of_leg = |leg: &Leg<'_>| {
        let mut statuses = leg.statuses.iter();
        statuses.find_map(|leg_status| status::invalid_url_email(leg.sid, leg_status.status))
    };
    legs.into_iter().filter_map(of_leg).collect()
}
