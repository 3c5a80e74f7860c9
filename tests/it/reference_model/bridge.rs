//! A bridge of one worker: it takes callbacks, plans their calls when something is due, and sends.

use std::time::Duration;

use twilio_acquire_bridge::acquire::CallEnd;
use twilio_acquire_bridge::clock::Millis;
use twilio_acquire_bridge::domain::attempt::{Attempt, Verdict};
use twilio_acquire_bridge::domain::plan::{
    AcquireMessage, AcquireRequest, History, Next, Plan, ReceivedCallback, ReportMode, Rules,
};
use twilio_acquire_bridge::twilio::callback::{self, CallbackParseError};
use twilio_acquire_bridge::twilio::{CallSid, Callback};

use super::traffic::Request;

/// More than any call needs.
const MAX_STEPS: usize = 200;

pub struct Bridge {
    pub rules: Rules,
    pub now: Millis,
    pub sent: Vec<Sent>,
    calls: Vec<Call>,
    /// So many of the next requests fail, and are tried again a minute later.
    pub failures: usize,
}

#[derive(Clone, Debug)]
pub struct Sent {
    pub end: CallEnd,
    pub is_accepted: bool,
    pub mode: ReportMode,
}

#[derive(Default)]
struct Call {
    legs: Vec<CallSid>,
    callbacks: Vec<ReceivedCallback>,
    attempts: Vec<Attempt>,
    before_requeue: usize,
}

impl Bridge {
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            now: Millis(0),
            sent: Vec::new(),
            calls: Vec::new(),
            failures: 0,
        }
    }

    /// Reads a request, and adds it to its call: the one that has its leg or its parent.
    pub fn receive(&mut self, request: &Request) -> Result<(), CallbackParseError> {
        let body = serde_urlencoded::to_string(&request.form).expect("a form");
        let callback = callback::read(body.as_bytes(), &request.url)?;
        self.now = request.at;
        let Callback { leg, parent, .. } = &callback;
        let names: Vec<CallSid> = [leg.clone()].into_iter().chain(parent.clone()).collect();
        let mut joined = Call::default();
        let is_of = |call: &mut Call| call.legs.iter().any(|leg| names.contains(leg));
        for mut call in self.calls.extract_if(.., is_of).collect::<Vec<_>>() {
            joined.legs.append(&mut call.legs);
            joined.callbacks.append(&mut call.callbacks);
            joined.attempts.append(&mut call.attempts);
            joined.before_requeue += call.before_requeue;
        }
        joined.legs.extend(names);
        joined.callbacks.push(ReceivedCallback {
            at: request.at,
            callback,
        });
        self.calls.push(joined);
        Ok(())
    }

    /// Sends all that is due before `until`.
    pub fn work(&mut self, until: Millis) {
        for step in 0.. {
            assert!(step < MAX_STEPS, "the plan never ends");
            let next = self
                .calls
                .iter()
                .map(|call| call.next(&self.rules, self.now));
            let mut wait = None;
            let mut send = None;
            for (place, next) in next.enumerate() {
                match next {
                    Next::Send(request) => send = Some((place, request)),
                    Next::Wait(at) => wait = Some(wait.map_or(at, |other: Millis| other.min(at))),
                    Next::Delivered | Next::Skipped(..) | Next::Parked(..) => {}
                }
            }
            match (send, wait) {
                (Some((place, request)), _) => self.send(place, &request),
                (None, Some(at)) if at < until => self.now = at.max(self.now),
                _ => return,
            }
        }
    }

    fn send(&mut self, place: usize, request: &AcquireRequest) {
        let call = &mut self.calls[place];
        let AcquireMessage::CallEnd(end) = &request.message else {
            panic!("only ends are switched on: {request:?}");
        };
        let is_accepted = self.failures == 0;
        self.failures = self.failures.saturating_sub(1);
        let again = self.now.plus(Duration::from_secs(60));
        let mode = History::requeued(&call.attempts, call.before_requeue).mode(&self.rules);
        self.sent.push(Sent {
            end: end.clone(),
            is_accepted,
            mode,
        });
        call.attempts.push(Attempt {
            leg: request.leg.clone(),
            kind: request.message.kind(),
            report_mode: mode,
            at: self.now,
            took: Duration::ZERO,
            sent: request.message.to_json(),
            status: Some(if is_accepted { 200 } else { 503 }),
            verdict: if is_accepted {
                Verdict::Accepted
            } else {
                Verdict::Again(again)
            },
            fault: None,
            excerpt: String::new(),
        });
    }

    /// An operator requeues all calls.
    pub fn requeue(&mut self) {
        for call in &mut self.calls {
            call.before_requeue = call.attempts.len();
        }
    }

    /// Why calls have no request, as `show` says.
    pub fn states(&self) -> Vec<Next> {
        self.calls
            .iter()
            .map(|call| call.next(&self.rules, self.now))
            .collect()
    }
}

impl Call {
    fn next(&self, rules: &Rules, now: Millis) -> Next {
        let history = History::requeued(&self.attempts, self.before_requeue);
        Plan::of(&self.callbacks, history, rules, now)
            .next()
            .clone()
    }
}
