//! The admin listener: probes, metrics, API, pages, and who may see them.

use crate::support::harness::Bridge;
use crate::support::twilio::sid;

#[test]
fn the_probes_answer() {
    let bridge = Bridge::start();
    assert_eq!(bridge.admin("GET", "/livez", &[]).status, 200);
    assert_eq!(bridge.admin("GET", "/readyz", &[]).status, 200);
}

#[test]
fn calls_are_listed_by_state_newest_first() {
    let bridge = Bridge::start();
    for call in 1..=3 {
        bridge.twilio.ends(&sid(call), "completed");
        bridge.settles();
        bridge.clock.advance(std::time::Duration::from_secs(1));
    }
    let calls = bridge
        .admin("GET", "/api/calls?state=delivered&limit=2", &[])
        .json();
    let sids: Vec<_> = calls["calls"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|call| call["call_sid"].as_str().expect("a SID").to_owned())
        .collect();
    assert_eq!(sids, [sid(3), sid(2)]);
    assert_eq!(
        bridge.admin("GET", "/api/calls?state=lost", &[]).status,
        400
    );
}

#[test]
fn an_unknown_call_or_malformed_request_gets_a_reason() {
    let bridge = Bridge::start();
    assert_eq!(
        bridge
            .admin("GET", &format!("/api/calls/{}", sid(9)), &[])
            .status,
        404
    );
    assert_eq!(bridge.admin("GET", "/api/calls/CA1", &[]).status, 400);
    let requeue = format!("/api/calls/{}/requeue", sid(9));
    assert_eq!(bridge.admin("POST", &requeue, &[]).status, 404);
    assert_eq!(bridge.admin("GET", "/nowhere", &[]).status, 404);
}

#[test]
fn the_token_is_required_everywhere_but_at_the_probes() {
    let bridge = Bridge::start();
    let answers =
        |target: &str, headers: &[(&str, &str)]| bridge.admin("GET", target, headers).status;
    assert_eq!(answers("/", &[]), 200, "no token is configured yet");
    drop(bridge);

    let bridge = Bridge::with(&[("BRIDGE__ADMIN__TOKEN", "open-sesame")]);
    let bearer = ("Authorization", "Bearer open-sesame");
    for target in ["/", "/metrics", "/api/calls"] {
        let refused = bridge.admin("GET", target, &[]);
        assert_eq!(refused.status, 401, "{target}");
        assert!(
            refused
                .header("www-authenticate")
                .expect("a challenge")
                .starts_with("Basic")
        );
        assert_eq!(
            bridge
                .admin("GET", target, &[("Authorization", "Bearer sesame")])
                .status,
            401
        );
        assert_eq!(
            bridge.admin("GET", target, &[bearer]).status,
            200,
            "{target}"
        );
        // "me:open-sesame"
        let basic = ("Authorization", "Basic bWU6b3Blbi1zZXNhbWU=");
        assert_eq!(
            bridge.admin("GET", target, &[basic]).status,
            200,
            "{target}"
        );
    }
    for probe in ["/livez", "/readyz"] {
        assert_eq!(bridge.admin("GET", probe, &[]).status, 200, "{probe}");
    }
}

#[test]
fn a_page_of_another_site_cannot_requeue() {
    let bridge = Bridge::start();
    bridge.twilio.ends(&sid(1), "completed");
    bridge.settles();
    let requeue = format!("/api/calls/{}/requeue", sid(1));
    let cross = bridge.admin("POST", &requeue, &[("Sec-Fetch-Site", "cross-site")]);
    assert_eq!(cross.status, 403);
    assert_eq!(bridge.state(&sid(1)), "delivered");
}

#[test]
fn the_pages_show_a_call_and_escape_its_content() {
    let bridge = Bridge::start();
    let form = crate::support::twilio::status_form(&sid(1), "completed")
        .replace("From=%2B12025550123", "From=%3Cscript%3E");
    let url = format!(
        "{}?email=jane+calls%40example.com",
        crate::support::twilio::STATUS
    );
    bridge.twilio.sends_form(&url, &form);
    bridge.settles();
    let overview = bridge.admin("GET", "/calls", &[]);
    assert!(
        overview
            .body
            .contains(&format!("href=\"/calls/{}\"", sid(1)))
    );
    let page = bridge.admin("GET", &format!("/calls/{}", sid(1)), &[]);
    assert_eq!(page.status, 200);
    assert!(page.body.contains("&#60;script&#62;"), "{}", page.body);
    assert!(!page.body.contains("<script>"));
    assert!(page.body.contains("a + in the URL means a space"));
    assert!(
        page.header("content-security-policy")
            .expect("a policy")
            .contains("default-src 'none'")
    );
}

#[test]
fn the_metrics_show_the_fsync_latency() {
    let bridge = Bridge::start();
    let sync = bridge.metric("bridge_sync_duration_seconds ");
    assert!(sync.is_some_and(|seconds| seconds > 0.0), "{sync:?}");
}

/// Prometheus cannot see an increase from no series to 1.
#[test]
fn no_series_of_a_counter_begins_with_its_first_increment() {
    let bridge = Bridge::start();
    let series = || {
        let text = bridge.admin("GET", "/metrics", &[]).body;
        let lines = text.lines().filter(|line| line.contains("_total"));
        let names = lines.filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned()));
        names.collect::<std::collections::BTreeSet<_>>()
    };
    let at_start = series();
    let new = "bridge_callbacks_received_total{account=\"acme\",verdict=\"new\"}";
    assert_eq!(bridge.metric(new), Some(0.0));
    for _ in 0..2 {
        bridge.twilio.ends(&sid(1), "completed");
    }
    bridge.twilio.ends(&sid(2), "unheard-of");
    bridge.settles();
    for (target, form) in [
        (
            crate::support::twilio::STATUS,
            "AccountSid=AC00000000000000000000000000000001",
        ),
        ("/nothing", ""),
    ] {
        bridge.twilio.sends_form(target, form);
    }
    bridge.admin("GET", "/", &[("Host", "rebind.example.org")]);
    let later: Vec<String> = series().difference(&at_start).cloned().collect();
    assert!(later.is_empty(), "{later:?}");
}
