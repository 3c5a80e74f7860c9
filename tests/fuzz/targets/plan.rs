//! Arbitrary callbacks and attempts of one call.
//!
//! Each step takes two bytes: a callback, a wait, an answer of Acquire, a requeue or a change of
//! settings. The plan never panics, never asks for a request that Acquire accepted, and ends.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use twilio_acquire_bridge::acquire::{DeliveryFault, RequestKind};
use twilio_acquire_bridge::clock::Millis;
use twilio_acquire_bridge::domain::attempt::{Attempt, Verdict};
use twilio_acquire_bridge::domain::cause::Cause;
use twilio_acquire_bridge::domain::plan::{
    AcquireRequest, History, LateRecording, MissedStatus, Next, Plan, ReceivedCallback, ReportMode,
    Rules, SipCustomers, effects,
};
use twilio_acquire_bridge::twilio::callback;

const STATUSES: [&str; 8] = [
    "initiated",
    "ringing",
    "in-progress",
    "completed",
    "busy",
    "no-answer",
    "canceled",
    "failed",
];
const DIRECTIONS: [&str; 4] = ["inbound", "outbound-dial", "outbound-api", "sideways"];
const ADDRESSES: [&str; 8] = [
    "%2B12025550101",
    "%2B12025550102",
    "client%3Ajane",
    "client%3Abob",
    "",
    "sip%3Ann%40carrier.example.com",
    "sip%3A7%40pbx.example.com",
    "whatsapp%3A%2B12025550103",
];
const LEGS: usize = 5;

struct Trial {
    now: Millis,
    rules: Rules,
    callbacks: Vec<ReceivedCallback>,
    attempts: Vec<Attempt>,
    before_requeue: usize,
}

impl Trial {
    fn step(&mut self, what: u8, how: u8) {
        match what {
            0..=159 => self.callback(what, how),
            160..=175 => self.recording(what, how),
            176..=199 => {
                self.now = self
                    .now
                    .plus(Duration::from_secs(u64::from(how) * u64::from(how)))
            }
            200..=239 => self.answer(how),
            240..=244 => self.before_requeue = self.attempts.len(),
            _ => self.settings(how),
        }
        self.plan();
    }

    fn receive(&mut self, form: &str, path: &str) {
        let url = format!("https://bridge.example.com/twilio/voice/{path}");
        if let Ok(callback) = callback::read(form.as_bytes(), &url) {
            self.callbacks.push(ReceivedCallback {
                at: self.now,
                callback,
            });
        }
    }

    fn callback(&mut self, what: u8, how: u8) {
        let (leg, status) = (
            usize::from(what) % LEGS,
            usize::from(what) / LEGS % STATUSES.len(),
        );
        let how = usize::from(how);
        let mut form = format!(
            "CallSid=CA{leg:032}&AccountSid=AC{:032}&CallStatus={}&Direction={}&From={}&To={}",
            1,
            STATUSES[status],
            DIRECTIONS[how % 3 + usize::from(how == 255)],
            ADDRESSES[(how + leg) % ADDRESSES.len()],
            ADDRESSES[(how / 8 + leg) % ADDRESSES.len()],
        );
        if how % 7 != 0 {
            form.push_str("&CallbackSource=call-progress-events");
        }
        if leg > 0 && how % 5 != 0 {
            form.push_str(&format!("&ParentCallSid=CA{:032}", (leg - 1) * (how % 2)));
        }
        if how % 3 == 0 {
            form.push_str(&format!(
                "&CallDuration={}&SequenceNumber={}",
                how / 3,
                how % 4
            ));
        }
        if how % 4 == 1 {
            form.push_str(&format!(
                "&Timestamp=Mon%2C+30+Nov+2026+10%3A00%3A{:02}+%2B0000",
                how % 60
            ));
        }
        if how % 11 == 0 {
            form.push_str("&RecordingUrl=https%3A%2F%2Fapi.twilio.com%2FRE1&RecordingDuration=3");
        }
        self.receive(&form, "status");
    }

    fn recording(&mut self, what: u8, how: u8) {
        let status = ["in-progress", "completed", "absent", "failed"][usize::from(how) % 4];
        let leg = usize::from(what) % LEGS;
        let form = format!(
            "CallSid=CA{leg:032}&AccountSid=AC{:032}&RecordingSid=RE{:032}&RecordingStatus={status}\
             &RecordingUrl=https%3A%2F%2Fapi.twilio.com%2FRE{how}&RecordingDuration={how}",
            1,
            how / 4
        );
        self.receive(&form, "recording");
    }

    fn answer(&mut self, how: u8) {
        let Next::Send(request) = self.plan() else {
            return;
        };
        let (verdict, status, fault) = match how % 4 {
            0 | 1 => (Verdict::Accepted, Some(200), None),
            2 => {
                let again = self.now.plus(Duration::from_secs(u64::from(how)));
                (Verdict::Again(again), Some(500), Some(DeliveryFault::Busy))
            }
            _ => (
                Verdict::GivenUp("Acquire refused it with 422".to_owned()),
                Some(422),
                None,
            ),
        };
        self.attempt(&request, verdict, status, fault);
    }

    fn attempt(
        &mut self,
        request: &AcquireRequest,
        verdict: Verdict,
        status: Option<u16>,
        fault: Option<DeliveryFault>,
    ) {
        let report_mode = self.history().mode(&self.rules);
        self.attempts.push(Attempt {
            leg: request.leg.clone(),
            kind: request.message.kind(),
            report_mode,
            at: self.now,
            took: Duration::from_millis(20),
            sent: request.message.to_json(),
            status,
            verdict,
            fault,
            excerpt: String::new(),
        });
    }

    fn settings(&mut self, how: u8) {
        let pick = |bit: u8| how & (1 << bit) != 0;
        self.rules.legs.report = if pick(0) {
            ReportMode::Call
        } else {
            ReportMode::Legs
        };
        self.rules.legs.missed = if pick(1) {
            MissedStatus::Parent
        } else {
            MissedStatus::Children
        };
        self.rules.sip_customers = if pick(2) {
            SipCustomers::All
        } else {
            SipCustomers::default()
        };
        self.rules.recordings.late = if pick(3) {
            LateRecording::Resend
        } else {
            LateRecording::Keep
        };
        self.rules.empty_to = pick(4).then(|| "unknown".to_owned());
    }

    fn history(&self) -> History<'_> {
        History::requeued(&self.attempts, self.before_requeue)
    }

    fn plan(&self) -> Next {
        if self.callbacks.is_empty() {
            return Next::Skipped(Cause::NotEnded, String::new());
        }
        let history = self.history();
        let plan = Plan::of(&self.callbacks, history, &self.rules, self.now);
        let _ = effects(&self.callbacks, history, &self.rules, self.now);
        if let Next::Send(request) = plan.next() {
            let is_same = |attempt: &&Attempt| {
                attempt.leg == request.leg && attempt.kind == request.message.kind()
            };
            // CallEndAgain carries a recording that came late: there can be several.
            assert!(
                request.message.kind() == RequestKind::CallEndAgain
                    || !history
                        .current()
                        .iter()
                        .filter(is_same)
                        .any(|made| made.verdict.is_accepted()),
                "a request that Acquire accepted is sent again"
            );
        }
        plan.next().clone()
    }

    /// Accepts each request until nothing is left to send.
    fn finish(&mut self) {
        for _ in 0..200 {
            match self.plan() {
                Next::Send(request) => self.attempt(&request, Verdict::Accepted, Some(200), None),
                Next::Wait(until) => {
                    assert!(until > self.now, "a wait that is over");
                    self.now = until;
                }
                _ => return,
            }
        }
        panic!("the call never ends");
    }
}

fuzz_target!(|data: &[u8]| {
    let mut trial = Trial {
        now: Millis(1_796_036_400_000),
        rules: Rules::default(),
        callbacks: Vec::new(),
        attempts: Vec::new(),
        before_requeue: 0,
    };
    for step in data.chunks_exact(2).take(60) {
        trial.step(step[0], step[1]);
    }
    trial.finish();
});
