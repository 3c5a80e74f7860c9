//! Who may use the admin listener, what each role may do, and the audit log of what was done.

use serde_json::{Value, json};
use twilio_acquire_bridge::debugging::fake_acquire::Reply;

use crate::support::harness::Bridge;
use crate::support::http::{Answer, exchange};
use crate::support::twilio::sid;

pub const OPERATORS: &str = r#"
[[operators]]
name = "alice"
token = "token-of-alice"
role = "operator"
[[operators]]
name = "vera"
token = "token-of-vera"
role = "viewer"
"#;

pub const ALICE: &str = "Bearer token-of-alice";
pub const VERA: &str = "Bearer token-of-vera";

/// A bridge with these lines in its configuration, and call 1, which Acquire refused.
fn bridge(lines: &str) -> Bridge {
    let mut bridge = match lines {
        "" => Bridge::start(),
        _ => Bridge::with(&[("BRIDGE__ADMIN__TOKEN", "open-sesame")]),
    };
    bridge.acquire.answers(vec![Reply::Invalid]);
    bridge.twilio.ends(&sid(1), "completed");
    bridge.settles();
    if !lines.is_empty() {
        bridge.stops();
        bridge.restarts_with(lines);
    }
    bridge
}

fn asks(bridge: &Bridge, method: &str, target: &str, headers: &[(&str, &str)]) -> Answer {
    let host = [("Host", "localhost"), ("Content-Type", "application/json")];
    let headers = [&host, headers].concat();
    let body = if target.ends_with("/dismiss") {
        &br#"{"reason":"test calls"}"#[..]
    } else {
        b""
    };
    exchange(bridge.admin_address(), method, target, &headers, body)
}

fn as_user(bridge: &Bridge, user: &str, method: &str, target: &str) -> Answer {
    asks(bridge, method, target, &[("Authorization", user)])
}

fn log(bridge: &Bridge, user: &str) -> Vec<Value> {
    let answer = as_user(bridge, user, "GET", "/api/audit").json();
    answer["audit"].as_array().expect("rows").clone()
}

#[test]
fn each_role_may_use_its_routes_and_no_others() {
    let bridge = bridge(OPERATORS);
    let call = |act: &str| format!("/api/calls/{}{act}", sid(1));
    for target in [format!("/calls/{}", sid(1)), "/parked".to_owned()] {
        let page = |user: &str| {
            let html = [("Accept", "text/html"), ("Authorization", user)];
            asks(&bridge, "GET", &target, &html).body
        };
        assert!(page(ALICE).contains("name=\"act\"") && page(ALICE).contains("alice, operator"));
        // That of the search is left.
        assert!(page(VERA).matches("<form").count() == 1 && page(VERA).contains("vera, viewer"));
    }
    // Method, target, the status for a viewer and for an operator.
    for (method, target, viewer, operator) in [
        ("GET", "/", 200, 200),
        ("HEAD", "/", 200, 200),
        ("GET", "/metrics", 200, 200),
        ("GET", "/api/calls", 200, 200),
        ("GET", &call(""), 200, 200),
        ("GET", "/refused", 200, 200),
        ("GET", "/api/refused", 200, 200),
        ("GET", "/api/status", 200, 200),
        ("GET", "/audit", 200, 200),
        ("GET", "/api/audit", 200, 200),
        ("GET", "/nowhere", 404, 404),
        ("POST", &call("/dismiss"), 403, 200),
        ("POST", &call("/requeue"), 403, 202),
        ("POST", "/api/reconcile", 403, 400),
        ("GET", "/calls", 200, 200),
        ("POST", "/calls", 400, 400),
        ("GET", "/operations", 200, 200),
        (
            "GET",
            "/operations/new?kind=requeue&state=skipped",
            403,
            200,
        ),
        ("GET", "/operations/new?kind=erase", 403, 200),
        ("POST", "/operations", 403, 400),
        ("POST", "/operations/1", 403, 400),
        ("GET", "/api/operations", 200, 200),
        ("POST", "/api/operations", 403, 400),
        ("POST", "/api/operations/1/pause", 403, 404),
    ] {
        assert_eq!(asks(&bridge, method, target, &[]).status, 401, "{target}");
        for (user, status) in [(VERA, viewer), (ALICE, operator)] {
            let answer = as_user(&bridge, user, method, target);
            assert_eq!(
                answer.status, status,
                "{user} {method} {target}: {}",
                answer.body
            );
        }
    }
    let page = exchange(
        bridge.admin_address(),
        "POST",
        &call("/requeue"),
        &[
            ("Host", "localhost"),
            ("Authorization", VERA),
            ("Accept", "text/html"),
        ],
        b"",
    );
    assert_eq!(page.status, 403);
    let names_both =
        page.body.contains("your role is viewer") && page.body.contains("vera, viewer");
    assert!(names_both, "{}", page.body);
}

#[test]
fn the_token_names_the_operator_in_the_log() {
    let bridge = bridge(OPERATORS);
    // "someone:token-of-alice"
    let basic = "Basic c29tZW9uZTp0b2tlbi1vZi1hbGljZQ==";
    for user in ["Bearer open-sesame", basic] {
        let requeue = format!("/api/calls/{}/requeue", sid(1));
        assert_eq!(as_user(&bridge, user, "POST", &requeue).status, 202);
    }
    let rows = log(&bridge, VERA);
    let by = |row: &Value| {
        (
            row["actor"].clone(),
            row["known_by"].clone(),
            row["act"].clone(),
        )
    };
    assert_eq!(
        by(&rows[0]),
        (json!("alice"), json!("token"), json!("requeue"))
    );
    assert_eq!(
        by(&rows[1]),
        (json!("admin"), json!("token"), json!("requeue"))
    );
}

#[test]
fn the_header_of_a_proxy_is_believed_from_its_address_only() {
    let proxy = |address: &str| {
        format!(
            "[admin]\nuser_header = \"X-Forwarded-User\"\ntrusted_proxies = [\"{address}\"]\n{OPERATORS}\
             [[operators]]\nname = \"bob@example.com\"\nrole = \"operator\"\n"
        )
    };
    let requeue = format!("/api/calls/{}/requeue", sid(1));
    let bridge = bridge(&proxy("127.0.0.1"));
    let with = |headers: &[(&str, &str)]| asks(&bridge, "POST", &requeue, headers).status;
    assert_eq!(with(&[("X-Forwarded-User", "bob@example.com")]), 202);
    for viewer in ["stranger", "admin"] {
        assert_eq!(with(&[("X-Forwarded-User", viewer)]), 403, "{viewer}");
    }
    assert_eq!(with(&[("X-Forwarded-User", "")]), 401);
    assert_eq!(
        with(&[("X-Forwarded-User", "alice"), ("X-Forwarded-User", "vera")]),
        401
    );
    let alice = ("Authorization", ALICE);
    assert_eq!(
        with(&[("X-Forwarded-User", "vera"), alice]),
        403,
        "the header decides"
    );
    assert_eq!(with(&[alice]), 202, "without a header the token decides");
    assert_eq!(with(&[]), 401);
    let rows = log(&bridge, ALICE);
    assert_eq!(
        (&rows[1]["actor"], &rows[1]["known_by"]),
        (&json!("bob@example.com"), &json!("header"))
    );
    drop(bridge);

    let bridge = self::bridge(&proxy("192.0.2.7"));
    let with = |headers: &[(&str, &str)]| asks(&bridge, "POST", &requeue, headers).status;
    assert_eq!(with(&[("X-Forwarded-User", "alice")]), 401);
    assert_eq!(
        with(&[("X-Forwarded-User", "vera"), ("Authorization", ALICE)]),
        202
    );
}

#[test]
fn a_reason_that_names_a_person_is_refused() {
    let bridge = bridge("");
    let dismiss = format!("/api/calls/{}/dismiss", sid(1));
    for reason in ["asked by +12025550123", "ann@example.com", " "] {
        let refused = bridge.posts(&dismiss, &json!({ "reason": reason }));
        assert_eq!(refused.status, 400, "{}", refused.body);
    }
    assert_eq!(bridge.posts(&dismiss, &json!({})).status, 400);
    assert_eq!(
        bridge.posts(&dismiss, &json!({ "raeson": "x" })).status,
        400
    );
    assert_eq!(bridge.state(&sid(1)), "parked");
    assert_eq!(log(&bridge, ""), Vec::<Value>::new());
    let dismissed = bridge.posts(&dismiss, &json!({ "reason": "test calls" }));
    assert_eq!(dismissed.status, 200, "{}", dismissed.body);
    assert_eq!(bridge.state(&sid(1)), "skipped");
    assert_eq!(
        bridge.posts(&dismiss, &json!({ "reason": "again" })).status,
        409
    );
    let rows = log(&bridge, "");
    assert_eq!(rows.len(), 1);
    assert_eq!(
        (&rows[0]["actor"], &rows[0]["known_by"]),
        (&json!("local"), &json!("local"))
    );
}

#[test]
fn the_commands_act_through_the_bridge_and_on_the_store_itself() {
    let mut bridge = bridge(OPERATORS);
    let run = bridge.runs(&[
        "dismiss",
        &sid(1),
        &sid(9),
        "--reason",
        "tests",
        "--operator",
        "alice",
    ]);
    assert_eq!(run.code, Some(3), "{}", run.err);
    assert_eq!(run.out, format!("{}  dismissed\n", sid(1)));
    assert!(
        run.err.contains(&format!("{}  not in the store", sid(9))),
        "{}",
        run.err
    );
    let run = bridge.runs(&["requeue", &sid(1), "--operator", "nobody"]);
    assert_eq!(run.code, Some(2), "{}", run.err);
    bridge.stops();
    let run = bridge.runs(&["requeue", &sid(1), "--reason", "they were none"]);
    assert_eq!(run.code, Some(0), "{}", run.err);
    let run = bridge.runs(&["audit", "--json"]);
    let rows: Vec<Value> = run
        .out
        .lines()
        .map(|row| serde_json::from_str(row).expect("JSON"))
        .collect();
    assert_eq!(rows.len(), 2);
    assert_eq!(
        (&rows[0]["act"], &rows[0]["known_by"]),
        (&json!("requeue"), &json!("cli"))
    );
    assert_eq!(rows[0]["reason"], "they were none");
    assert_eq!(
        (&rows[1]["act"], &rows[1]["actor"]),
        (&json!("dismiss"), &json!("alice"))
    );
    let head = bridge.runs(&["audit", "--head"]);
    assert_eq!(json!(head.out.trim()), rows[0]["hash"]);
    assert!(
        bridge
            .runs(&["audit"])
            .out
            .contains("alice (token)  dismiss")
    );
}

#[test]
fn the_forms_of_a_calls_page_act_and_lead_back_to_it() {
    let bridge = bridge(OPERATORS);
    let page = format!("/calls/{}", sid(1));
    let sends = |user: &str, form: &str| {
        let headers = [
            ("Host", "localhost"),
            ("Content-Type", "application/x-www-form-urlencoded"),
            ("Authorization", user),
        ];
        exchange(
            bridge.admin_address(),
            "POST",
            &page,
            &headers,
            form.as_bytes(),
        )
    };
    assert_eq!(sends(VERA, "act=dismiss&reason=tests").status, 403);
    for wrong in [
        "act=dismiss",
        "act=dismiss&reason=a%40b",
        "act=erase",
        "act=requeue&more=1",
    ] {
        assert_eq!(sends(ALICE, wrong).status, 400, "{wrong}");
    }
    assert_eq!(bridge.state(&sid(1)), "parked");
    let done = sends(ALICE, "act=dismiss&reason=tests");
    assert_eq!(
        (done.status, done.header("location")),
        (303, Some(page.as_str()))
    );
    assert_eq!(log(&bridge, VERA)[0]["actor"], "alice");
    assert_eq!(sends(ALICE, "act=dismiss&reason=tests").status, 409);
    assert_eq!(sends(ALICE, "act=requeue&reason=").status, 303);
}

#[test]
fn a_viewer_sees_no_number_and_no_raw_form() {
    let bridge = bridge(OPERATORS);
    let call = |api: &str| format!("{api}/calls/{}", sid(1));
    for target in [call(""), call("/api")] {
        let as_operator = as_user(&bridge, ALICE, "GET", &target).body;
        assert!(as_operator.contains("2025550"), "{target}: {as_operator}");
        let as_viewer = as_user(&bridge, VERA, "GET", &target).body;
        assert!(!as_viewer.contains("2025550"), "{target}: {as_viewer}");
        assert!(!as_viewer.contains("CallStatus="), "{target}: {as_viewer}");
        assert!(
            as_viewer.contains("****") || as_viewer.contains("not shown"),
            "{as_viewer}"
        );
    }
}

#[test]
fn check_store_names_the_first_row_that_was_changed() {
    let bridge = bridge("");
    for _ in 0..2 {
        bridge.admin("POST", &format!("/api/calls/{}/requeue", sid(1)), &[]);
    }
    assert_eq!(bridge.runs(&["check", "--store"]).code, Some(0));
    let file = bridge.folder.path().join("bridge.db");
    let database = rusqlite::Connection::open(file).expect("a database");
    let change = "UPDATE audit SET row = replace(row, 'local', 'other') WHERE number = 1";
    database.execute_batch(change).expect("changed");
    let run = bridge.runs(&["check", "--store"]);
    assert_eq!(run.code, Some(1));
    assert!(
        run.err.contains("row 1 of the audit log does not match"),
        "{}",
        run.err
    );
}
