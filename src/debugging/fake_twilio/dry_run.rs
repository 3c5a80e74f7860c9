//! Plans a single fixture without sending anything.

use std::fmt;

use crate::clock::Millis;
use crate::debugging::fixture::Fixture;
use crate::domain::plan::{History, Next, Plan, ReceivedCallback, Rules};
use crate::twilio::Callback;
use crate::twilio::callback::{self, CallbackParseError};

/// A time at which every wait is over.
const AFTER_ALL_WAITS: Millis = Millis(i64::MAX);

/// The result of one callback on its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DryRun {
    /// The JSON that Acquire would receive.
    Sent(String),
    Skipped(String),
    Parked(String),
    /// The bridge would answer 400, for this reason.
    Refused(String),
}

impl DryRun {
    /// Reads the fixture as a verified request and plans its call.
    pub fn of(fixture: &Fixture, rules: &Rules) -> Self {
        let callback = match callback(fixture) {
            Ok(callback) => callback,
            Err(why) => return Self::Refused(why.to_string()),
        };
        let received = ReceivedCallback {
            at: Millis::default(),
            callback,
        };
        match Plan::of(&[received], History::default(), rules, AFTER_ALL_WAITS).next() {
            Next::Send(request) => Self::Sent(request.message.to_json()),
            Next::Skipped(_, why) => Self::Skipped(why.clone()),
            Next::Parked(_, why) => Self::Parked(why.clone()),
            // Both need attempts, and there are none.
            Next::Wait(_) | Next::Delivered => Self::Skipped("nothing is due".to_owned()),
        }
    }

    /// The format of `fixtures/acquire/<case>.json`.
    pub fn to_json(&self) -> String {
        match self {
            Self::Sent(json) => json.clone(),
            Self::Skipped(why) => serde_json::json!({ "skipped": why }).to_string(),
            Self::Parked(why) => serde_json::json!({ "parked": why }).to_string(),
            Self::Refused(_) => serde_json::json!({ "refused": 400 }).to_string(),
        }
    }
}

/// Whether a bridge must answer 400, whatever its settings.
pub fn must_be_refused(fixture: &Fixture) -> bool {
    callback(fixture).is_err()
}

fn callback(fixture: &Fixture) -> Result<Callback, CallbackParseError> {
    let lookalike = fixture
        .is_json()
        .then(|| callback::of_json(&fixture.body))
        .flatten();
    match lookalike {
        Some(lookalike) => Err(CallbackParseError::Lookalike(lookalike)),
        None => fixture.callback(),
    }
}

/// The JSON, or why there is none.
impl fmt::Display for DryRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sent(json) => f.write_str(json),
            Self::Skipped(why) => write!(f, "skipped: {why}"),
            Self::Parked(why) => write!(f, "parked: {why}"),
            Self::Refused(why) => write!(f, "refused with 400: {why}"),
        }
    }
}
