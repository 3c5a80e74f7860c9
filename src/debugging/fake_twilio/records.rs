//! Reads Twilio's own records of its requests as fixtures: Monitor Alerts, which have the form of a
//! failed webhook, and the Call Events of one call (Twilio docs, "Monitor REST API: Alerts",
//! "Events subresource").

use serde_json::{Map, Value};

use crate::debugging::fixture::Fixture;
use crate::twilio::callback::CallbackKind;

const FORM: &str = "application/x-www-form-urlencoded";

/// Why a JSON file is not a record of Twilio.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TwilioRecordError {
    #[error("is not JSON: {0}")]
    NotJson(String),
    #[error(
        "is neither a Monitor Alert (fetched by its own SID: in a list alerts come without \
         request_variables) nor the Call Events of a call"
    )]
    Unknown,
    #[error("has no request to {} or {}", CallbackKind::Status.path(), CallbackKind::Recording.path())]
    Elsewhere,
}

/// The requests of a record, in its order, each with its number from 1.
pub fn read(text: &str) -> Result<Vec<(usize, Fixture)>, TwilioRecordError> {
    let record: Value =
        serde_json::from_str(text).map_err(|why| TwilioRecordError::NotJson(why.to_string()))?;
    let fixtures: Option<Vec<Fixture>> = match (&record["events"], &record["alerts"]) {
        (Value::Array(events), _) => events.iter().map(event).collect(),
        (_, Value::Array(alerts)) => alerts.iter().map(alert).collect(),
        _ => alert(&record).map(|fixture| vec![fixture]),
    };
    let mut all: Vec<(usize, Fixture)> = (1..)
        .zip(fixtures.ok_or(TwilioRecordError::Unknown)?)
        .collect();
    // The events of a call include the requests for TwiML.
    all.retain(|(_, fixture)| CallbackKind::ALL.iter().any(|kind| is_for(*kind, fixture)));
    if all.is_empty() {
        return Err(TwilioRecordError::Elsewhere);
    }
    Ok(all)
}

fn is_for(kind: CallbackKind, fixture: &Fixture) -> bool {
    let target = fixture.target();
    target
        .split('?')
        .next()
        .unwrap_or_default()
        .ends_with(kind.path())
}

/// `request_variables` is the form, byte for byte.
fn alert(alert: &Value) -> Option<Fixture> {
    let error = alert["error_code"].as_str().unwrap_or("unknown");
    fixture(
        format!("Monitor Alert, error {error}"),
        &alert["request_url"],
        &alert["request_method"],
        alert["request_variables"].as_str()?.as_bytes().to_vec(),
    )
}

/// Call Events have parsed parameters with changed names, so the form is rebuilt and its bytes may differ.
fn event(event: &Value) -> Option<Fixture> {
    let request = &event["request"];
    let body = form(request["parameters"].as_object()?);
    let description = "Call Event, its form rebuilt".to_owned();
    fixture(description, &request["url"], &request["method"], body)
}

fn fixture(description: String, url: &Value, method: &Value, body: Vec<u8>) -> Option<Fixture> {
    Some(Fixture {
        description,
        method: method.as_str().unwrap_or("POST").to_owned(),
        url: url.as_str()?.to_owned(),
        headers: vec![("Content-Type".to_owned(), FORM.to_owned())],
        body,
    })
}

fn form(parameters: &Map<String, Value>) -> Vec<u8> {
    let fields = parameters.iter().map(|(name, value)| {
        let value = match value {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        (sent_name(name), value)
    });
    let fields: Vec<(String, String)> = fields.collect();
    // Pairs of strings can always be written.
    serde_urlencoded::to_string(fields)
        .unwrap_or_default()
        .into_bytes()
}

/// `call_sid` was sent as `CallSid`; a name with a capital letter was not changed.
fn sent_name(name: &str) -> String {
    if name.contains(|c: char| c.is_ascii_uppercase()) {
        return name.to_owned();
    }
    let words = name.split('_').map(|word| {
        let (first, rest) = word.split_at(word.chars().next().map_or(0, char::len_utf8));
        first.to_uppercase() + rest
    });
    words.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::twilio::callback;
    use serde_json::json;

    const URL: &str = "https://bridge.example.com/twilio/voice/status?email=jane%40example.com";
    const SID: &str = "CA00000000000000000000000000000001";

    #[test]
    fn call_events_are_callbacks_and_requests_for_twiml_are_left_out() {
        let parameters = json!({
            "call_sid": SID, "account_sid": "AC00000000000000000000000000000001",
            "call_status": "completed", "from": "+12025550123", "to": "", "direction": "inbound",
            "call_duration": 7, "callback_source": "call-progress-events",
        });
        let request = |url: &str| json!({"url": url, "method": "POST", "parameters": parameters});
        let events = json!({"events": [
            {"request": request("https://app.example.com/voice"), "response": {}},
            {"request": request(URL), "response": {"response_code": 503}},
        ]});
        let read = read(&events.to_string()).expect("events");
        let [(2, fixture)] = &read[..] else {
            panic!("{read:?}");
        };
        let callback = callback::read(&fixture.body, &fixture.url).expect("a callback");
        assert_eq!(callback.leg.as_str(), SID);
    }

    #[test]
    fn an_unknown_json_file_is_an_error() {
        let listed = json!({"alerts": [{"sid": "NO1", "request_url": URL}]}).to_string();
        let elsewhere = json!({"request_url": "https://h.example/x", "request_variables": "a=b"});
        assert_eq!(read(&listed), Err(TwilioRecordError::Unknown));
        assert_eq!(read("{}"), Err(TwilioRecordError::Unknown));
        assert_eq!(
            read(&elsewhere.to_string()),
            Err(TwilioRecordError::Elsewhere)
        );
        assert!(matches!(read("x"), Err(TwilioRecordError::NotJson(_))));
    }
}
