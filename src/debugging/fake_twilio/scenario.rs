//! A scenario: a folder with the callbacks of one call and the expected requests to Acquire.
//!
//! `NN-*.http` are the callbacks. If the description of a fixture starts with `after 30s:`, it
//! arrives 30 seconds after the previous one; the others arrive at the same time.
//! `bridge.toml` has the settings that are not the defaults; its first comment says what happens and,
//! after `Why:`, why Acquire receives these requests. `expected.json` lists the requests in order, each as
//! `{"call-end": {...}}`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::clock::Millis;
use crate::config::duration;
use crate::debugging::fixture::{Fixture, FixtureError};
use crate::domain::attempt::{Attempt, Verdict};
use crate::domain::plan::{
    AcquireRequest, History, Next, Plan, ReceivedCallback, ReportMode, Rules,
};
use crate::twilio::callback::CallbackParseError;
use crate::twilio::{CallSid, Callback};

/// More requests than any call needs; stops a plan that never ends.
const MAX_REQUESTS: usize = 100;

/// Callbacks with the waits before them.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub steps: Vec<Step>,
    /// The expected requests.
    pub expected: Vec<Value>,
    /// The file of settings, if the folder has one.
    pub settings: Option<PathBuf>,
}

/// One callback of a scenario.
#[derive(Clone, Debug)]
pub struct Step {
    /// Wait after the arrival of the previous callback.
    pub after: Duration,
    pub callback: Callback,
}

/// Why a folder is not a scenario.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    #[error(transparent)]
    Fixture(#[from] FixtureError),
    #[error("{0} would be refused with 400: {1}")]
    Refused(String, CallbackParseError),
    #[error("{0} is not a list of requests: {1}")]
    Expected(String, String),
}

impl Scenario {
    /// Whether a folder has an `expected.json`.
    pub fn is_one(folder: &Path) -> bool {
        folder.join("expected.json").is_file()
    }

    /// Reads `files` as the callbacks of a folder.
    pub fn read(folder: &Path, files: &[PathBuf]) -> Result<Self, ScenarioError> {
        let steps = files.iter().map(|file| step(file));
        let settings = folder.join("bridge.toml");
        Ok(Self {
            steps: steps.collect::<Result<_, _>>()?,
            expected: expected(&folder.join("expected.json"))?,
            settings: settings.is_file().then_some(settings),
        })
    }

    /// The requests to Acquire if it accepts each: `{"call-end": {...}}`.
    pub fn play(&self, rules: &Rules) -> Vec<Value> {
        let requests = play(&self.steps, rules);
        requests.iter().map(as_expected).collect()
    }
}

fn step(file: &Path) -> Result<Step, ScenarioError> {
    Step::of(&file.display().to_string(), &Fixture::read(file)?)
}

impl Step {
    /// `name` is used in errors only.
    pub fn of(name: &str, fixture: &Fixture) -> Result<Self, ScenarioError> {
        let callback = fixture
            .callback()
            .map_err(|why| ScenarioError::Refused(name.to_owned(), why))?;
        Ok(Self {
            after: wait(fixture),
            callback,
        })
    }
}

/// The wait between the previous fixture and this one.
pub fn wait(fixture: &Fixture) -> Duration {
    let wait = fixture.description.strip_prefix("after ");
    let wait = wait.and_then(|text| duration::parse(text.split(':').next()?));
    wait.unwrap_or_default()
}

/// The requests of an `expected.json`.
pub fn expected(path: &Path) -> Result<Vec<Value>, ScenarioError> {
    let fail = |why: String| ScenarioError::Expected(path.display().to_string(), why);
    let text = std::fs::read_to_string(path).map_err(|why| fail(why.to_string()))?;
    serde_json::from_str(&text).map_err(|why| fail(why.to_string()))
}

/// The requests for these callbacks, grouped by call.
pub fn play(steps: &[Step], rules: &Rules) -> Vec<AcquireRequest> {
    let mut now = Millis::default();
    let mut received: Vec<ReceivedCallback> = Vec::new();
    for step in steps {
        now = now.plus(step.after);
        received.push(ReceivedCallback {
            at: now,
            callback: step.callback.clone(),
        });
    }
    let calls = calls(received);
    calls.iter().flat_map(|call| deliver(call, rules)).collect()
}

/// Groups callbacks by call, as the store does: a leg belongs to the call of its parent.
fn calls(received: Vec<ReceivedCallback>) -> Vec<Vec<ReceivedCallback>> {
    let mut calls: Vec<(Vec<CallSid>, Vec<ReceivedCallback>)> = Vec::new();
    for callback in received {
        let mut legs = vec![callback.callback.leg.clone()];
        legs.extend(callback.callback.parent.clone());
        let mut joined = vec![callback];
        let is_of = |call: &mut (Vec<CallSid>, Vec<ReceivedCallback>)| {
            call.0.iter().any(|leg| legs.contains(leg))
        };
        for (names, callbacks) in calls.extract_if(.., is_of).collect::<Vec<_>>() {
            legs.extend(names);
            joined.splice(..0, callbacks);
        }
        legs.sort();
        calls.push((legs, joined));
    }
    calls.sort_by(|(a, _), (b, _)| a.cmp(b));
    calls.into_iter().map(|(_, callbacks)| callbacks).collect()
}

/// Plans the call at each arrival and each due time until nothing is due; Acquire accepts every request.
fn deliver(call: &[ReceivedCallback], rules: &Rules) -> Vec<AcquireRequest> {
    let mut arrivals: Vec<Millis> = call.iter().map(|received| received.at).collect();
    arrivals.sort_unstable();
    arrivals.dedup();
    // After the last arrival the clock advances until nothing is due.
    let ends = arrivals.iter().skip(1).copied().chain([Millis(i64::MAX)]);
    let (mut sent, mut attempts) = (Vec::new(), Vec::new());
    for (mut now, end) in arrivals.iter().copied().zip(ends) {
        let known: Vec<ReceivedCallback> = call
            .iter()
            .filter(|received| received.at <= now)
            .cloned()
            .collect();
        while sent.len() < MAX_REQUESTS {
            match Plan::of(&known, History::of(&attempts), rules, now).next() {
                Next::Send(request) => {
                    attempts.push(accepted(request, rules.legs.report, now));
                    sent.push(request.clone());
                }
                Next::Wait(at) if *at < end => now = *at,
                _ => break,
            }
        }
    }
    sent
}

fn accepted(request: &AcquireRequest, report_mode: ReportMode, at: Millis) -> Attempt {
    Attempt {
        leg: request.leg.clone(),
        kind: request.message.kind(),
        report_mode,
        at,
        took: Duration::ZERO,
        sent: request.message.to_json(),
        status: Some(200),
        verdict: Verdict::Accepted,
        fault: None,
        excerpt: String::new(),
    }
}

/// A request in the format of `expected.json`.
pub fn as_expected(request: &AcquireRequest) -> Value {
    let body: Value = serde_json::from_str(&request.message.to_json()).unwrap_or_default();
    json!({ request.message.kind().as_str(): body })
}
