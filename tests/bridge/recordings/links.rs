//! Valid links are played; the others are refused with a reason.

use std::time::Duration;

use twilio_acquire_bridge::debugging::fake_acquire::{Faults, Reply};

use super::*;

const DAY: Duration = Duration::from_secs(86_400);

fn recording() -> Gives {
    Gives::Recording("audio/x-wav", b"0123456789".to_vec())
}

#[test]
fn a_link_plays_the_recording_without_credentials() {
    let (bridge, api) = bridge(recording(), &[]);
    let target = target(&bridge);
    assert!(target.starts_with(&format!(
        "/recordings/{RECORDING}?account={ACCOUNT}&expires="
    )));
    let answer = get(&bridge, &target, &[]);
    assert_eq!((answer.status, answer.body.as_str()), (200, "0123456789"));
    let header = |name| answer.header(name);
    assert_eq!(header("content-type"), Some("audio/x-wav"));
    assert_eq!(header("content-length"), Some("10"));
    assert_eq!(header("accept-ranges"), Some("bytes"));
    assert_eq!(header("x-content-type-options"), Some("nosniff"));
    assert_eq!(header("x-twilio-host"), None);
    assert_eq!(asked(&bridge, "acme", "played"), Some(1.0));
    assert_eq!(api.asked().len(), 1);
}

#[test]
fn a_changed_link_is_403_and_twilio_is_not_asked() {
    let (bridge, api) = bridge(recording(), &[]);
    let target = target(&bridge);
    let (path, query) = target.split_once('?').expect("a query");
    let last = if target.ends_with('A') { "Q" } else { "A" };
    for changed in [
        path.to_owned(),
        format!("{path}?"),
        format!("{}{last}", &target[..target.len() - 1]),
        target.replace("RE0", "RE1"),
        target.replace("AC0", "AC1"),
        target.replace("expires=1", "expires=2"),
        format!("{target}&x=1"),
        format!("{path}?{query}&{query}"),
    ] {
        let answer = get(&bridge, &changed, &[]);
        assert_eq!(answer.status, 403, "{changed}");
        assert_eq!(
            answer.header("content-type"),
            Some("application/problem+json")
        );
    }
    assert_eq!(asked(&bridge, "unknown", "forged"), Some(8.0));
    assert_eq!(api.asked().len(), 0);
}

#[test]
fn an_expired_link_is_refused() {
    let (bridge, api) = bridge(recording(), &[("BRIDGE__RECORDING__LINK_TTL", "2d")]);
    let target = target(&bridge);
    bridge.waits(Duration::from_secs(2 * 86_400 - 1));
    assert_eq!(get(&bridge, &target, &[]).status, 200);
    bridge.waits(Duration::from_secs(1));
    assert_eq!(get(&bridge, &target, &[]).status, 403);
    assert_eq!(asked(&bridge, "unknown", "expired"), Some(1.0));
    assert_eq!(api.asked().len(), 1);
}

#[test]
fn a_link_of_an_account_that_is_no_longer_served_is_404() {
    let (mut bridge, api) = bridge(recording(), &[]);
    let target = target(&bridge);
    let file = bridge.folder.path().join("bridge.toml");
    let other = ACCOUNT.replace("AC0", "AC1");
    let text = format!(
        "[[accounts]]\ntwilio_account_sid = \"{other}\"\ntwilio_auth_tokens = [\"another\"]\n\
         twilio_api_key_sid = \"{KEY_SID}\"\ntwilio_api_key_secret = \"{KEY_SECRET}\"\n\
         acquire_account_id = \"another\"\n"
    );
    std::fs::write(&file, text).expect("a file");
    bridge.restarts_with_file(&file);
    assert_eq!(get(&bridge, &target, &[]).status, 404);
    assert_eq!(asked(&bridge, "unknown", "unknown-account"), Some(1.0));
    assert_eq!(api.asked().len(), 0);
}

#[test]
fn what_is_no_recording_is_404_and_other_methods_are_405() {
    let (bridge, _api) = bridge(recording(), &[]);
    let target = target(&bridge);
    for path in [
        "/recordings/",
        "/recordings/RE1",
        "/recordings",
        "/recordings/x/y",
    ] {
        assert_eq!(get(&bridge, path, &[]).status, 404, "{path}");
    }
    let answer = exchange(bridge.public(), "POST", &target, &[], b"");
    assert_eq!(answer.status, 405);
    assert_eq!(answer.header("allow"), Some("GET, HEAD"));
}

#[test]
fn a_link_below_a_prefix_is_served_with_and_without_it() {
    let prefixed = (
        "BRIDGE__SERVER__PUBLIC_URL",
        "https://bridge.example.com/calls/",
    );
    let (bridge, _api) = bridge(recording(), &[prefixed]);
    let url = format!("{PUBLIC_URL}/calls{STATUS}");
    let form = status_form(&sid(1), "completed") + "&RecordingUrl=x&RecordingSid=" + RECORDING;
    let headers = [("Content-Type", "application/x-www-form-urlencoded")];
    let taken = bridge
        .twilio
        .signs_and_sends(&url, STATUS, &headers, form.as_bytes());
    assert_eq!(taken.status, 204);
    bridge.settles();
    let link = bridge.sent()[0]["RecordingUrl"].clone();
    let target = link.as_str().and_then(|link| link.strip_prefix(PUBLIC_URL));
    let target = target.expect("a link of the bridge");
    assert!(target.starts_with("/calls/recordings/RE"), "{target}");
    assert_eq!(get(&bridge, target, &[]).status, 200);
    assert_eq!(get(&bridge, &target["/calls".len()..], &[]).status, 200);
}

#[test]
fn by_default_twilios_own_url_is_sent_and_nothing_is_served() {
    let bridge = Bridge::start();
    let link = link(&bridge);
    assert_eq!(link, format!("https://api.twilio.com/secrets/{RECORDING}"));
    let answer = get(&bridge, &format!("/recordings/{RECORDING}"), &[]);
    assert_eq!(answer.status, 404);
}

#[test]
fn a_recording_in_the_customers_bucket_is_sent_with_its_own_url() {
    let (bridge, api) = bridge(recording(), &[]);
    let form = status_form(&sid(1), "completed")
        + "&RecordingSid="
        + RECORDING
        + "&RecordingUrl=https%3A%2F%2Frecordings.example.com%2Fcalls%2F1";
    assert_eq!(bridge.twilio.sends_form(STATUS, &form).status, 204);
    bridge.settles();
    let sent = &bridge.sent()[0];
    assert_eq!(
        sent["RecordingUrl"],
        "https://recordings.example.com/calls/1"
    );
    let shown = bridge.call(&sid(1))["planned"].to_string();
    assert!(shown.contains("stored outside Twilio"), "{shown}");
    assert_eq!(api.asked().len(), 0);
}

#[test]
fn a_call_that_is_sent_after_its_link_expired_has_a_link_that_works() {
    let (bridge, _api) = bridge(recording(), &[("BRIDGE__RECORDING__LINK_TTL", "2d")]);
    let first = link(&bridge);
    bridge.waits(5 * DAY);
    let requeued = bridge.admin("POST", &format!("/api/calls/{}/requeue", sid(1)), &[]);
    assert_eq!(requeued.status, 202);
    bridge.settles();
    let link = bridge.sent()[1]["RecordingUrl"].clone();
    assert_ne!(link, first.as_str());
    let target = link.as_str().and_then(|link| link.strip_prefix(PUBLIC_URL));
    assert_eq!(get(&bridge, target.expect("a link"), &[]).status, 200);
}

#[test]
fn a_repeated_request_has_no_link_that_expired_meanwhile() {
    let (bridge, _api) = bridge(recording(), &[("BRIDGE__RECORDING__LINK_TTL", "1m")]);
    bridge.acquire.behaves(Faults {
        default_reply: Reply::Status(500),
        ..Faults::default()
    });
    let first = link(&bridge);
    bridge.waits(Duration::from_secs(600));
    bridge.settles();
    let sent = bridge.sent();
    let link = sent.last().expect("a request")["RecordingUrl"].clone();
    assert_ne!(link, first.as_str());
    let target = link.as_str().and_then(|link| link.strip_prefix(PUBLIC_URL));
    assert_eq!(get(&bridge, target.expect("a link"), &[]).status, 200);
}

#[test]
fn the_same_callback_gives_the_same_link_again() {
    let (mut bridge, _api) = bridge(recording(), &[]);
    let first = link(&bridge);
    bridge.stops();
    bridge.starts();
    bridge.waits(DAY);
    let requeued = bridge.admin("POST", &format!("/api/calls/{}/requeue", sid(1)), &[]);
    assert_eq!(requeued.status, 202);
    bridge.settles();
    assert_eq!(bridge.sent()[1]["RecordingUrl"], first.as_str());
}
