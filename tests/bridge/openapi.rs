//! The description of the admin listener, `docs/openapi.json`: it has each route, no other, and schemathesis
//! finds no response that it does not have.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use twilio_acquire_bridge::debugging::fake_acquire::Reply;

use crate::audit::{ALICE, OPERATORS, VERA};
use crate::support::harness::Bridge;
use crate::support::real::{left_out, number};
use crate::support::reconciled::World;
use crate::support::twilio::{STATUS, sid, status_form};

/// The table of routes, `admin_routes`.
const SERVER: &str = include_str!("../../src/server.rs");
const OPENAPI: &str = include_str!("../../docs/openapi.json");

/// Query keys that are known only so that their refusal names another way.
const REFUSED_KEYS: [&str; 2] = ["number", "email"];

fn described() -> Value {
    serde_json::from_str(OPENAPI).expect("JSON")
}

/// The paths of the table.
fn routes() -> BTreeSet<String> {
    let (_, table) = SERVER.split_once("fn admin_routes(").expect("the table");
    // The first service is the scope of the others.
    let services = table.split(".service(").skip(2);
    let path = |service: &str| {
        let (_, arguments) = service.split_once('(').expect("a call");
        let argument = arguments.split([',', '(']).next().expect("a path").trim();
        match argument {
            "style_path" => "/style-{hash}.css".to_owned(),
            "script_path" => "/script-{hash}.js".to_owned(),
            literal => literal.trim_matches('"').to_owned(),
        }
    };
    services.map(path).collect()
}

/// A path that matches this pattern.
fn filled(pattern: &str, page: &str) -> String {
    let filled = pattern
        .replace("{sid}", &sid(1))
        .replace("{id}", "1")
        .replace("{change}", "pause")
        .replace("{month}", "2026-11");
    match filled.split_once("{hash}") {
        Some((start, end)) => {
            let (_, rest) = page.split_once(start).expect("the page names it");
            format!("{start}{}{end}", rest.split('.').next().expect("a hash"))
        }
        None => filled,
    }
}

fn words(list: &str) -> BTreeSet<String> {
    list.split(", ").map(str::to_owned).collect()
}

#[test]
fn each_route_with_its_methods_and_keys_is_described_and_no_other() {
    let (bridge, described) = (Bridge::start(), described());
    assert_eq!(described["info"]["version"], env!("CARGO_PKG_VERSION"));
    let paths = described["paths"].as_object().expect("paths");
    assert_eq!(paths.keys().cloned().collect::<BTreeSet<_>>(), routes());
    let page = bridge.admin("GET", "/", &[]).body;
    for (pattern, operations) in paths {
        let path = filled(pattern, &page);
        let refused = bridge.admin("PATCH", &path, &[]);
        let mut allowed = words(refused.header("allow").unwrap_or_default());
        let operations = operations.as_object().expect("operations");
        // HEAD works where GET does.
        assert_eq!(allowed.remove("HEAD"), operations.contains_key("get"));
        let methods = operations.keys().map(|method| method.to_uppercase());
        assert_eq!(methods.collect::<BTreeSet<_>>(), allowed, "{pattern}");
        for (method, operation) in operations {
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let parameters = parameters.map(|parameter| match parameter["$ref"].as_str() {
                Some(reference) => described
                    .pointer(reference.trim_start_matches('#'))
                    .expect("a parameter"),
                None => parameter,
            });
            let keys = parameters
                .filter(|parameter| parameter["in"] == "query")
                .map(|parameter| parameter["name"].as_str().expect("a name").to_owned());
            if ["/livez", "/readyz"].contains(&path.as_str()) || method == "post" {
                assert_eq!(keys.count(), 0, "{pattern}");
                continue;
            }
            let refused = bridge.admin("GET", &format!("{path}?no-such-key=1"), &[]);
            let detail = refused.json()["detail"].clone();
            let known = detail
                .as_str()
                .expect("a sentence")
                .split_once("known are ");
            let mut known = known.map_or_else(BTreeSet::new, |(_, known)| words(known));
            known.retain(|key| !REFUSED_KEYS.contains(&key.as_str()));
            assert_eq!(keys.collect::<BTreeSet<_>>(), known, "{pattern}");
        }
    }
}

#[test]
fn viewers_get_the_same_description() {
    let mut bridge = Bridge::with(&[("BRIDGE__ADMIN__TOKEN", "open-sesame")]);
    bridge.restarts_with(OPERATORS);
    for user in [ALICE, VERA] {
        let answer = bridge.admin("GET", "/api/openapi.json", &[("Authorization", user)]);
        assert_eq!(answer.body, OPENAPI);
    }
}

/// A bridge with users and something of each kind: the calls 1 to 5 are delivered, skipped, parked, tried
/// and held.
fn seeded() -> World {
    let mut world = World::with(&[("BRIDGE__ADMIN__TOKEN", "open-sesame")]);
    let bridge = &world.bridge;
    let status = |number: usize| status_form(&sid(number), "completed");
    let with_child = format!("{}&ParentCallSid={}", status(6), sid(1));
    bridge.twilio.sends_form(STATUS, &with_child);
    bridge.twilio.sends_form(STATUS, &status(1));
    let without_to = status(2).replace("&To=%2B12025550199", "");
    bridge.twilio.sends_form(STATUS, &without_to);
    bridge.settles();
    for (number, code) in [(3, 422), (4, 503), (5, 401)] {
        bridge.acquire_replies(Reply::Status(code));
        bridge.twilio.ends(&sid(number), "completed");
        bridge.settles();
    }
    let unsigned = [("X-Twilio-Signature", "wrong")];
    bridge
        .twilio
        .signs_and_sends("https://else.example.com", STATUS, &unsigned, b"CallSid=x");
    world.bridge.stops();
    world.bridge.restarts_with(OPERATORS);
    world
}

/// Calls each operation of the description as this user, and checks each response.
fn fuzz(bridge: &Bridge, user: &str, phases: &str) {
    let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/lint/bin/schemathesis");
    if !tool.exists() {
        left_out("schemathesis (tests/run installs it into target/lint)");
        return;
    }
    let output = Command::new(tool)
        .arg("run")
        .arg(format!(
            "http://{}/api/openapi.json",
            bridge.admin_address()
        ))
        .args(["--header", &format!("Authorization: {user}")])
        .args(["--phases", phases, "--continue-on-failure", "--no-color"])
        .args(["--seed", &number("OPENAPI_SEED", 1).to_string()])
        .args(["--max-examples", &number("OPENAPI_EXAMPLES", 5).to_string()])
        // Wrong tokens are delayed, and have tests of their own. A text such as a time or a cause is valid by
        // rules that the schema says in words only.
        .args(["--exclude-checks", "ignored_auth,positive_data_acceptance"])
        // It leaves files in its folder.
        .current_dir(bridge.folder.path())
        .output()
        .expect("schemathesis runs");
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{printed}");
    for phase in phases.split(',') {
        let line = printed
            .lines()
            .find(|line| line.to_lowercase().contains(phase));
        assert!(
            line.is_some_and(|line| line.contains('✅')),
            "{phase}: {printed}"
        );
    }
}

#[test]
fn schemathesis_finds_no_server_error_and_no_response_outside_the_description() {
    let world = seeded();
    fuzz(&world.bridge, ALICE, "examples,coverage,fuzzing,stateful");
}

#[test]
fn what_viewers_get_is_as_described_too() {
    let world = seeded();
    fuzz(&world.bridge, VERA, "examples,fuzzing");
}

#[test]
fn a_filter_of_an_operation_that_is_no_text_is_refused() {
    let bridge = Bridge::start();
    let order = json!({
        "kind": "requeue", "filter": { "state": "parked", "since": 5 }, "dry_run": true
    });
    let refused = bridge.posts("/api/operations", &order);
    assert_eq!(
        refused.status, 400,
        "more calls than meant: {}",
        refused.body
    );
}
