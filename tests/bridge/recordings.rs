//! Recordings by links of the bridge, played from a fake of Twilio's API.

mod chromium;
mod links;
mod playing;
mod tls;
mod twilio;

use crate::support::harness::{Bridge, WAIT_LIMIT, until};
use crate::support::http::{Answer, exchange};
use crate::support::twilio::{PUBLIC_URL, STATUS, sid, status_form};
use twilio::{Api, Gives};

const ACCOUNT: &str = "AC00000000000000000000000000000001";
const RECORDING: &str = "RE00000000000000000000000000000001";
const SECRET: &str = "made-up-secret-of-32-characters!";
const KEY_SID: &str = "SK00000000000000000000000000000001";
const KEY_SECRET: &str = "made-up-key-secret";

/// A bridge with an API of Twilio that gives `gives`.
fn bridge(gives: Gives, settings: &[(&str, &str)]) -> (Bridge, Api) {
    let api = Api::start(gives);
    (bridge_at(&api.url(), settings), api)
}

/// A bridge that fetches recordings at `url`.
fn bridge_at(url: &str, settings: &[(&str, &str)]) -> Bridge {
    let mut all = vec![
        ("BRIDGE__RECORDING__LINK", "bridge"),
        ("BRIDGE__RECORDING__LINK_SECRET", SECRET),
        ("BRIDGE__TWILIO__API_URL", url),
        ("BRIDGE__TWILIO__API_KEY_SID", KEY_SID),
        ("BRIDGE__TWILIO__API_KEY_SECRET", KEY_SECRET),
    ];
    all.extend(settings);
    Bridge::with(&all)
}

/// The `RecordingUrl` that Acquire got for a call with a recording at Twilio, whose callback has another
/// path, which must not matter.
fn link(bridge: &Bridge) -> String {
    let form = status_form(&sid(1), "completed");
    let form = format!(
        "{form}&RecordingSid={RECORDING}&RecordingDuration=2\
         &RecordingUrl=https%3A%2F%2Fapi.twilio.com%2Fsecrets%2F{RECORDING}"
    );
    assert_eq!(bridge.twilio.sends_form(STATUS, &form).status, 204);
    bridge.settles();
    let url = bridge.sent()[0]["RecordingUrl"].clone();
    url.as_str().expect("a link").to_owned()
}

/// The request target of a link.
fn target(bridge: &Bridge) -> String {
    let link = link(bridge);
    link.strip_prefix(PUBLIC_URL)
        .expect("a link of the bridge")
        .to_owned()
}

fn get(bridge: &Bridge, target: &str, headers: &[(&str, &str)]) -> Answer {
    exchange(bridge.public(), "GET", target, headers, b"")
}

fn asked(bridge: &Bridge, account: &str, outcome: &str) -> Option<f64> {
    bridge.metric(&format!(
        "bridge_recordings_requested_total{{account=\"{account}\",outcome=\"{outcome}\"}}"
    ))
}
