//! Whatever callbacks are lost or late: after a comparison Acquire has got what it would have got.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;

/// What becomes of a callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Comes,
    IsLost,
    /// It comes after the call is imported, before or after that is sent.
    ComesAfterImport,
    ComesAfterDelivery,
}

/// How a call ends, and whether it has a recording.
#[derive(Clone, Copy, Debug)]
struct Call {
    status: &'static str,
    has_recording: bool,
    ringing: Fate,
    end: Fate,
    recording: Fate,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        Just(Fate::Comes),
        Just(Fate::IsLost),
        Just(Fate::ComesAfterImport),
        Just(Fate::ComesAfterDelivery),
    ]
}

fn call() -> impl Strategy<Value = Call> {
    let status = prop_oneof![
        Just("completed"),
        Just("busy"),
        Just("no-answer"),
        Just("canceled")
    ];
    (status, any::<bool>(), fate(), fate(), fate()).prop_map(
        |(status, has_recording, ringing, end, recording)| Call {
            status,
            has_recording: has_recording && status == "completed",
            ringing,
            end,
            recording,
        },
    )
}

impl Call {
    fn seconds(self) -> u32 {
        if self.status == "completed" { 60 } else { 0 }
    }

    /// Path, form and fate of each callback.
    fn callbacks(self, number: usize) -> Vec<(&'static str, String, Fate)> {
        let form = |status| {
            let seconds = format!("CallDuration={}", self.seconds());
            status_form(&sid(number), status).replace("CallDuration=10", &seconds)
        };
        let mut all = vec![(STATUS, form("ringing"), self.ringing)];
        if self.has_recording {
            let (call, recording) = (sid(number), recording_sid(number));
            let url = format!(
                "https%3A%2F%2Fapi.twilio.com%2F2010-04-01%2FAccounts%2F{ACCOUNT}%2FRecordings%2F{recording}"
            );
            all.push((
                "/twilio/voice/recording",
                format!(
                    "AccountSid={ACCOUNT}&CallSid={call}&RecordingSid={recording}\
                     &RecordingStatus=completed&RecordingDuration=4&RecordingUrl={url}"
                ),
                self.recording,
            ));
        }
        // The recording is ready before the end.
        all.push((STATUS, form(self.status), self.end));
        all
    }

    fn is_listed_in(self, number: usize, world: &World) {
        world.has_call(number, |call| {
            (call.status, call.duration) = (self.status, Some(self.seconds()));
        });
        if self.has_recording {
            let recording = FakeRecording {
                sid: recording_sid(number),
                account: ACCOUNT.to_owned(),
                call: sid(number),
                created: world.clock.now(),
                duration: 4,
                status: "completed",
            };
            world.api.with(|records| records.recordings.push(recording));
        }
    }
}

fn recording_sid(number: usize) -> String {
    format!("RE{number:032x}")
}

fn sends(world: &World, calls: &[Call], which: impl Fn(Fate) -> bool) {
    for (number, call) in (2..).zip(calls) {
        for (path, form, fate) in call.callbacks(number) {
            if which(fate) {
                let answer = world.bridge.twilio.sends_form(path, &form);
                assert_eq!(answer.status, 204, "{}", answer.body);
            }
        }
    }
}

/// A world in which call 1 and its recording were reported.
fn world() -> World {
    let world = World::with(&[("BRIDGE__RECORDING__LATE", "resend")]);
    world.reports(1);
    let first = Call {
        status: "completed",
        has_recording: true,
        ringing: Fate::Comes,
        end: Fate::Comes,
        recording: Fate::Comes,
    };
    for (path, form, _) in first.callbacks(1) {
        world.bridge.twilio.sends_form(path, &form);
    }
    world
}

/// What Acquire knows of each call: a recording that comes late is sent by a request of its own.
fn got(world: &World, calls: &[Call]) -> Vec<Value> {
    let about = |number| {
        let mut known = json!({});
        for sent in world.sent(number) {
            for (name, value) in sent.as_object().expect("an object") {
                known[name] = value.clone();
            }
        }
        known
    };
    (2..2 + calls.len()).map(about).collect()
}

fn all_came(calls: &[Call]) -> Vec<Value> {
    let world = world();
    sends(&world, calls, |_| true);
    world.waits(3 * HOUR);
    got(&world, calls)
}

fn some_came(calls: &[Call]) -> Vec<Value> {
    let world = world();
    for (number, call) in (2..).zip(calls) {
        call.is_listed_in(number, &world);
    }
    sends(&world, calls, |fate| fate == Fate::Comes);
    world.waits(2 * HOUR);
    // Until the late callbacks came, nothing is sent.
    world.bridge.acquire.answers([Reply::Status(401)]);
    world.bridge.twilio.ends(&sid(99), "busy");
    world.bridge.settles();
    world.asks(&json!({}));
    sends(&world, calls, |fate| fate == Fate::ComesAfterImport);
    world.waits(HOUR);
    world.waits(HOUR);
    sends(&world, calls, |fate| fate == Fate::ComesAfterDelivery);
    world.waits(HOUR);
    world.reconciles(&json!({}));
    world.waits(HOUR);
    got(&world, calls)
}

#[test]
fn whatever_callbacks_are_lost_or_late_acquire_gets_the_same_after_a_comparison() {
    let config = Config {
        cases: 12,
        max_shrink_iters: 20,
        failure_persistence: None,
        ..Config::default()
    };
    let calls = proptest::collection::vec(call(), 1..6);
    let checked = TestRunner::new(config).run(&calls, |calls| {
        prop_assert_eq!(some_came(&calls), all_came(&calls));
        Ok(())
    });
    checked.unwrap_or_else(|why| panic!("{why}"));
}
