//! Chooses the recording of a call-end, decides how long to wait for one, and handles late ones.
//!
//! Of several recordings it chooses the longest, because that has most of the conversation; of
//! equally long ones the one that started first, then the one with the lowest SID.
//!
//! It makes no link (`domain/recording_link.rs`) and fetches nothing.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use super::call::{Call, KnownRecording, Leg, RecordingStage};
use super::conversation::{Conversation, places};
use super::item::{Awaited, Wait};
use super::progress::Attempts;
use super::reported::Reported;
use super::rules::{LateRecording, RecordingExpectation, RecordingRules, Rules};
use super::status::sendable;
use crate::acquire::{CallEnd, RequestKind};
use crate::clock::Millis;
use crate::domain::recording_link::RecordingLinks;
use crate::twilio::{CallSid, RecordingSid, RecordingStatus};

/// The recording of one reported leg.
pub(super) struct RecordingChoice<'a> {
    pub sid: Option<&'a RecordingSid>,
    /// The position of the callback since which it can be fetched.
    pub position: usize,
    /// The URL that Acquire gets.
    pub url: Option<String>,
    pub wait: Option<Wait>,
    /// Why it was chosen, or why there is none.
    pub reason: Option<Cow<'static, str>>,
}

/// Chooses the recording for the call-end of a leg that ended at `ended`.
pub(super) fn find<'a>(
    reported: &Reported<'_, 'a>,
    ended: Millis,
    rules: &RecordingRules,
    now: Millis,
) -> RecordingChoice<'a> {
    let candidates = &reported.recordings[..];
    let until = ended.plus(rules.wait);
    let under_way: Vec<String> = candidates
        .iter()
        .filter(|recording| recording.stage == RecordingStage::UnderWay)
        .map(|recording| recording.name())
        .collect();
    let is_expected = rules.expect == RecordingExpectation::Always
        && reported.expects_recording
        && reported.leg.is_answered()
        && candidates
            .iter()
            .all(|recording| recording.stage == RecordingStage::Unproven);
    let missing = match (under_way.is_empty(), is_expected) {
        (false, _) => Some(under_way.join(", ")),
        (true, true) => Some("a recording (recording.expect = \"always\")".to_owned()),
        (true, false) => None,
    };
    let chosen = longest(candidates);
    let url = chosen.map(|(recording, url)| link(recording, url, &rules.links, now));
    let waits = until > now;
    RecordingChoice {
        sid: chosen.and_then(|(recording, _)| recording.sid),
        position: chosen
            .and_then(|(recording, _)| recording.ready)
            .map_or(0, |ready| ready.position),
        reason: match (&missing, chosen, &url) {
            (_, _, Some(Err(why))) => Some(Cow::Borrowed(*why)),
            (Some(what), None, _) if !waits => {
                Some(Cow::Owned(format!("waited for {what} until {until}")))
            }
            (_, Some((chosen, url)), _) => why_chosen(candidates, chosen, url, &rules.links),
            (_, None, _) => Some(why_none(candidates)),
        },
        wait: missing.filter(|_| waits).map(|what| Wait {
            until,
            what: Awaited::Recording,
            why: format!("waits for {what}"),
        }),
        url: url.and_then(Result::ok),
    }
}

/// The URL that Acquire gets for a recording that is ready, or why it gets none. A link is valid from
/// its first arrival.
fn link(
    recording: &KnownRecording<'_>,
    url: &str,
    links: &RecordingLinks,
    now: Millis,
) -> Result<String, &'static str> {
    let arrived = recording.ready.map_or(now, |ready| ready.at);
    links.url(recording.account, recording.sid, url, arrived, now)
}

fn longest<'r, 'a>(
    candidates: &[&'r KnownRecording<'a>],
) -> Option<(&'r KnownRecording<'a>, &'a str)> {
    candidates
        .iter()
        .filter_map(|recording| match recording.stage {
            RecordingStage::Ready(url) => Some((*recording, url)),
            _ => None,
        })
        .min_by_key(|(recording, url)| {
            // A recording without a start comes last among equally long ones.
            let started = recording.started.unwrap_or(jiff::Timestamp::MAX);
            (
                Reverse(recording.seconds),
                started,
                recording.sid,
                recording.leg,
                *url,
            )
        })
}

fn why_chosen(
    candidates: &[&KnownRecording<'_>],
    chosen: &KnownRecording<'_>,
    url: &str,
    links: &RecordingLinks,
) -> Option<Cow<'static, str>> {
    let own_url = links.leaves_alone(url).then(|| {
        "its own URL, because it is stored outside Twilio, where the bridge cannot fetch it \
         (recording.link)"
            .to_owned()
    });
    let longest = (candidates.len() > 1)
        .then(|| format!("{}: the longest of {}", chosen.name(), candidates.len()));
    let why: Vec<String> = longest.into_iter().chain(own_url).collect();
    (!why.is_empty()).then(|| why.join("; ").into())
}

/// Why no recording is ready.
fn why_none(candidates: &[&KnownRecording<'_>]) -> Cow<'static, str> {
    if candidates.is_empty() {
        return "no callback names a recording".into();
    }
    let each = candidates.iter().map(|recording| {
        let name = recording.name();
        let code = recording
            .error_code
            .map(|code| format!(" (ErrorCode {code})"))
            .unwrap_or_default();
        match recording.stage {
            RecordingStage::Nothing(RecordingStatus::Completed) => {
                format!("{name} is completed, but has no RecordingUrl{code}")
            }
            RecordingStage::Nothing(status) | RecordingStage::Unknown(status) => {
                format!("{name} is {status}{code}")
            }
            RecordingStage::Unproven => format!(
                "{name} is named only by a softphone's own leg, which could name any recording"
            ),
            RecordingStage::Ready(_) => format!("{name} is ready"),
            RecordingStage::UnderWay => format!("{name} is not ready yet"),
        }
    });
    each.collect::<Vec<_>>().join(", ").into()
}

/// The recordings of each leg where each leg has a call-end: those that name it. If the leg that they
/// name is not reported, they belong to its first answered child.
pub(super) fn by_leg<'r, 'a>(
    call: &'r Call<'a>,
    rules: &Rules,
) -> BTreeMap<&'a CallSid, Vec<&'r KnownRecording<'a>>> {
    let answered = call.answered_children();
    let mut by_leg: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for recording in &call.recordings {
        let owner = if is_reported(call, recording, rules) {
            Some(recording.leg)
        } else {
            let mut answered = answered.iter();
            let own = answered
                .clone()
                .find(|leg| leg.parent == Some(recording.leg));
            own.or(answered.next()).map(|leg| leg.sid)
        };
        if let Some(owner) = owner {
            by_leg.entry(owner).or_default().push(recording);
        }
    }
    by_leg
}

/// The recordings of each conversation where the whole call is reported. Several conversations share those
/// of a leg that is in none of them, by the time of the recording.
pub(super) fn by_conversation<'r, 'a>(
    all: &[Conversation<'_, '_>],
    call: &'r Call<'a>,
) -> Vec<Vec<&'r KnownRecording<'a>>> {
    let places = places(all);
    let mut recordings = vec![Vec::new(); all.len()];
    for recording in &call.recordings {
        let named = places.get(recording.leg).copied();
        let owners = named.map_or_else(|| conversations_of(recording, all), |place| vec![place]);
        for place in owners {
            recordings[place].push(recording);
        }
    }
    recordings
}

/// The places of the conversations that were recorded: those of which the recording has the middle, and the
/// first that ended after the middle of the recording. All, if its start is not known. While a recording is
/// under way, it may still hold each conversation that ended after its start.
fn conversations_of(recording: &KnownRecording<'_>, all: &[Conversation<'_, '_>]) -> Vec<usize> {
    let Some(started) = recording.started else {
        return (0..all.len()).collect();
    };
    let started = Millis(started.as_millisecond());
    let length = Duration::from_secs(recording.seconds.unwrap_or_default().into());
    let is_under_way = recording.stage == RecordingStage::UnderWay;
    let middle = started.plus(length / 2);
    let later = all.iter().position(|one| one.ended_at > middle);
    let default = later.unwrap_or(all.len().saturating_sub(1));
    let is_of = |(place, one): &(usize, &Conversation<'_, '_>)| {
        let talk = one.ended_at.since(one.answered_at);
        let middle = one.answered_at.plus(talk / 2);
        *place == default
            || (started..started.plus(length)).contains(&middle)
            || is_under_way && started < one.ended_at
    };
    let owners = all.iter().enumerate().filter(is_of);
    owners.map(|(place, _)| place).collect()
}

/// The leg to which a recording that has not been announced would belong.
pub(super) fn expected_of<'a>(call: &Call<'a>, rules: &Rules) -> Option<&'a CallSid> {
    let root = call.root().filter(|root| {
        root.end
            .is_none_or(|end| sendable(root.sid, end, rules).is_ok())
    });
    let first = || call.answered_children().first().map(|leg| leg.sid);
    root.map(|root| root.sid).or_else(first)
}

/// A leg that has not ended may still be reported; one without a status is not.
fn is_reported(call: &Call<'_>, recording: &KnownRecording<'_>, rules: &Rules) -> bool {
    call.leg(recording.leg).is_some_and(|leg| {
        leg.end
            .is_none_or(|end| sendable(leg.sid, end, rules).is_ok())
    })
}

/// The use of a recording that became ready after Acquire had accepted the call-end.
pub(super) enum LateUse {
    /// The call-end as it was sent, with the URL.
    Again(Box<CallEnd>),
    /// It is not sent, for this reason.
    Kept(String),
}

/// The use of the recording that is ready now, if the accepted call-end does not name it.
pub(super) fn late_use(
    attempts: &Attempts<'_>,
    leg: &Leg<'_>,
    found: &RecordingChoice<'_>,
    rules: &RecordingRules,
) -> Option<LateUse> {
    let url = found.url.as_deref()?;
    let sent = accepted_end(attempts, leg)?;
    match (&sent.recording_url, rules.late) {
        (Some(other), _) if other == url || names(other, found.sid) => None,
        (Some(_), _) => Some(LateUse::Kept(format!(
            "leg {}: another recording came after the end was sent with one; Acquire promises \
             nothing about repeats",
            leg.sid
        ))),
        (None, LateRecording::Keep) => Some(LateUse::Kept(format!(
            "leg {}: its recording came after the end was sent; Acquire promises nothing about \
             repeats (recording.late = \"resend\" sends the end again). To wait for such recordings, \
             subscribe RecordingStatusCallbackEvent \"in-progress completed\" at Twilio, or set \
             recording.expect = \"always\"",
            leg.sid
        ))),
        (None, LateRecording::Resend) => Some(LateUse::Again(Box::new(CallEnd {
            recording_url: Some(url.to_owned()),
            ..sent
        }))),
    }
}

/// The positions of the recordings that are ready now and that the accepted call-end does not name.
pub(super) fn late(
    reported: &Reported<'_, '_>,
    attempts: &Attempts<'_>,
    rules: &RecordingRules,
    now: Millis,
) -> Vec<usize> {
    let Some(sent) = accepted_end(attempts, reported.leg) else {
        return Vec::new();
    };
    let late = reported.recordings.iter().filter_map(|recording| {
        let RecordingStage::Ready(url) = recording.stage else {
            return None;
        };
        let url = link(recording, url, &rules.links, now).ok()?;
        let is_this = |other: &String| *other == url || names(other, recording.sid);
        let is_sent = sent.recording_url.as_ref().is_some_and(is_this);
        recording
            .ready
            .filter(|_| !is_sent)
            .map(|ready| ready.position)
    });
    late.collect()
}

/// The call-end of a leg that Acquire accepted.
fn accepted_end(attempts: &Attempts<'_>, leg: &Leg<'_>) -> Option<CallEnd> {
    let accepted = attempts
        .made(leg.sid, RequestKind::CallEnd)
        .find(|attempt| attempt.verdict.is_accepted())?;
    serde_json::from_str(&accepted.sent).ok()
}

/// Whether a URL is of this recording, even with another format or signed with another secret: the
/// settings may have changed since it was sent.
fn names(url: &str, recording: Option<&RecordingSid>) -> bool {
    recording.is_some_and(|sid| url.contains(sid.as_str()))
}
