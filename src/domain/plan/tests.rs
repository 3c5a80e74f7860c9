//! The plan by cases. Scenario folders cover whole calls.
//!
//! A case is written as text, which [`read`] and [`Case::tried`] explain.

use std::collections::BTreeMap;
use std::time::Duration;

use percent_encoding::percent_decode_str;

use super::*;
use crate::acquire::{self, CallEnd, DeliveryFault};
use crate::domain::attempt::{Attempt, Verdict};
use crate::twilio::callback::{CallbackKind, parse};
use crate::twilio::{CallSid, CallbackContent, UrlEmail};

const NOW: i64 = 1_000_000;

/// After `calls.wait`.
const WAITED: i64 = 4 * 3_600_000;

/// Their SIDs are numbered from 1.
const LEGS: [&str; 5] = ["parent", "child", "second", "third", "other"];

const OF_ALL: &str = "AccountSid=AC00000000000000000000000000000001";

const OF_LEG: &str = "CallStatus=completed Direction=inbound From=+12025550123 To=+14045550199 \
                      CallDuration=35 CallbackSource=call-progress-events";

const OF_CHILD: &str = "ParentCallSid=parent Direction=outbound-dial To=+14045550142";

const OF_RECORDING: &str = "CallSid=parent RecordingStatus=completed";

const ALL_EVENTS: EventRules = EventRules {
    in_queue: Forward::On,
    ringing: Forward::On,
    answered: Forward::On,
};

fn sid(leg: &str) -> String {
    let place = LEGS.iter().position(|name| *name == leg);
    format!("CA{:032}", place.expect("the name of a leg") + 1)
}

/// A text with the names of legs in place of their SIDs.
fn named(text: &str) -> String {
    LEGS.iter()
        .fold(text.to_owned(), |text, leg| text.replace(&sid(leg), leg))
}

/// Reads callbacks between `;`. Each is a leg or a recording (`RE1`), and words: the status; a field in
/// place of the usual one; `5-65`, the seconds from the answer of a leg, or the start of a recording, to its
/// end; or `@` and the arrival in milliseconds. A time is in seconds, and a leg has its name.
fn read(text: &str) -> Vec<ReceivedCallback> {
    text.split("; ").map(read_one).collect()
}

fn read_one(text: &str) -> ReceivedCallback {
    let (name, words) = text.split_once(' ').unwrap_or((text, ""));
    let number = name.strip_prefix("RE");
    let recording = number.map(|number| format!("RE{number:0>32}"));
    let own = match &recording {
        Some(sid) => {
            format!("{OF_RECORDING} RecordingSid={sid} RecordingUrl=https://api.twilio.com/{sid}")
        }
        None if name == "parent" => format!("{OF_LEG} CallSid={name}"),
        None => format!("{OF_LEG} {OF_CHILD} CallSid={name}"),
    };
    let (mut fields, mut at) = (BTreeMap::new(), 0);
    for word in format!("{OF_ALL} {own} {words}").split_whitespace() {
        let talk = || {
            let (from, to) = word.split_once('-')?;
            Some((from.parse::<u32>().ok()?, to.parse::<u32>().ok()?))
        };
        if let Some((field, value)) = word.split_once('=') {
            let value = match field {
                "CallSid" | "ParentCallSid" if !value.is_empty() => sid(value),
                "Timestamp" | "RecordingStartTime" => value.parse().map_or(String::new(), time),
                _ => percent_decode_str(value).decode_utf8_lossy().into(),
            };
            fields.insert(field.to_owned(), value);
        } else if let Some(millis) = word.strip_prefix('@') {
            at = millis.parse().expect("milliseconds");
        } else if let Some((from, to)) = talk() {
            let (time_of, at, duration) = match recording {
                Some(_) => ("RecordingStartTime", from, "RecordingDuration"),
                None => ("Timestamp", to, "CallDuration"),
            };
            fields.insert(time_of.to_owned(), time(at));
            fields.insert(duration.to_owned(), (to - from).to_string());
        } else {
            let field = recording
                .as_ref()
                .map_or("CallStatus", |_| "RecordingStatus");
            fields.insert(field.to_owned(), word.to_owned());
        }
    }
    let email = fields.remove("?email").map(|raw| UrlEmail {
        text: raw.replace('+', " "),
        has_plus: raw.contains('+'),
    });
    let kind = recording.map_or(CallbackKind::Status, |_| CallbackKind::Recording);
    let fields = fields.into_iter().collect();
    ReceivedCallback {
        at: Millis(at),
        callback: parse(kind, &fields, email).expect("a callback"),
    }
}

/// A time of the first hour of 2026, as Twilio writes it.
fn time(second: u32) -> String {
    let (minute, second) = (second / 60, second % 60);
    format!("Thu, 01 Jan 2026 00:{minute:02}:{second:02} +0000")
}

/// A call: its callbacks and attempts, and the rules.
#[derive(Clone, Debug)]
struct Case {
    known: Vec<ReceivedCallback>,
    attempts: Vec<Attempt>,
    /// The number of attempts before a requeue.
    earlier: usize,
    rules: Rules,
}

/// A call of which each leg is reported.
fn legs(text: &str) -> Case {
    Case {
        known: read(text),
        attempts: Vec::new(),
        earlier: 0,
        rules: Rules::default(),
    }
}

/// A call that is reported as one.
fn one_call(text: &str) -> Case {
    legs(text).with(|rules| rules.legs.report = ReportMode::Call)
}

/// Both, where one call does not wait for other legs.
fn modes(text: &str) -> [Case; 2] {
    [
        legs(text),
        one_call(text).with(|rules| rules.legs.settle = Duration::ZERO),
    ]
}

impl Case {
    fn with(mut self, change: impl FnOnce(&mut Rules)) -> Self {
        change(&mut self.rules);
        self
    }

    /// With entries `address=email` of the directory, and `default=email`.
    fn directory(self, entries: &str) -> Self {
        self.with(|rules| {
            for entry in entries.split_whitespace() {
                let (address, email) = entry.rsplit_once('=').expect("an entry");
                let directory = &mut rules.directory;
                if address == "default" {
                    directory.default = Some(email.to_owned());
                } else {
                    let (address, email) = (address.to_owned(), email.to_owned());
                    directory.entries.insert(address, email);
                }
            }
        })
    }

    /// With more callbacks.
    fn and(mut self, text: &str) -> Self {
        self.known.extend(read(text));
        self
    }

    /// With attempts between `;`, of the call-end of a leg: `accepted`, `repeat`, `refused`, or `again` and
    /// the time of the retry; then the time of the attempt after `@`.
    fn tried(mut self, text: &str) -> Self {
        for text in text.split("; ").filter(|text| !text.is_empty()) {
            let words: Vec<&str> = text.split(' ').collect();
            let time = |text: &str| Millis(text.parse().expect("milliseconds"));
            let verdict = match words[1] {
                "accepted" => Verdict::Accepted,
                "repeat" => Verdict::AcceptedAsRepeat,
                "refused" => Verdict::GivenUp("refused".to_owned()),
                again => Verdict::Again(time(again.strip_prefix("again:").expect("a verdict"))),
            };
            let at = words.get(2).and_then(|word| word.strip_prefix('@'));
            let attempt = self.attempt(words[0], verdict);
            self.attempts.push(Attempt {
                at: at.map_or(Millis(0), time),
                ..attempt
            });
        }
        self
    }

    fn attempt(&self, leg: &str, verdict: Verdict) -> Attempt {
        let is_refused = matches!(verdict, Verdict::GivenUp(_));
        Attempt {
            leg: CallSid::parse(&sid(leg)).expect("a SID"),
            kind: acquire::RequestKind::CallEnd,
            report_mode: self.rules.legs.report,
            at: Millis(0),
            took: Duration::ZERO,
            sent: String::new(),
            status: Some(if is_refused { 422 } else { 200 }),
            verdict,
            fault: None,
            excerpt: String::new(),
        }
    }

    /// With an attempt of the request that is due.
    fn answered(mut self, answer: impl FnOnce(&mut Attempt)) -> Self {
        self.attempts.push(self.attempt_at(NOW, answer));
        self
    }

    fn attempt_at(&self, now: i64, answer: impl FnOnce(&mut Attempt)) -> Attempt {
        let Next::Send(request) = self.next(now) else {
            panic!("nothing is sent: {}", self.step(now));
        };
        let mut attempt = Attempt {
            kind: request.message.kind(),
            sent: request.message.to_json(),
            ..self.attempt(&named(request.leg.as_str()), Verdict::Accepted)
        };
        answer(&mut attempt);
        attempt
    }

    /// Requeued: all attempts so far are earlier ones.
    fn requeued(mut self) -> Self {
        self.earlier = self.attempts.len();
        self
    }

    fn history(&self) -> History<'_> {
        History::requeued(&self.attempts, self.earlier)
    }

    fn plan(&self, now: i64) -> Plan {
        Plan::of(&self.known, self.history(), &self.rules, Millis(now))
    }

    fn next(&self, now: i64) -> Next {
        self.plan(now).next().clone()
    }

    /// The next step in words: `call-end child`, `wait 5000`, `parked refused-422: refused`.
    fn step(&self, now: i64) -> String {
        named(&match self.next(now) {
            Next::Send(request) => format!("{} {}", request.message.kind().as_str(), request.leg),
            Next::Wait(until) => format!("wait {}", until.0),
            Next::Delivered => "delivered".to_owned(),
            Next::Skipped(cause, why) => format!("skipped {cause}: {why}"),
            Next::Parked(cause, why) => format!("parked {cause}: {why}"),
        })
    }

    /// The steps from `now` on, if Acquire accepts everything.
    fn steps(&self, now: i64) -> Vec<String> {
        let (mut case, mut steps) = (self.clone(), Vec::new());
        loop {
            steps.push(case.step(now));
            if !matches!(case.next(now), Next::Send(_)) {
                return steps;
            }
            case.attempts.push(case.attempt_at(now, |_| ()));
        }
    }

    /// The call-end that is due.
    fn end(&self) -> CallEnd {
        self.end_at(NOW)
    }

    fn end_at(&self, now: i64) -> CallEnd {
        match self.next(now) {
            Next::Send(AcquireRequest {
                message: AcquireMessage::CallEnd(call_end),
                ..
            }) => call_end,
            _ => panic!("no call-end: {}", self.step(now)),
        }
    }

    /// The requests of the plan, finished ones too.
    fn requests(&self) -> Vec<PlannedRequest> {
        let plan = self.plan(NOW);
        let requests = plan.items().filter_map(|item| match item {
            PlanItem::Send(planned) => Some((**planned).clone()),
            _ => None,
        });
        requests.collect()
    }

    /// Why a field of the first request is as it is.
    fn why(&self, about: About) -> String {
        let requests = self.requests();
        let mut reasons = requests[0].reasons.iter();
        let found = reasons.find(|reason| reason.about == about);
        named(&found.expect("a reason").why)
    }
}

/// Checks rows `callbacks | attempts | step`; a time before the step replaces [`NOW`].
fn check(call: impl Fn(&str) -> Case, rows: &str) {
    for row in rows.lines().map(str::trim).filter(|row| !row.is_empty()) {
        let columns: Vec<&str> = row.split('|').map(str::trim).collect();
        let (time, step) = columns[2]
            .split_once("ms: ")
            .unwrap_or(("1000000", columns[2]));
        let case = call(columns[0]).tried(columns[1]);
        assert_eq!(case.step(time.parse().expect("a time")), step, "{row}");
    }
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
        let end = legs(&format!("parent {word}")).end();
        assert_eq!((end.call_status, end.call_id), (status, sid("parent")));
        assert_eq!(end.duration.as_deref(), Some("35"));
    }
    for word in ["queued", "initiated", "ringing", "in-progress"] {
        let step = legs(&format!("parent {word}")).step(NOW);
        let why = format!("leg parent has not ended (CallStatus {word})");
        assert_eq!(step, format!("skipped not-ended: {why}"));
    }
    for word in ["cancelled", "answered", "COMPLETED"] {
        let step = legs(&format!("parent {word}")).step(NOW);
        assert!(step.starts_with("parked unmappable-status") && step.contains(word));
    }
}

#[test]
fn a_direction_follows_twilio_unless_softphones_call_out() {
    use acquire::Direction::{Incoming, Outgoing};
    for (fields, as_twilio, for_softphones) in [
        ("Direction=inbound", Incoming, Incoming),
        ("Direction=inbound From=client:jane", Incoming, Outgoing),
        (
            "Direction=inbound From=sip:jane@voice.example.com",
            Incoming,
            Incoming,
        ),
        (
            "Direction=outbound-api From=client:jane",
            Outgoing,
            Outgoing,
        ),
        ("Direction=outbound-dial", Outgoing, Outgoing),
        ("Direction=trunking-originating", Incoming, Incoming),
        ("Direction=trunking-terminating", Outgoing, Outgoing),
    ] {
        let case = legs(&format!("parent {fields}"));
        assert_eq!(case.end().direction, as_twilio, "{fields}");
        let outgoing = case.with(|rules| rules.client = ClientParents::Outgoing);
        assert_eq!(outgoing.end().direction, for_softphones, "{fields}");
    }
}

#[test]
fn an_unknown_or_missing_direction_is_parked() {
    let mut missing = legs("parent");
    if let CallbackContent::Status(status) = &mut missing.known[0].callback.kind {
        status.direction = None;
    }
    for (case, words) in [
        (legs("parent Direction=sideways"), "Direction \"sideways\""),
        (missing, "no Direction"),
    ] {
        let step = case.step(NOW);
        assert!(step.starts_with("parked unmappable-direction"), "{step}");
        assert!(step.contains(words), "{step}");
    }
}

#[test]
fn an_empty_to_is_skipped_unless_a_text_is_set_for_it() {
    let softphone = legs("parent From=client:jane To=");
    let step = softphone.step(NOW);
    assert!(step.starts_with("skipped no-to") && step.contains("calls.empty_to"));

    let unknown = |rules: &mut Rules| rules.empty_to = Some("unknown".to_owned());
    assert_eq!(softphone.with(unknown).end().to, "unknown");
    assert_eq!(legs("parent").with(unknown).end().to, "+14045550199");
}

#[test]
fn an_email_comes_from_the_url_then_the_callee_then_the_caller_then_the_default() {
    let (of_to, of_from) = ("+14045550199=callee", "+12025550123=caller");
    let all = format!("{of_to} {of_from} default=default");
    let or_default = format!("{of_from} default=default");
    for (fields, entries, expected) in [
        ("?email=url@example.com", &*all, Some("url@example.com")),
        ("?email=extension-7", &all, Some("callee")),
        ("?email=extension-7", of_from, None),
        ("", &all, Some("callee")),
        ("Direction=outbound-api", &all, Some("callee")),
        ("Direction=outbound-api", &or_default, Some("caller")),
        ("", &or_default, Some("default")),
        ("", of_from, None),
    ] {
        let end = legs(&format!("parent {fields}")).directory(entries).end();
        assert_eq!(end.email.as_deref(), expected, "{fields} {entries}");
    }
}

#[test]
fn the_first_end_wins_by_sequence_number_then_timestamp() {
    for (first, later) in [
        (
            "SequenceNumber=2 Timestamp=9",
            "SequenceNumber=10 Timestamp=1",
        ),
        (
            "SequenceNumber=2 Timestamp=1",
            "SequenceNumber=2 Timestamp=9",
        ),
        (
            "SequenceNumber=2 Timestamp=9",
            "SequenceNumber= Timestamp=1",
        ),
    ] {
        let (busy, completed) = (format!("parent busy {first}"), format!("parent {later}"));
        for text in [
            format!("{busy}; {completed}"),
            format!("{completed}; {busy}"),
        ] {
            assert_eq!(
                legs(&text).end().call_status,
                acquire::CallStatus::Busy,
                "{text}"
            );
        }
    }
}

#[test]
fn an_end_after_an_unknown_status_is_sent() {
    let end = legs("parent transferred; parent").end();
    assert_eq!(end.call_status, acquire::CallStatus::Completed);
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
