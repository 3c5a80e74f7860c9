//! Bulk operations of operators: confirmed, carried out once, paused, cancelled.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use twilio_acquire_bridge::debugging::fake_acquire::{Faults, Reply};
use twilio_acquire_bridge::domain::cause::Cause;
use twilio_acquire_bridge::store::NextState;

use crate::requeue::finished;
use crate::support::harness::{Bridge, until};
use crate::support::http::{Answer, exchange};
use crate::support::serve::{Serve, sink};
use crate::support::twilio::sid;

fn posts(admin: SocketAddr, target: &str, kind: &str, body: &str) -> Answer {
    let headers = [("Host", "localhost"), ("Content-Type", kind)];
    exchange(admin, "POST", target, &headers, body.as_bytes())
}

fn orders(admin: SocketAddr, order: &Value) -> Answer {
    posts(
        admin,
        "/api/operations",
        "application/json",
        &order.to_string(),
    )
}

fn operations(admin: SocketAddr) -> Vec<Value> {
    let answer = exchange(
        admin,
        "GET",
        "/api/operations",
        &[("Host", "localhost")],
        b"",
    );
    answer.json()["operations"]
        .as_array()
        .expect("a list")
        .clone()
}

fn parked(count: usize) -> Bridge {
    let bridge = Bridge::start();
    bridge.acquire.answers(vec![Reply::Invalid; count]);
    for number in 1..=count {
        bridge.twilio.ends(&sid(number), "completed");
    }
    bridge.settles();
    bridge
}

#[test]
fn five_thousand_calls_are_requeued_once_each_across_a_kill() {
    const MANY: usize = 5_000;
    let mut bridge = Bridge::start();
    bridge.stops();
    let next = NextState::Parked(Cause::Refused(422), "refused".to_owned());
    finished(&bridge, MANY, &next);
    let database = bridge.folder.path().join("bridge.db");
    let acquire = sink(Faults::default());
    let first = Serve::start(&database, &acquire);
    let order = json!({
        "kind": "requeue", "filter": { "state": "parked" }, "rate": 1_000, "reason": "repaired"
    });
    let made = orders(first.admin, &order);
    assert_eq!(made.status, 202, "{}", made.body);
    until("a part is done", || {
        operations(first.admin)[0]["done"].as_u64() >= Some(500)
    });
    first.signal("-KILL");
    first.ends();
    let second = Serve::start(&database, &acquire);
    let seen = &operations(second.admin)[0];
    assert!(
        seen["done"].as_u64() < Some(5_000),
        "killed in the middle: {seen}"
    );
    until("the rest is done", || {
        operations(second.admin)[0]["state"] == "done"
    });
    let seen = &operations(second.admin)[0];
    assert_eq!(
        (&seen["done"], &seen["total"], &seen["failed"]),
        (&json!(MANY), &json!(MANY), &json!(0))
    );
    second.signal("-TERM");
    second.ends();
    let database = rusqlite::Connection::open(database).expect("the store");
    let counts = "SELECT count(*), min(requeue_count), max(requeue_count) FROM call";
    let counts = database.query_row(counts, [], |row| {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?))
    });
    let once: (i64, i64, i64) = counts.expect("read");
    assert_eq!(once, (5_000, 1, 1));
    let acts = "SELECT count(*) FROM audit";
    let acts: i64 = database
        .query_row(acts, [], |row| row.get(0))
        .expect("read");
    assert_eq!(acts, 2, "made and finished");
}

#[test]
fn a_form_that_is_sent_twice_makes_one_operation() {
    let bridge = parked(3);
    let admin = bridge.admin_address();
    let confirm = "/operations/new?kind=dismiss&state=parked";
    let page = bridge.admin("GET", confirm, &[]);
    assert_eq!(page.status, 200, "{}", page.body);
    assert!(page.body.contains("Dismiss 3 calls"), "{}", page.body);
    let value = |name: &str| {
        let field = format!("name=\"{name}\" value=\"");
        let (_, rest) = page.body.split_once(&field).expect("a field");
        rest.split('"').next().expect("its end").to_owned()
    };
    let form = format!(
        "kind=dismiss&filter=state%3Dparked&key={}&before={}&count=3&rate=50&reason=tests",
        value("key"),
        value("before"),
    );
    bridge.clock.advance(Duration::from_secs(1));
    bridge.acquire.answers(vec![Reply::Invalid]);
    bridge.twilio.ends(&sid(4), "completed");
    bridge.settles();
    for _ in 0..2 {
        let sent = posts(
            admin,
            "/operations",
            "application/x-www-form-urlencoded",
            &form,
        );
        assert_eq!(
            (sent.status, sent.header("location")),
            (303, Some("/operations"))
        );
    }
    until("it is done", || operations(admin)[0]["state"] == "done");
    assert_eq!(operations(admin).len(), 1);
    assert_eq!(bridge.state(&sid(3)), "skipped");
    assert_eq!(bridge.state(&sid(4)), "parked", "it was not on the page");
    assert!(
        bridge
            .admin("GET", "/operations", &[])
            .body
            .contains("3 of 3")
    );
    let wrong = form.replace("reason=tests", "reason=");
    let sent = posts(
        admin,
        "/operations",
        "application/x-www-form-urlencoded",
        &wrong,
    );
    assert_eq!(sent.status, 400);
}

#[test]
fn the_parked_calls_of_a_cause_are_tried_with_one_and_then_requeued_or_dismissed_together() {
    const FORM: &str = "application/x-www-form-urlencoded";
    let bridge = parked(3);
    bridge.twilio.ends(&sid(4), "answered");
    bridge.settles();
    let admin = bridge.admin_address();
    let page = || bridge.admin("GET", "/parked", &[]).body;
    let try_one = format!("<form method=\"post\" action=\"/calls/{}\">", sid(3));
    let shown = page();
    assert!(
        shown.contains("3 calls: ") && shown.contains(&try_one),
        "{shown}"
    );
    let tried = posts(admin, &format!("/calls/{}", sid(3)), FORM, "act=requeue");
    assert_eq!(tried.status, 303, "{}", tried.body);
    bridge.settles();
    assert_eq!(bridge.state(&sid(3)), "delivered");
    let audit = bridge.admin("GET", "/api/audit", &[]).json();
    assert_eq!(audit["audit"][0]["act"], "requeue");

    for (kind, button, done) in [
        ("requeue", "Requeue all 2", "Requeue 2 calls"),
        ("dismiss", "Dismiss all 2", "Dismiss 2 calls"),
    ] {
        let page = page();
        let fields = "name=\"state\" value=\"parked\"><input type=\"hidden\" name=\"cause\" value=\"refused-400\">";
        assert!(page.contains(fields) && page.contains(button), "{page}");
        let target = format!("/operations/new?state=parked&cause=refused-400&kind={kind}");
        let confirm = bridge.admin("GET", &target, &[]).body;
        assert!(
            confirm.contains(done) && confirm.contains("state:parked cause:refused-400"),
            "{confirm}"
        );
    }
}

#[test]
fn more_than_a_hundred_calls_are_confirmed_by_their_number() {
    let bridge = parked(1);
    let admin = bridge.admin_address();
    let form = |typed: &str| {
        format!(
            "kind=requeue&filter=state%3Dparked&key=k&before=2026-09-21T14:13:20Z&count=4812&typed={typed}&rate=50&reason=tests"
        )
    };
    let sends = |typed| {
        posts(
            admin,
            "/operations",
            "application/x-www-form-urlencoded",
            &form(typed),
        )
        .status
    };
    assert_eq!((sends(""), sends("481"), sends("4,812")), (400, 400, 303));
}

#[test]
fn an_operation_is_counted_paused_and_cancelled_by_the_api() {
    let bridge = parked(3);
    let admin = bridge.admin_address();
    let order = |more: Value| {
        let mut order = json!({ "kind": "requeue", "filter": { "state": "parked" }, "rate": 1 });
        for (key, value) in more.as_object().expect("fields") {
            order[key] = value.clone();
        }
        orders(admin, &order)
    };
    let dry = order(json!({ "dry_run": true }));
    assert_eq!((dry.status, &dry.json()["count"]), (200, &json!(3)));
    assert!(operations(admin).is_empty());
    for wrong in [
        json!({ "filter": {} }),
        json!({ "filter": { "sate": "parked" } }),
        json!({ "kind": "remove" }),
        json!({ "kind": "dismiss" }),
        json!({ "reason": "+12025550123" }),
        json!({ "filter": { "reason": "+12025550123" } }),
        json!({ "rate": 0 }),
        json!({ "more": 1 }),
    ] {
        let refused = order(wrong.clone());
        assert_eq!(refused.status, 400, "{wrong}: {}", refused.body);
    }
    let id = order(json!({})).json()["id"].clone();
    let change = |act: &str, body: &str| {
        let target = format!("/api/operations/{id}/{act}");
        posts(admin, &target, "application/json", body)
    };
    assert_eq!(change("pause", "").json()["state"], "paused");
    assert_eq!(change("resume", "{\"rate\":2}").json()["rate"], 2);
    assert_eq!(change("cancel", "").json()["state"], "cancelled");
    assert_eq!(change("resume", "").json()["state"], "cancelled");
    assert_eq!(change("stop", "").status, 404);
    let unknown = posts(admin, "/api/operations/99/pause", "application/json", "");
    assert_eq!(unknown.status, 404);
    assert!(
        unknown.body.contains("there is no operation 99"),
        "{}",
        unknown.body
    );
    let metric = "bridge_operations{kind=\"requeue\",state=\"cancelled\"}";
    bridge.counts(metric, 1.0);
}

#[test]
fn an_operation_waits_while_deliveries_are_paused() {
    let bridge = parked(2);
    let admin = bridge.admin_address();
    bridge.acquire.behaves(Faults {
        default_reply: Reply::Status(401),
        ..Faults::default()
    });
    bridge.twilio.ends(&sid(9), "completed");
    until("deliveries are paused", || {
        bridge.metric("bridge_breaker_open{account=\"acme\"}") > Some(0.5)
    });
    orders(
        admin,
        &json!({ "kind": "requeue", "filter": { "state": "parked" } }),
    );
    until("it waits", || operations(admin)[0]["held_for"] == "acme");
    assert_eq!(operations(admin)[0]["done"], 0);
    let status = bridge.admin("GET", "/api/status", &[]).json();
    let sentence = "Operation 1 (requeue): 0 of 2 calls done, it waits for Acquire's account acme.";
    assert!(status.to_string().contains(sentence), "{status}");
    assert!(
        bridge
            .admin("GET", "/operations", &[])
            .body
            .contains("account acme are paused")
    );
}
