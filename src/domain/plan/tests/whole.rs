//! Cases that scenario folders cannot show: the requests due between two arrivals, and after an attempt.

use std::time::Duration;

use super::*;
use crate::domain::recording_link::{LinkKey, LinkSigner, RecordingLinks};

const SECOND_CHILD: &str = "CA00000000000000000000000000000003";

pub(super) fn recording(sid: u8, status: &str, changes: &[(&str, &str)]) -> Callback {
    let sid = format!("RE{sid:032}");
    let url = format!("https://api.twilio.com/{sid}");
    let fields: Vec<(String, String)> = [
        ("CallSid", PARENT),
        ("AccountSid", "AC00000000000000000000000000000001"),
        ("RecordingSid", &sid),
        ("RecordingUrl", &url),
        ("RecordingStatus", status),
    ]
    .iter()
    .filter(|(name, _)| !changes.iter().any(|(changed, _)| changed == name))
    .chain(changes)
    .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
    .collect();
    parse(CallbackKind::Recording, &fields, None).expect("a recording callback")
}

fn rules(change: impl FnOnce(&mut Rules)) -> Rules {
    let mut rules = Rules::default();
    change(&mut rules);
    rules
}

pub(super) fn one_call() -> Rules {
    rules(|rules| rules.legs.report = ReportMode::Call)
}

pub(super) fn at(now: i64, callbacks: &[Callback], rules: &Rules) -> Next {
    plan(&received(callbacks), &[], rules, Millis(now))
}

#[test]
fn an_end_waits_for_its_recording_to_the_millisecond() {
    let known = [callback(&[]), recording(1, "in-progress", &[])];
    let rules = Rules::default();
    assert_eq!(at(119_999, &known, &rules), Next::Wait(Millis(120_000)));
    assert_eq!(sent(at(120_000, &known, &rules)).recording_url, None);
}

#[test]
fn only_the_leg_that_gets_the_recording_waits_for_it() {
    let always = rules(|rules| rules.recordings.expect = RecordingExpectation::Always);
    let known = [callback(&[]), child(&[])];
    assert_eq!(sent(at(0, &known, &always)).call_id, CHILD);
    let softphone = [callback(&[("To", "")]), child(&[])];
    assert_eq!(at(0, &softphone, &always), Next::Wait(Millis(120_000)));
    let missed = [callback(&[("CallStatus", "busy")])];
    assert_eq!(sent(at(0, &missed, &always)).call_id, PARENT);
}

#[test]
fn of_equally_long_recordings_the_first_goes() {
    let later = [("RecordingStartTime", "Thu, 01 Jan 2026 00:00:02 +0000")];
    let first = [("RecordingStartTime", "Thu, 01 Jan 2026 00:00:01 +0000")];
    let long = ("RecordingDuration", "9");
    let url = |recordings: &[Callback]| {
        let known = [&[callback(&[])], recordings].concat();
        sent(at(0, &known, &Rules::default()))
            .recording_url
            .expect("a URL")
    };
    let both = [
        recording(1, "completed", &[later[0], long]),
        recording(2, "completed", &[first[0], long]),
    ];
    assert!(url(&both).ends_with('2'));
    let shorter = [
        recording(1, "completed", &[long]),
        recording(2, "completed", &first),
    ];
    assert!(url(&shorter).ends_with('1'));
}

#[test]
fn a_recording_that_an_end_names_stays_with_its_leg() {
    let own = [
        ("RecordingSid", "RE00000000000000000000000000000001"),
        ("RecordingUrl", "https://api.twilio.com/child"),
    ];
    let known = [callback(&[]), child(&own), recording(1, "completed", &[])];
    let plan = Plan::of(&received(&known), History::of(&[]), &Rules::default(), NOW);
    let ends: Vec<_> = plan
        .items()
        .filter_map(|item| match item {
            PlanItem::Send(planned) => Some(&planned.request),
            _ => None,
        })
        .map(|request| (request.leg.to_string(), request.message.to_json()))
        .collect();
    let has_url = |leg: &str| {
        let end = ends.iter().find(|(other, _)| other == leg);
        end.expect("it is planned").1.contains("RecordingUrl")
    };
    assert!(has_url(CHILD) && !has_url(PARENT));
}

#[test]
fn one_call_is_decided_when_its_legs_have_settled() {
    let known = [callback(&[]), child(&[("CallStatus", "no-answer")])];
    assert_eq!(at(4_999, &known, &one_call()), Next::Wait(Millis(5_000)));
    let end = sent(at(5_000, &known, &one_call()));
    assert_eq!(end.call_status, acquire::CallStatus::NoAnswer);

    let open = [callback(&[]), child(&[("CallStatus", "ringing")])];
    let wait = Duration::from_secs(4 * 3600);
    let until = Millis::default().plus(wait);
    assert_eq!(at(5_000, &open, &one_call()), Next::Wait(until));
    assert_eq!(sent(at(until.0, &open, &one_call())).call_id, PARENT);
}

#[test]
fn a_call_stays_the_leg_that_was_tried_first() {
    let child_alone = [child(&[])];
    let waited = Duration::from_secs(4 * 3600).as_millis();
    let waited = i64::try_from(waited).expect("four hours");
    let first = sent(at(waited, &child_alone, &one_call()));
    assert_eq!(first.call_id, CHILD);
    let known = received(&[child(&[]), callback(&[])]);
    for verdict in [Verdict::Accepted, Verdict::Again(Millis(1))] {
        let again = plan(&known, &[attempt(CHILD, verdict.clone())], &one_call(), NOW);
        match verdict {
            Verdict::Accepted => assert_eq!(again, Next::Delivered),
            _ => assert_eq!(sent(again).call_id, CHILD),
        }
    }
    let parked = [attempt(CHILD, Verdict::GivenUp("refused".to_owned()))];
    assert_eq!(
        plan(&known, &parked, &one_call(), NOW),
        Next::Parked(Cause::Refused(422), "refused".to_owned())
    );
}

#[test]
fn of_several_dialled_phones_the_answered_one_is_the_call() {
    let root = callback(&[("From", "client:jane"), ("To", "")]);
    let busy = child(&[
        ("CallStatus", "busy"),
        ("Timestamp", "Thu, 01 Jan 2026 00:00:01 +0000"),
    ]);
    let taken = child(&[
        ("CallSid", SECOND_CHILD),
        ("Timestamp", "Thu, 01 Jan 2026 00:00:09 +0000"),
    ]);
    let untaken = child(&[
        ("CallSid", SECOND_CHILD),
        ("CallStatus", "no-answer"),
        ("Timestamp", "Thu, 01 Jan 2026 00:00:09 +0000"),
    ]);
    for (second, expected) in [(&taken, SECOND_CHILD), (&untaken, SECOND_CHILD)] {
        let known = [root.clone(), busy.clone(), second.clone()];
        let end = sent(at(5_000, &known, &one_call()));
        assert_eq!(end.call_id, expected);
        assert_eq!(end.direction, acquire::Direction::Outgoing);
    }
    // The order is that of their times, not of their SIDs.
    let later = child(&[
        ("CallStatus", "no-answer"),
        ("Timestamp", "Thu, 01 Jan 2026 00:00:10 +0000"),
    ]);
    let known = [root.clone(), later, untaken.clone()];
    assert_eq!(sent(at(5_000, &known, &one_call())).call_id, CHILD);
    let first_taken = child(&[("Timestamp", "Thu, 01 Jan 2026 00:00:01 +0000")]);
    let known = [root, first_taken, untaken];
    assert_eq!(sent(at(5_000, &known, &one_call())).call_id, CHILD);
}

#[test]
fn legs_that_name_each_other_as_parents_end_all_the_same() {
    let circle = [
        child(&[("CallSid", PARENT), ("ParentCallSid", CHILD)]),
        child(&[]),
    ];
    assert!(matches!(at(5_000, &circle, &one_call()), Next::Send(_)));
    assert!(matches!(at(0, &circle, &Rules::default()), Next::Send(_)));
}

#[test]
fn a_recording_without_its_call_is_skipped() {
    let alone = [recording(1, "completed", &[])];
    for rules in [Rules::default(), one_call()] {
        assert!(
            matches!(at(0, &alone, &rules), Next::Skipped(Cause::NotEnded, why) if why.contains("no leg"))
        );
    }
}

#[test]
fn an_event_that_failed_delays_neither_the_next_nor_the_end() {
    let mut rules = rules(|rules| rules.directory.default = Some("calls@example.com".to_owned()));
    rules.events.ringing = Forward::On;
    rules.events.answered = Forward::On;
    let failed = Attempt {
        kind: RequestKind::CallRinging,
        ..attempt(PARENT, Verdict::Again(Millis(NOW.0 + 500_000)))
    };
    let ringing = callback(&[("CallStatus", "ringing")]);
    let known = [ringing, recording(1, "in-progress", &[]), callback(&[])];
    let next = |known: &[Callback], now| {
        plan(
            &received(known),
            std::slice::from_ref(&failed),
            &rules,
            Millis(now),
        )
    };
    assert_eq!(next(&known[..1], 0), Next::Wait(Millis(NOW.0 + 500_000)));
    assert_eq!(next(&known, 0), Next::Wait(Millis(120_000)));
    assert_eq!(sent(next(&known, 120_000)).call_id, PARENT);
    let attempts = [failed.clone(), attempt(PARENT, Verdict::Accepted)];
    let after = plan(&received(&known), &attempts, &rules, Millis(i64::MAX));
    assert_eq!(after, Next::Delivered, "nothing is sent after the end");
    let answered = [known[0].clone(), callback(&[("CallStatus", "in-progress")])];
    let Next::Send(request) = next(&answered, 0) else {
        panic!("answered is sent");
    };
    assert_eq!(request.message.kind(), RequestKind::CallAnswered);
}

#[test]
fn no_event_is_sent_before_it_is_known_which_leg_is_the_call() {
    let mut rules = one_call();
    rules.events.ringing = Forward::On;
    let ringing = child(&[("CallStatus", "ringing"), ("To", "client:jane")]);
    assert!(matches!(
        at(0, std::slice::from_ref(&ringing), &rules),
        Next::Skipped(Cause::NotEnded, _)
    ));
    let known = [ringing, callback(&[("CallStatus", "in-progress")])];
    let Next::Send(request) = at(0, &known, &rules) else {
        panic!("ringing is sent");
    };
    assert_eq!(request.leg.as_str(), PARENT);
    assert_eq!(request.message.kind(), RequestKind::CallRinging);
}

fn linking(secret: &str) -> Rules {
    let day = Duration::from_secs(86_400);
    let signer = LinkSigner::new(
        "https://bridge.example.com".into(),
        day,
        vec![LinkKey::new(secret)],
    );
    rules(|rules| rules.recordings.links = RecordingLinks::Bridge(signer))
}

#[test]
fn a_link_counts_from_the_first_callback_with_its_url() {
    let arrived = |at, callback: Callback| ReceivedCallback {
        at: Millis(at),
        callback,
    };
    let with_end = callback(&[
        ("RecordingSid", "RE00000000000000000000000000000001"),
        ("RecordingUrl", "https://api.twilio.com/1"),
    ]);
    for (known, expires) in [
        (
            vec![
                arrived(1_000, recording(1, "in-progress", &[])),
                arrived(7_000, recording(1, "completed", &[])),
                arrived(9_000, callback(&[])),
                arrived(9_500, recording(1, "completed", &[])),
            ],
            86_407,
        ),
        (
            vec![
                arrived(3_000, with_end.clone()),
                arrived(8_000, recording(1, "completed", &[])),
            ],
            86_403,
        ),
        (
            vec![arrived(4_000, with_end.clone()), arrived(5_000, with_end)],
            86_404,
        ),
    ] {
        let reversed: Vec<ReceivedCallback> = known.iter().rev().cloned().collect();
        for known in [known, reversed] {
            let end = sent(plan(&known, &[], &linking("made-up"), NOW));
            let url = end.recording_url.expect("a link");
            let link = "https://bridge.example.com/recordings/RE00000000000000000000000000000001?";
            assert!(url.starts_with(link), "{url}");
            assert!(url.contains(&format!("&expires={expires}&")), "{url}");
        }
    }
}

#[test]
fn a_recording_without_a_sid_has_no_link() {
    let known = [callback(&[("RecordingUrl", "https://api.twilio.com/1")])];
    let end = sent(plan(&received(&known), &[], &linking("made-up"), NOW));
    assert_eq!(end.recording_url, None);
}

#[test]
fn a_link_with_another_secret_is_no_late_recording() {
    let known = received(&[callback(&[]), recording(1, "completed", &[])]);
    let taken = Attempt {
        sent: match plan(&known, &[], &linking("old"), NOW) {
            Next::Send(request) => request.message.to_json(),
            other => panic!("{other:?}"),
        },
        ..attempt(PARENT, Verdict::Accepted)
    };
    let new = linking("new");
    let late = |known: &[ReceivedCallback]| {
        let plan = Plan::of(known, History::of(std::slice::from_ref(&taken)), &new, NOW);
        plan.late_recordings().to_vec()
    };
    assert!(late(&known).is_empty());
    let longer = recording(2, "completed", &[("RecordingDuration", "9")]);
    let absent = recording(3, "absent", &[]);
    let shorter = recording(4, "completed", &[("RecordingDuration", "1")]);
    let known = [known, received(&[longer, absent, shorter])].concat();
    assert_eq!(late(&known), [2, 4]);
}
