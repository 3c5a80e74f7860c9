//! A person or a call is erased, by the API, the pages and the command, and what is held is exported.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use twilio_acquire_bridge::debugging::fake_acquire::Reply;

use crate::support::harness::{Bridge, until};
use crate::support::http::{Answer, exchange};
use crate::support::twilio::{STATUS, sid, status_form};

const FORM: &str = "application/x-www-form-urlencoded";

/// Call 1 of a person, delivered; call 2, in which only a field that no one reads has the number, parked; call
/// 3 of another person; and a refused request of the person.
fn three_calls() -> Bridge {
    let bridge = Bridge::start();
    bridge.twilio.ends(&sid(1), "completed");
    bridge.settles();
    bridge.acquire.answers(vec![Reply::Invalid]);
    let other =
        |number| status_form(&sid(number), "completed").replace("12025550123", "14155550188");
    bridge.twilio.sends_form(
        STATUS,
        &format!("{}&CallToken=x%2B1-202-555-0123", other(2)),
    );
    bridge.settles();
    bridge.twilio.sends_form(STATUS, &other(3));
    bridge.settles();
    let form = status_form(&sid(4), "completed");
    let headers = [("Content-Type", FORM), ("X-Twilio-Signature", "wrong")];
    let answer = exchange(bridge.public(), "POST", STATUS, &headers, form.as_bytes());
    assert_eq!(answer.status, 403);
    bridge.keeps("no-match");
    bridge.waits(Duration::from_secs(20));
    bridge
}

fn orders(bridge: &Bridge, order: &Value) -> Answer {
    bridge.posts("/api/operations", order)
}

/// The receipt of the only operation, once it has ended.
fn receipt(bridge: &Bridge) -> Value {
    let listed = || bridge.admin("GET", "/api/operations", &[]).json();
    until("it has ended", || {
        !listed()["operations"][0]["receipt"].is_null()
    });
    let operation = listed()["operations"][0].clone();
    assert_eq!(operation["state"], "done", "{operation}");
    operation["receipt"].clone()
}

fn has_number(file: &Path) -> bool {
    let bytes = std::fs::read(file).expect("read");
    ["2025550123", "202-555-0123"].iter().any(|number| {
        bytes
            .windows(number.len())
            .any(|part| part == number.as_bytes())
    })
}

fn files_with_number(bridge: &Bridge) -> Vec<String> {
    let files = std::fs::read_dir(bridge.folder.path()).expect("listed");
    let paths = files.map(|file| file.expect("a file").path());
    let found = paths.filter(|path| path.is_file() && has_number(path));
    found.map(|path| path.display().to_string()).collect()
}

#[test]
fn a_person_is_erased_and_a_repeated_callback_makes_no_call() {
    let bridge = three_calls();
    assert!(!files_with_number(&bridge).is_empty());
    let order = json!({
        "kind": "erase", "filter": { "number": "+1 202 555 0123" }, "reason": "request 17"
    });
    let mut dry = order.clone();
    dry["dry_run"] = true.into();
    let found = orders(&bridge, &dry);
    assert_eq!(found.status, 200, "{}", found.body);
    let found = found.json();
    assert_eq!(found.get("spooled"), None, "no spool was read");
    let seen = ["calls", "legs", "undelivered", "refused"].map(|key| &found[key]);
    assert_eq!(
        seen,
        [&json!(2), &json!(2), &json!(1), &json!(1)],
        "{found}"
    );
    assert_eq!(bridge.state(&sid(1)), "delivered");
    let made = orders(&bridge, &order);
    assert_eq!(made.status, 202, "{}", made.body);
    let receipt = receipt(&bridge);
    assert_eq!(receipt["removed"]["calls"], 2, "{receipt}");
    assert_eq!(receipt["removed"]["refused"], 1, "{receipt}");
    let beyond = receipt["not_reached"].to_string();
    for place in [
        "Acquire",
        "Twilio",
        "backups",
        "logs",
        "exports",
        "directory.file",
    ] {
        assert!(beyond.contains(place), "{place}: {beyond}");
    }
    assert_eq!(files_with_number(&bridge), Vec::<String>::new());
    let page = bridge.admin("GET", &format!("/calls/{}", sid(1)), &[]);
    assert_eq!(page.status, 404);
    assert!(page.body.contains("was erased on"), "{}", page.body);
    assert_eq!(bridge.state(&sid(3)), "delivered");
    let sent = bridge.sent().len();
    assert_eq!(bridge.twilio.ends(&sid(1), "completed").status, 204);
    bridge.counts(
        "bridge_callbacks_received_total{account=\"acme\",verdict=\"erased\"}",
        1.0,
    );
    bridge.settles();
    assert_eq!(bridge.sent().len(), sent);
    assert_eq!(files_with_number(&bridge), Vec::<String>::new());
    let audit = bridge.admin("GET", "/api/audit", &[]).body;
    assert!(audit.contains("\"act\":\"erase\"") && audit.contains("request 17"));
    assert!(!audit.contains("0123\""), "{audit}");
}

#[test]
fn an_erasure_needs_one_subject_in_full_and_a_reason() {
    let bridge = Bridge::start();
    for wrong in [
        json!({ "filter": { "number": "+12025550123" } }),
        json!({ "filter": { "number": "5550123" }, "reason": "r" }),
        json!({ "filter": { "email": "ann" }, "reason": "r" }),
        json!({ "filter": { "call": "CA1" }, "reason": "r" }),
        json!({ "filter": { "state": "parked" }, "reason": "r" }),
        json!({ "filter": {}, "reason": "r" }),
        json!({ "filter": { "number": "+12025550123", "email": "a@b.c" }, "reason": "r" }),
        json!({ "filter": { "number": "+12025550123" }, "reason": "of +12025550123" }),
        json!({ "filter": { "number": "+12025550123" }, "reason": "r", "compaction": "full" }),
    ] {
        let mut order = wrong.clone();
        order["kind"] = "erase".into();
        let answer = orders(&bridge, &order);
        assert_eq!(answer.status, 400, "{wrong}: {}", answer.body);
    }
    let listed = bridge.admin("GET", "/api/operations", &[]).json();
    assert_eq!(listed["operations"], json!([]));
}

/// The value of a hidden field of a form.
fn hidden(page: &str, name: &str) -> String {
    let field = format!("name=\"{name}\" value=\"");
    let (_, rest) = page.split_once(&field).expect("a field");
    rest.split('"').next().expect("its end").to_owned()
}

fn sends_form(bridge: &Bridge, page: &str, fields: &[(&str, &str)]) -> Answer {
    let (filter, key) = (hidden(page, "filter"), hidden(page, "key"));
    let mut all = vec![("kind", "erase"), ("filter", &filter), ("key", &key)];
    all.extend(fields);
    let form = serde_urlencoded::to_string(all).expect("a form");
    let headers = [("Host", "localhost"), ("Content-Type", FORM)];
    let admin = bridge.admin_address();
    exchange(admin, "POST", "/operations", &headers, form.as_bytes())
}

#[test]
fn a_call_is_erased_from_its_page() {
    let bridge = three_calls();
    let call = bridge.page(&format!("/calls/{}", sid(2)));
    let confirm = format!("/operations/new?kind=erase&amp;call={}", sid(2));
    assert!(call.contains(&format!("href=\"{confirm}\"")), "{call}");
    let page = bridge.page(&confirm.replace("&amp;", "&"));
    assert!(page.contains("Found now: 1 call with 1 leg."), "{page}");
    let subject = ("subject", &*hidden(&page, "subject"));
    assert_eq!(
        sends_form(&bridge, &page, &[subject, ("reason", " ")]).status,
        400
    );
    for _ in 0..2 {
        let sent = sends_form(&bridge, &page, &[subject, ("reason", "request 18")]);
        assert_eq!(
            sent.header("location"),
            Some("/operations"),
            "{}",
            sent.body
        );
    }
    assert_eq!(receipt(&bridge)["removed"]["calls"], 1);
    assert_eq!(bridge.state(&sid(2)), "unknown to the bridge");
    assert_eq!(bridge.state(&sid(1)), "delivered");
    let shown = bridge.page("/operations");
    assert!(shown.contains("Receipt 1") && shown.contains("not reached: Acquire"));
}

#[test]
fn a_person_is_erased_from_the_list_of_their_calls_and_no_other_by_mistake() {
    let bridge = three_calls();
    let headers = [("Host", "localhost"), ("Content-Type", FORM)];
    let admin = bridge.admin_address();
    let list = exchange(admin, "POST", "/calls", &headers, b"q=%2B12025550123");
    let list = bridge.page(list.header("location").expect("the list"));
    let (_, link) = list
        .split_once("/operations/new?kind=erase&amp;")
        .expect("a link");
    let query = link.split('"').next().expect("its end");
    let page = bridge.page(&format!("/operations/new?kind=erase&{query}"));
    assert!(page.contains("Found now: 1 call with"), "{page}");
    let reason = ("reason", "request 19");
    let other = sends_form(&bridge, &page, &[("subject", "+14155550188"), reason]);
    assert_eq!(other.status, 400);
    assert!(other.body.contains("not the number or e-mail of the list"));
    let sent = sends_form(&bridge, &page, &[("subject", "+1 202 555 0123"), reason]);
    assert_eq!(sent.status, 303, "{}", sent.body);
    // Also the call that no index finds.
    assert_eq!(receipt(&bridge)["removed"]["calls"], 2);
}

#[test]
fn the_command_exports_and_erases_a_person_with_and_without_a_bridge() {
    for runs in [true, false] {
        let mut bridge = three_calls();
        if !runs {
            bridge.stops();
        }
        let out = bridge.folder.path().join("access");
        let folder = out.display().to_string();
        let run = bridge.runs(&["export", "--number", "+12025550123", "--out", &folder]);
        assert_eq!(run.code, Some(0), "{}", run.err);
        assert!(out.join(sid(1)).is_dir() && out.join(sid(2)).is_dir());
        assert!(!out.join(sid(3)).exists());
        assert!(out.join("refused-1.http").is_file(), "{}", run.out);
        std::fs::remove_dir_all(&out).expect("removed");
        let erase = |more: &[&str]| {
            let order = [
                "erase",
                "--number",
                "+12025550123",
                "--reason",
                "request 20",
            ];
            bridge.runs(&[&order, more].concat())
        };
        let run = erase(&["--dry-run"]);
        let found = "found: 2 calls with 2 legs, 1 of them not accepted by Acquire; \
                     1 refused request\n";
        assert_eq!(
            (run.code, run.out.as_str()),
            (Some(0), found),
            "{}",
            run.err
        );
        let run = erase(&[]);
        assert_eq!(run.code, Some(2), "no terminal: {}", run.err);
        let run = erase(&["--yes"]);
        assert_eq!(run.code, Some(0), "{}", run.err);
        assert!(
            run.out.contains("removed: 2 calls with 2 legs"),
            "{}",
            run.out
        );
        assert!(
            run.out.contains("not reached: Acquire and Twilio"),
            "{}",
            run.out
        );
        assert_eq!(files_with_number(&bridge), Vec::<String>::new());
        let run = bridge.runs(&["show", &sid(1)]);
        assert!(run.err.contains("was erased on"), "{}", run.err);
        let run = bridge.runs(&["check", "--store"]);
        assert_eq!(run.code, Some(0), "{} {}", run.out, run.err);
        if !runs {
            let run = erase(&["--yes", "--compact"]);
            assert!(
                run.out.contains("the file was rewritten"),
                "{} {}",
                run.out,
                run.err
            );
        }
    }
}
