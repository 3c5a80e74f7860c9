//! A call as its callbacks report it: neither their order nor a repetition changes it.
//!
//! It knows legs and recordings, and does not decide which of them are sent.

use std::collections::BTreeMap;
use std::time::Duration;

use super::evidence::{Selection, UsedCallback};
use super::item::PlanEntry;
use super::parties::{Party, SipCustomers};
use super::status::{ended_as, sequence};
use crate::clock::Millis;
use crate::twilio::{
    self, AccountSid, CallSid, FieldSource, RecordingSid, RecordingStatus, StatusCallback,
};

/// Twilio ends a call after 24 hours (Twilio docs, Call resource, `TimeLimit`).
const LONGEST_CALL: Duration = Duration::from_secs(24 * 3600);

/// The legs and recordings of a call.
pub(super) struct Call<'a> {
    /// The one without a parent first, then by SID.
    pub legs: Vec<Leg<'a>>,
    /// By leg and SID.
    pub recordings: Vec<KnownRecording<'a>>,
    /// For status callbacks of which there is only weaker evidence.
    pub waits: &'a [PlanEntry],
}

/// A leg with at least one status.
pub(super) struct Leg<'a> {
    pub sid: &'a CallSid,
    pub parent: Option<&'a CallSid>,
    /// Who has the address in `From`.
    pub caller: Party,
    /// Who has the address in `To`.
    pub callee: Party,
    /// By `SequenceNumber`, then `Timestamp`.
    pub statuses: Vec<LegStatus<'a>>,
    /// When its first status arrived.
    arrived: Millis,
    /// The first status that ended it.
    pub end: Option<&'a StatusCallback>,
    /// When an end of it first arrived.
    pub ended: Option<Arrival>,
    /// When `in-progress` first arrived.
    in_progress: Option<Arrival>,
}

/// A status of a leg, and its callback.
#[derive(Clone, Copy, Debug)]
pub(super) struct LegStatus<'a> {
    pub received: &'a UsedCallback<'a>,
    pub status: &'a StatusCallback,
}

/// When something was first received, and with which of the call's callbacks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    pub position: usize,
    pub at: Millis,
}

impl<'a> LegStatus<'a> {
    fn of(received: &'a UsedCallback<'a>) -> Option<Self> {
        match &received.callback.kind {
            twilio::CallbackContent::Status(status) => Some(Self { received, status }),
            twilio::CallbackContent::Recording(_) => None,
        }
    }
}

impl Arrival {
    fn of(received: &UsedCallback<'_>) -> Self {
        Self {
            position: received.position,
            at: received.at,
        }
    }

    /// Callbacks of two calls that were merged are not in the order of their times.
    fn first(self, other: Self) -> Self {
        Self {
            position: self.position.min(other.position),
            at: self.at.min(other.at),
        }
    }
}

/// A recording that a callback of its own or the end of a leg names.
pub(super) struct KnownRecording<'a> {
    pub sid: Option<&'a RecordingSid>,
    /// The leg that Twilio names.
    pub leg: &'a CallSid,
    pub account: &'a AccountSid,
    pub stage: RecordingStage<'a>,
    /// When a callback first reported that it can be fetched.
    pub ready: Option<Arrival>,
    pub seconds: Option<u32>,
    pub started: Option<jiff::Timestamp>,
    /// Twilio's `ErrorCode`.
    pub error_code: Option<&'a str>,
}

/// The progress of a recording at Twilio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RecordingStage<'a> {
    /// It can be fetched, at this bare URL.
    Ready(&'a str),
    /// There is none, and none will come.
    Nothing(&'a RecordingStatus),
    UnderWay,
    /// It has only a status that this version does not know.
    Unknown(&'a RecordingStatus),
    /// The end of an app's own leg names it, which could name any recording of the account.
    Unproven,
}

impl<'a> Call<'a> {
    pub fn of(selection: &'a Selection<'a>, sip_customers: &SipCustomers) -> Self {
        let callbacks = &selection.used[..];
        let mut by_leg: BTreeMap<&CallSid, Vec<LegStatus<'a>>> = BTreeMap::new();
        for own in callbacks.iter().filter_map(LegStatus::of) {
            by_leg
                .entry(&own.received.callback.leg)
                .or_default()
                .push(own);
        }
        let mut legs: Vec<Leg<'a>> = by_leg
            .into_iter()
            .map(|(sid, statuses)| Leg::of(sid, statuses, sip_customers))
            .collect();
        // By SID, not by arrival, so that the plan is the same in any order.
        legs.sort_by_key(|leg| (leg.parent.is_some(), leg.sid));
        let recordings = recordings(callbacks, &legs);
        Self {
            legs,
            recordings,
            waits: &selection.waits,
        }
    }

    /// The first leg of the call, if it has a status.
    pub fn root(&self) -> Option<&Leg<'a>> {
        self.legs.first().filter(|leg| leg.parent.is_none())
    }

    /// All legs with a parent, in the order in which they started.
    pub fn children(&self) -> Vec<&Leg<'a>> {
        let mut children: Vec<&Leg<'a>> = self
            .legs
            .iter()
            .filter(|leg| leg.parent.is_some())
            .collect();
        children.sort_by_cached_key(|leg| (leg.started(), leg.sid));
        children
    }

    /// The answered legs with a parent, in the order in which they were answered.
    pub fn answered_children(&self) -> Vec<&Leg<'a>> {
        let mut answered: Vec<&Leg<'a>> = self.children();
        answered.retain(|child| child.is_answered());
        answered.sort_by_cached_key(|leg| (leg.answered_at(), leg.sid));
        answered
    }

    /// The legs that have not ended: those with a status, and those that others name as parent.
    pub fn open_legs(&self) -> Vec<&'a CallSid> {
        let own = self.legs.iter().filter(|leg| leg.ended.is_none());
        let parents = self.legs.iter().filter_map(|leg| leg.parent);
        let silent = parents.filter(|parent| self.leg(parent).is_none());
        let mut open: Vec<&CallSid> = own.map(|leg| leg.sid).chain(silent).collect();
        open.sort_unstable();
        open.dedup();
        open
    }

    pub fn leg(&self, sid: &CallSid) -> Option<&Leg<'a>> {
        // They are sorted by this.
        let with = |has_parent: bool| {
            let key = |leg: &Leg<'a>| (leg.parent.is_some(), leg.sid).cmp(&(has_parent, sid));
            self.legs.binary_search_by(key)
        };
        let place = with(false).or_else(|_| with(true)).ok()?;
        self.legs.get(place)
    }
}

impl<'a> Leg<'a> {
    fn of(
        sid: &'a CallSid,
        mut statuses: Vec<LegStatus<'a>>,
        sip_customers: &SipCustomers,
    ) -> Self {
        statuses.sort_by_key(|leg| sequence(leg.status));
        let parents = statuses.iter();
        let parents = parents.filter_map(|own| own.received.callback.parent.as_ref());
        let end = statuses
            .iter()
            .map(|leg| leg.status)
            .find(|status| ended_as(status).is_some());
        let latest = end.or(statuses.last().map(|leg| leg.status));
        let party =
            |address: fn(&StatusCallback) -> &str| sip_customers.party(latest.map_or("", address));
        Self {
            sid,
            caller: party(|status| &status.from),
            callee: party(|status| &status.to),
            parent: parents.min(),
            arrived: first_arrival(&statuses, |_| true).map_or(Millis::default(), |first| first.at),
            end,
            ended: first_arrival(&statuses, |status| ended_as(status).is_some()),
            in_progress: first_arrival(&statuses, is_in_progress),
            statuses,
        }
    }

    /// Whether the leg was answered, by a person or by a machine such as a mailbox.
    pub fn is_answered(&self) -> bool {
        self.in_progress.is_some()
            || self
                .end
                .is_some_and(|end| end.status == twilio::CallStatus::Completed)
    }

    /// The last status by Twilio's sequence: the end if there is one.
    pub fn latest(&self) -> Option<&'a StatusCallback> {
        self.end
            .or_else(|| self.statuses.last().map(|leg| leg.status))
    }

    /// When the leg was answered, if it was. Legs are compared by this time, because the one that was
    /// answered first may end last.
    ///
    /// It is the Timestamp of `in-progress`. If only the end is known, it is the Timestamp of the end
    /// minus `CallDuration`. The arrival replaces a Timestamp that is missing.
    pub fn answered_at(&self) -> Millis {
        let answers = self.statuses.iter().map(|leg| leg.status);
        let answers = answers.filter(|status| is_in_progress(status));
        let answer = answers.filter_map(|status| status.timestamp).min();
        let talked = self.end.and_then(talk_time);
        let end = self.end.and_then(|end| end.timestamp);
        let computed = end
            .zip(talked)
            .map(|(end, talked)| millis(end).minus(talked));
        let arrived = self.in_progress.map(|answer| answer.at);
        answer
            .map(millis)
            .or(computed)
            .or(arrived)
            .unwrap_or_else(|| self.ended_at().minus(talked.unwrap_or_default()))
    }

    /// When the leg ended: the Timestamp of its end, else its arrival; later than all if it has not.
    pub fn ended_at(&self) -> Millis {
        let end = self.end.and_then(|end| end.timestamp).map(millis);
        let arrived = self.ended.map(|ended| ended.at);
        end.or(arrived).unwrap_or(Millis(i64::MAX))
    }

    /// The first Timestamp, else the first arrival.
    fn started(&self) -> Millis {
        let times = self.statuses.iter().filter_map(|leg| leg.status.timestamp);
        times.min().map_or(self.arrived, millis)
    }
}

/// The first of the callbacks with such a status.
fn first_arrival(
    statuses: &[LegStatus<'_>],
    is_wanted: impl Fn(&StatusCallback) -> bool,
) -> Option<Arrival> {
    let wanted = statuses.iter().filter(|own| is_wanted(own.status));
    wanted
        .map(|own| Arrival::of(own.received))
        .reduce(Arrival::first)
}

fn is_in_progress(status: &StatusCallback) -> bool {
    status.status == twilio::CallStatus::InProgress
}

/// `CallDuration`: the time from the answer to the end. Legs are ordered also by one that Acquire does
/// not get, because it is no whole number.
fn talk_time(end: &StatusCallback) -> Option<Duration> {
    let seconds = end.call_duration.as_ref()?.parse().ok()?;
    let talked = Duration::try_from_secs_f64(seconds).ok()?;
    (talked <= LONGEST_CALL).then_some(talked)
}

fn millis(time: jiff::Timestamp) -> Millis {
    Millis(time.as_millisecond())
}

/// The recordings that callbacks of their own or the ends of legs name.
fn recordings<'a>(callbacks: &'a [UsedCallback<'a>], legs: &[Leg<'a>]) -> Vec<KnownRecording<'a>> {
    let of_ends = legs.iter().filter_map(|leg| {
        let end = leg.end?;
        let stage = match (&end.recording_url, &end.recording_sid) {
            (None, None) => return None,
            _ if end.origin == FieldSource::App => RecordingStage::Unproven,
            (Some(url), _) => RecordingStage::Ready(url),
            (None, Some(_)) => RecordingStage::UnderWay,
        };
        let ends = leg.statuses.iter().filter(|own| own.status == end);
        let first = ends.map(|own| own.received).min_by_key(|first| first.at)?;
        Some(KnownRecording {
            sid: end.recording_sid.as_ref(),
            leg: leg.sid,
            account: &first.callback.account,
            stage,
            ready: stage.is_ready().then(|| Arrival::of(first)),
            seconds: end
                .recording_duration
                .filter(|_| stage != RecordingStage::Unproven),
            started: None,
            error_code: None,
        })
    });
    let (of_apps, of_ends): (Vec<_>, Vec<_>) =
        of_ends.partition(|recording| recording.stage == RecordingStage::Unproven);
    let mut own: Vec<KnownRecording<'a>> = callbacks
        .iter()
        .filter_map(|received| match &received.callback.kind {
            twilio::CallbackContent::Recording(reported) => Some(KnownRecording {
                sid: Some(&reported.sid),
                leg: &received.callback.leg,
                account: &received.callback.account,
                stage: stage(reported),
                ready: stage(reported).is_ready().then(|| Arrival::of(received)),
                seconds: reported.duration,
                started: reported.started,
                error_code: reported.error_code.as_deref(),
            }),
            twilio::CallbackContent::Status(_) => None,
        })
        .collect();
    own.sort_by_key(|reported| reported.leg);
    let mut known: Vec<KnownRecording<'a>> = Vec::new();
    let mut places: BTreeMap<&RecordingSid, usize> = BTreeMap::new();
    // Ends first and apps last, because `merge` keeps the leg that was named first.
    for reported in of_ends.into_iter().chain(own).chain(of_apps) {
        let next = known.len();
        let place = reported
            .sid
            .map_or(next, |sid| *places.entry(sid).or_insert(next));
        match known.get_mut(place) {
            Some(same) => same.merge(&reported),
            None => known.push(reported),
        }
    }
    known.sort_by_key(|recording| (recording.leg, recording.sid, recording.stage.rank()));
    known
}

fn stage(reported: &twilio::RecordingCallback) -> RecordingStage<'_> {
    match (&reported.status, &reported.url) {
        (RecordingStatus::Completed, Some(url)) => RecordingStage::Ready(url),
        (RecordingStatus::Completed | RecordingStatus::Absent | RecordingStatus::Failed, _) => {
            RecordingStage::Nothing(&reported.status)
        }
        (RecordingStatus::InProgress, _) => RecordingStage::UnderWay,
        (RecordingStatus::Unknown(_), _) => RecordingStage::Unknown(&reported.status),
    }
}

impl<'a> KnownRecording<'a> {
    /// The leg named first stays: the end of a leg names its own recording.
    fn merge(&mut self, reported: &KnownRecording<'a>) {
        if reported.stage.rank() < self.stage.rank() {
            self.stage = reported.stage;
        }
        let ready = [self.ready, reported.ready].into_iter().flatten();
        self.ready = ready.reduce(Arrival::first);
        self.seconds = self.seconds.max(reported.seconds);
        self.started = self.started.max(reported.started);
        self.error_code = self.error_code.max(reported.error_code);
    }

    pub fn name(&self) -> String {
        self.sid.map_or_else(
            || "its recording".to_owned(),
            |sid| format!("recording {sid}"),
        )
    }
}

impl<'a> RecordingStage<'a> {
    fn is_ready(self) -> bool {
        matches!(self, Self::Ready(_))
    }

    /// Of two stages of one recording, the lower applies. The text makes it a total order.
    fn rank(&self) -> (u8, &'a str) {
        match self {
            Self::Ready(url) => (0, url),
            Self::Nothing(status) => (1, status.as_str()),
            Self::UnderWay => (2, ""),
            Self::Unknown(status) => (3, status.as_str()),
            Self::Unproven => (4, ""),
        }
    }
}
