//! Compares the requests that were sent for a stored call with those that would be sent today.
//!
//! Pure: the callbacks are planned as if nothing had been sent, with the order and the waits in which
//! they arrived.

use serde_json::Value;

use crate::debugging::export::IncidentFolder;
use crate::debugging::fake_twilio::scenario::{ScenarioError, Step, as_expected, play};
use crate::domain::attempt::Verdict;
use crate::domain::plan::Rules;
use crate::store::{State, StoredCall};

/// A call for which other requests would be sent today.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplanDiff {
    pub call: String,
    pub sent: Vec<Value>,
    pub today: Vec<Value>,
}

/// `None` if nothing differs, or if the call is not finished: more requests will follow.
pub fn difference(call: &StoredCall, rules: &Rules) -> Result<Option<ReplanDiff>, ScenarioError> {
    if matches!(call.summary.state, State::Pending | State::Claimed) {
        return Ok(None);
    }
    let incident = IncidentFolder::of(call, rules);
    let steps = incident
        .fixtures()
        .iter()
        .map(|(name, fixture)| Step::of(name, fixture));
    let steps: Vec<Step> = steps.collect::<Result<_, _>>()?;
    let requests = play(&steps, rules);
    let today: Vec<Value> = requests.iter().map(as_expected).map(without_link).collect();
    let counting = call
        .attempts
        .get(call.attempts_before_requeue..)
        .unwrap_or_default();
    // A request that Acquire refused for good was sent too, and would be refused again.
    let sent = counting.iter().filter(|attempt| {
        attempt.verdict.is_accepted() || matches!(attempt.verdict, Verdict::GivenUp(_))
    });
    let sent: Vec<Value> = sent
        .map(IncidentFolder::request)
        .map(without_link)
        .collect();
    let call = call.summary.sid.to_string();
    Ok((sent != today).then_some(ReplanDiff { call, sent, today }))
}

/// Cuts the expiry and signature off a recording link: they depend on the time and the secret.
fn without_link(mut request: Value) -> Value {
    for body in request
        .as_object_mut()
        .into_iter()
        .flatten()
        .map(|(_, body)| body)
    {
        let url = body["RecordingUrl"].as_str().unwrap_or_default();
        if let Some((link, _)) = url.split_once("&expires=") {
            body["RecordingUrl"] = Value::from(format!("{link}&..."));
        }
    }
    request
}
