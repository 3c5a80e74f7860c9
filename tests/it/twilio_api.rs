//! The ordinary answers of the fake Twilio API have every property of Twilio's own specification
//! (`twilio_openapi.json`, an excerpt with its licence), with values of its types. The specification
//! requires no property, so this test does.

use std::net::SocketAddr;

use serde_json::Value;
use twilio_acquire_bridge::clock::{Clock, Millis};
use twilio_acquire_bridge::debugging::fake_twilio_api::{
    Deviation, FakeAlert, FakeCall, FakeRecording, FakeTwilioApi,
};

const ACCOUNT: &str = "AC00000000000000000000000000000001";
const CALL: &str = "CA00000000000000000000000000000001";
const NOW: Millis = Millis(1_790_000_000_000);

fn specification() -> Value {
    serde_json::from_str(include_str!("twilio_openapi.json")).expect("JSON")
}

fn api() -> FakeTwilioApi {
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let api = FakeTwilioApi::start(listen, Clock::manual(NOW)).expect("a free port");
    api.with(|records| {
        let mut call = FakeCall::completed(CALL, ACCOUNT, NOW);
        let url = "https://bridge.example.com/twilio/voice/status".to_owned();
        call.requests.push((url.clone(), "completed", 204));
        records.calls.push(call);
        let mut running = FakeCall::completed("CA00000000000000000000000000000002", ACCOUNT, NOW);
        (running.ended, running.duration, running.status) = (None, None, "in-progress");
        records.calls.push(running);
        records.recordings.push(FakeRecording {
            sid: "RE00000000000000000000000000000001".to_owned(),
            account: ACCOUNT.to_owned(),
            call: CALL.to_owned(),
            created: NOW,
            duration: 4,
            status: "completed",
        });
        records
            .numbers
            .push(("+12025550199".to_owned(), url.clone()));
        records.alerts.push(FakeAlert {
            sid: "NO00000000000000000000000000000001".to_owned(),
            account: ACCOUNT.to_owned(),
            call: CALL.to_owned(),
            at: NOW,
            url,
            form: format!("CallSid={CALL}"),
        });
    });
    api
}

/// What is wrong with `value` by `schema`, each with its path.
fn problems(spec: &Value, schema: &Value, value: &Value, path: &str) -> Vec<String> {
    if let Some(name) = schema["$ref"].as_str() {
        let pointer = name.trim_start_matches('#');
        let schema = spec.pointer(pointer).expect("a schema");
        return problems(spec, schema, value, path);
    }
    if value.is_null() {
        // The specification has no `nullable` on references.
        let may_be = schema["nullable"] == true || schema.get("type").is_none();
        return if may_be {
            vec![]
        } else {
            vec![format!("{path} is null")]
        };
    }
    let fits = match schema["type"].as_str() {
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64(),
        Some("boolean") => value.is_boolean(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        _ => true,
    };
    if !fits {
        return vec![format!("{path} is {value}, not {}", schema["type"])];
    }
    let mut found = Vec::new();
    let length = value.as_str().unwrap_or_default().len() as u64;
    let limit = |name: &str| schema[name].as_u64();
    if limit("minLength").is_some_and(|least| length < least) {
        found.push(format!("{path} is {value}, too short"));
    }
    if limit("maxLength").is_some_and(|most| length > most) {
        found.push(format!("{path} is {value}, too long"));
    }
    // All patterns are those of SIDs.
    let prefix = schema["pattern"].as_str().and_then(|of| of.get(1..3));
    if let Some(prefix) = prefix.filter(|prefix| *prefix != "[a")
        && !value.as_str().is_some_and(|text| text.starts_with(prefix))
    {
        found.push(format!("{path} is {value}, not {prefix}..."));
    }
    if let Some(words) = schema["enum"].as_array()
        && !words.contains(value)
    {
        found.push(format!("{path} is {value}, not one of {words:?}"));
    }
    if let Some(properties) = schema["properties"].as_object() {
        for (name, property) in properties {
            match value.get(name) {
                None => found.push(format!("{path}.{name} is absent")),
                Some(inner) => {
                    found.extend(problems(spec, property, inner, &format!("{path}.{name}")));
                }
            }
        }
    }
    for (place, item) in value.as_array().into_iter().flatten().enumerate() {
        found.extend(problems(
            spec,
            &schema["items"],
            item,
            &format!("{path}[{place}]"),
        ));
    }
    found
}

/// Each served resource: its path in the specification and a target.
fn resources() -> [(&'static str, String); 8] {
    let base = format!("/2010-04-01/Accounts/{ACCOUNT}");
    [
        (
            "/2010-04-01/Accounts/{AccountSid}/Calls.json",
            format!("{base}/Calls.json?PageSize=1"),
        ),
        (
            "/2010-04-01/Accounts/{AccountSid}/Calls/{Sid}.json",
            format!("{base}/Calls/{CALL}.json"),
        ),
        (
            "/2010-04-01/Accounts/{AccountSid}/Calls/{CallSid}/Events.json",
            format!("{base}/Calls/{CALL}/Events.json"),
        ),
        (
            "/2010-04-01/Accounts/{AccountSid}/Recordings.json",
            format!("{base}/Recordings.json"),
        ),
        (
            "/2010-04-01/Accounts/{AccountSid}/IncomingPhoneNumbers.json",
            format!("{base}/IncomingPhoneNumbers.json"),
        ),
        ("/v1/Alerts", "/v1/Alerts".to_owned()),
        (
            "/v1/Alerts/{Sid}",
            "/v1/Alerts/NO00000000000000000000000000000001".to_owned(),
        ),
        (
            "/2010-04-01/Accounts/{AccountSid}/Calls.json",
            format!("{base}/Calls.json"),
        ),
    ]
}

fn all_problems(api: &FakeTwilioApi) -> Vec<String> {
    let spec = specification();
    let mut found = Vec::new();
    for (path, target) in resources() {
        let schema = &spec["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]
            ["schema"];
        assert!(!schema.is_null(), "{path}");
        found.extend(problems(&spec, schema, &api.answer(&target), path));
    }
    found
}

#[test]
fn each_answer_has_every_property_of_the_specification() {
    assert_eq!(all_problems(&api()), Vec::<String>::new());
}

#[test]
fn the_deviations_that_break_the_specification_are_found_by_this_test() {
    for deviation in [
        Deviation::AbsentFields,
        Deviation::EmptySids,
        Deviation::NumericDuration,
    ] {
        let api = api();
        api.with(|records| records.deviations.push(deviation));
        assert!(!all_problems(&api).is_empty(), "{deviation:?}");
    }
}
