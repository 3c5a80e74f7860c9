//! The plan for single callbacks and attempts. Scenario folders cover whole calls.

use std::time::Duration;

use super::*;
use crate::acquire::{self, CallEnd, RequestKind};
use crate::domain::attempt::Verdict;
use crate::domain::directory::Directory;
use crate::twilio::callback::{CallbackKind, parse};
use crate::twilio::{self, CallSid, Callback, UrlEmail};

const NOW: Millis = Millis(1_000_000);

const PARENT: &str = "CA00000000000000000000000000000001";
const CHILD: &str = "CA00000000000000000000000000000002";
const AGENT: &str = "+14045550142";

/// A callback of an inbound call's first leg, with these fields in place of the usual ones.
fn callback(changes: &[(&str, &str)]) -> Callback {
    let mut fields: Vec<(String, String)> = [
        ("CallSid", PARENT),
        ("AccountSid", "AC00000000000000000000000000000001"),
        ("CallStatus", "completed"),
        ("Direction", "inbound"),
        ("From", "+12025550123"),
        ("To", "+14045550199"),
        ("CallDuration", "35"),
        ("CallbackSource", "call-progress-events"),
    ]
    .iter()
    .filter(|(name, _)| !changes.iter().any(|(changed, _)| changed == name))
    .chain(changes)
    .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
    .collect();
    let email = fields.iter().position(|(name, _)| name == "?email");
    let email = email.map(|at| {
        let raw = fields.swap_remove(at).1;
        UrlEmail {
            text: raw.replace('+', " "),
            has_plus: raw.contains('+'),
        }
    });
    parse(CallbackKind::Status, &fields, email).expect("a status callback")
}

fn child(changes: &[(&str, &str)]) -> Callback {
    let usual = [
        ("CallSid", CHILD),
        ("ParentCallSid", PARENT),
        ("Direction", "outbound-dial"),
        ("To", AGENT),
    ];
    let kept = usual
        .iter()
        .filter(|(name, _)| !changes.iter().any(|(changed, _)| changed == name));
    callback(&kept.chain(changes).copied().collect::<Vec<_>>())
}

fn attempt(leg: &str, verdict: Verdict) -> Attempt {
    Attempt {
        leg: CallSid::parse(leg).expect("a SID"),
        kind: RequestKind::CallEnd,
        report_mode: ReportMode::Legs,
        at: Millis(0),
        took: Duration::ZERO,
        sent: String::new(),
        status: Some(if matches!(verdict, Verdict::GivenUp(_)) {
            422
        } else {
            200
        }),
        verdict,
        fault: None,
        excerpt: String::new(),
    }
}

fn plan(callbacks: &[ReceivedCallback], attempts: &[Attempt], rules: &Rules, now: Millis) -> Next {
    Plan::of(callbacks, History::of(attempts), rules, now)
        .next()
        .clone()
}

fn next(callbacks: &[Callback], attempts: &[Attempt]) -> Next {
    plan(&received(callbacks), attempts, &Rules::default(), NOW)
}

fn received(callbacks: &[Callback]) -> Vec<ReceivedCallback> {
    let received = callbacks.iter().cloned().map(|callback| ReceivedCallback {
        at: Millis(0),
        callback,
    });
    received.collect()
}

/// The call-end that is due.
fn sent(next: Next) -> CallEnd {
    match next {
        Next::Send(AcquireRequest {
            message: AcquireMessage::CallEnd(call_end),
            ..
        }) => call_end,
        other => panic!("nothing is sent: {other:?}"),
    }
}

fn sent_by(rules: &Rules, callback: Callback) -> CallEnd {
    sent(plan(&received(&[callback]), &[], rules, NOW))
}

#[test]
fn each_terminal_status_ends_a_call_and_no_other_does() {
    for (word, status) in [
        ("completed", acquire::CallStatus::Completed),
        ("busy", acquire::CallStatus::Busy),
        ("no-answer", acquire::CallStatus::NoAnswer),
        ("canceled", acquire::CallStatus::Canceled),
        ("failed", acquire::CallStatus::Failed),
    ] {
        let call_end = sent(next(&[callback(&[("CallStatus", word)])], &[]));
        assert_eq!(call_end.call_status, status, "{word}");
        assert_eq!(call_end.call_id, PARENT);
        assert_eq!(call_end.duration.as_deref(), Some("35"));
    }
    for word in ["queued", "initiated", "ringing", "in-progress"] {
        let skipped = Next::Skipped(
            Cause::NotEnded,
            format!("leg {PARENT} has not ended (CallStatus {word})"),
        );
        assert_eq!(next(&[callback(&[("CallStatus", word)])], &[]), skipped);
    }
    for word in ["cancelled", "answered", "COMPLETED"] {
        let next = next(&[callback(&[("CallStatus", word)])], &[]);
        assert!(
            matches!(next, Next::Parked(Cause::UnmappableStatus, why) if why.contains(word)),
            "{word}"
        );
    }
}

#[test]
fn a_direction_follows_twilio_unless_softphones_call_out() {
    use acquire::Direction::{Incoming, Outgoing};
    let outgoing = Rules {
        client: ClientParents::Outgoing,
        ..Rules::default()
    };
    for (word, from, as_twilio, for_softphones) in [
        ("inbound", "+12025550123", Incoming, Incoming),
        ("inbound", "client:jane", Incoming, Outgoing),
        ("inbound", "sip:jane@voice.example.com", Incoming, Incoming),
        ("outbound-api", "client:jane", Outgoing, Outgoing),
        ("outbound-dial", "+12025550123", Outgoing, Outgoing),
        ("trunking-originating", "+12025550123", Incoming, Incoming),
        ("trunking-terminating", "+12025550123", Outgoing, Outgoing),
    ] {
        let callback = callback(&[("Direction", word), ("From", from)]);
        let by_default = sent_by(&Rules::default(), callback.clone());
        assert_eq!(by_default.direction, as_twilio, "{word} {from}");
        assert_eq!(
            sent_by(&outgoing, callback).direction,
            for_softphones,
            "{word} {from}"
        );
    }
}

#[test]
fn an_unknown_or_missing_direction_is_parked() {
    let mut missing = callback(&[]);
    if let twilio::CallbackContent::Status(status) = &mut missing.kind {
        status.direction = None;
    }
    for (callback, words) in [
        (
            callback(&[("Direction", "sideways")]),
            "Direction \"sideways\"",
        ),
        (missing, "no Direction"),
    ] {
        let next = next(&[callback], &[]);
        assert!(
            matches!(&next, Next::Parked(Cause::UnmappableDirection, why) if why.contains(words)),
            "{next:?}"
        );
    }
}

#[test]
fn an_empty_to_is_skipped_unless_a_text_is_set_for_it() {
    let softphone = callback(&[("From", "client:jane"), ("To", "")]);
    let next = next(std::slice::from_ref(&softphone), &[]);
    assert!(
        matches!(&next, Next::Skipped(Cause::NoTo, why) if why.contains("calls.empty_to")),
        "{next:?}"
    );

    let rules = Rules {
        empty_to: Some("unknown".to_owned()),
        ..Rules::default()
    };
    assert_eq!(sent_by(&rules, softphone).to, "unknown");
    assert_eq!(sent_by(&rules, callback(&[])).to, "+14045550199");
}

#[test]
fn an_email_comes_from_the_url_then_the_callee_then_the_caller_then_the_default() {
    let rules = |entries: &[(&str, &str)], default: Option<&str>| {
        let entries = entries
            .iter()
            .map(|(at, email)| ((*at).to_owned(), (*email).to_owned()));
        let directory = Directory {
            entries: entries.collect(),
            default: default.map(str::to_owned),
        };
        Rules {
            directory,
            ..Rules::default()
        }
    };
    let all = [("+14045550199", "callee"), ("+12025550123", "caller")];
    let caller = [("+12025550123", "caller")];
    let incoming = callback(&[]);
    let outgoing = callback(&[("Direction", "outbound-api")]);
    let named = callback(&[("?email", "url@example.com")]);
    let invalid = callback(&[("?email", "extension-7")]);
    for (callback, rules, expected) in [
        (
            &named,
            rules(&all, Some("default")),
            Some("url@example.com"),
        ),
        (&invalid, rules(&all, Some("default")), Some("callee")),
        (&invalid, rules(&caller, None), None),
        (&incoming, rules(&all, Some("default")), Some("callee")),
        (&outgoing, rules(&all, Some("default")), Some("callee")),
        (&outgoing, rules(&caller, Some("default")), Some("caller")),
        (&incoming, rules(&caller, Some("default")), Some("default")),
        (&incoming, rules(&caller, None), None),
    ] {
        let call_end = sent_by(&rules, callback.clone());
        assert_eq!(call_end.email.as_deref(), expected, "{rules:?}");
    }
}

#[test]
fn the_first_end_wins_by_sequence_number_then_timestamp() {
    let at = |second: u8| format!("Thu, 01 Jan 2026 00:00:{second:02} +0000");
    for (first, later) in [
        (
            [("SequenceNumber", "2"), ("Timestamp", at(9).as_str())],
            [("SequenceNumber", "10"), ("Timestamp", at(1).as_str())],
        ),
        (
            [("SequenceNumber", "2"), ("Timestamp", at(1).as_str())],
            [("SequenceNumber", "2"), ("Timestamp", at(9).as_str())],
        ),
        (
            [("SequenceNumber", "2"), ("Timestamp", at(9).as_str())],
            [("SequenceNumber", ""), ("Timestamp", at(1).as_str())],
        ),
    ] {
        let busy = callback(&[&first[..], &[("CallStatus", "busy")]].concat());
        let completed = callback(&[&later[..], &[("CallStatus", "completed")]].concat());
        for callbacks in [[busy.clone(), completed.clone()], [completed, busy]] {
            let call_end = sent(next(&callbacks, &[]));
            assert_eq!(
                call_end.call_status,
                acquire::CallStatus::Busy,
                "{first:?} {later:?}"
            );
        }
    }
}

#[test]
fn an_end_after_an_unknown_status_is_sent() {
    let statuses = [callback(&[("CallStatus", "transferred")]), callback(&[])];
    assert_eq!(
        sent(next(&statuses, &[])).call_status,
        acquire::CallStatus::Completed
    );
}

mod answers;
mod attempts;
mod class;
mod conversations;
mod evidence;
mod first_tried;
mod imported;
mod order;
mod sent;
mod values;
mod whole;
