//! Compares the requests that were sent for a stored call with those that would be sent today.
//!
//! Pure: the callbacks are planned as if nothing had been sent, with the order and the waits in which
//! they arrived.

use std::collections::{BTreeMap, BTreeSet};

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

/// A field that would be sent differently today.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldDifference {
    /// `call-end` or another kind of request.
    pub kind: String,
    pub field: String,
    /// `None`: the field, or the whole request, is left out.
    pub sent: Option<String>,
    pub today: Option<String>,
}

impl ReplanDiff {
    /// The fields that differ, by leg and kind of request.
    pub fn fields(&self) -> Vec<FieldDifference> {
        let (sent, today) = (named(&self.sent), named(&self.today));
        let keys: BTreeSet<_> = sent.keys().chain(today.keys()).collect();
        let differing = keys
            .into_iter()
            .filter(|key| sent.get(*key) != today.get(*key));
        let differing = differing.map(|key| FieldDifference {
            kind: key.1.clone(),
            field: key.2.clone(),
            sent: sent.get(key).cloned(),
            today: today.get(key).cloned(),
        });
        differing.collect()
    }
}

/// The `CallId`: that of the leg that is reported.
fn leg(request: &Value) -> String {
    let mut bodies = request.as_object().into_iter().flatten();
    let id = bodies.find_map(|(_, body)| body["CallId"].as_str());
    id.unwrap_or_default().to_owned()
}

/// The fields of requests by leg, kind of request and name.
fn named(requests: &[Value]) -> BTreeMap<(String, String, String), String> {
    let mut fields = BTreeMap::new();
    for request in requests {
        for (kind, body) in request.as_object().into_iter().flatten() {
            for (name, value) in body.as_object().into_iter().flatten() {
                let text = value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned);
                fields.insert((leg(request), kind.clone(), name.clone()), text);
            }
        }
    }
    fields
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
    let mut today: Vec<Value> = requests.iter().map(as_expected).map(without_link).collect();
    let counting = call
        .attempts
        .get(call.attempts_before_requeue..)
        .unwrap_or_default();
    // A request that Acquire refused for good was sent too, and would be refused again.
    let sent = counting.iter().filter(|attempt| {
        attempt.verdict.is_accepted() || matches!(attempt.verdict, Verdict::GivenUp(_))
    });
    let mut sent: Vec<Value> = sent
        .map(IncidentFolder::request)
        .map(without_link)
        .collect();
    // Which leg is reported first depends on when callbacks and answers arrived.
    sent.sort_by_key(leg);
    today.sort_by_key(leg);
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn requests_are_compared_by_leg_and_not_by_position() {
        let end =
            |leg: &str, status: &str| json!({"call-end": {"CallId": leg, "CallStatus": status}});
        let diff = |sent: [Value; 2], today: [Value; 2]| ReplanDiff {
            call: "CA1".to_owned(),
            sent: sent.into(),
            today: today.into(),
        };
        let (one, two) = (end("CA1", "completed"), end("CA2", "busy"));
        let same = diff([one.clone(), two.clone()], [two.clone(), one.clone()]);
        assert_eq!(same.fields(), []);
        let fields = diff([one.clone(), two], [end("CA2", "failed"), one]).fields();
        let [field] = &fields[..] else {
            panic!("{fields:?}");
        };
        let values = (field.sent.as_deref(), field.today.as_deref());
        assert_eq!(values, (Some("busy"), Some("failed")));
    }
}
