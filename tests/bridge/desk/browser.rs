//! The pages in a real Chromium, with axe-core.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use twilio_acquire_bridge::debugging::fake_acquire::Reply;

use super::webdriver::Browser;
use crate::support::harness::{Bridge, until};
use crate::support::real::left_out;
use crate::support::twilio::{STATUS, sid, status_form};

/// `tests/run` fetches it from npm.
const AXE: &str = "target/axe/package/axe.min.js";

/// Where the pictures of the pages are kept.
const PICTURES: &str = "target/pages";

const TAB: &str = "\u{e004}";
const ENTER: &str = "\u{e007}";
const ESCAPE: &str = "\u{e00c}";

fn browser(test: &str) -> Option<Browser> {
    match Browser::open() {
        Ok(browser) => Some(browser),
        Err(why) => {
            let install = "apt-get install chromium-driver";
            left_out(&format!("{test} ({why}): {install}"));
            None
        }
    }
}

/// A bridge with calls in each state, refused requests, operations and an outage.
fn busy_bridge() -> Bridge {
    let bridge = Bridge::start();
    for call in [1, 3] {
        bridge.twilio.ends(&sid(call), "completed");
    }
    let long_address = status_form(&sid(2), "completed").replace(
        "%2B12025550123",
        "sip%3Areception.of.the.main.building%40a.carrier.sip.example.com",
    );
    bridge.twilio.sends_form(STATUS, &long_address);
    bridge.settles();
    let without_to = status_form(&sid(4), "completed").replace("&To=%2B12025550199", "");
    bridge.twilio.sends_form(STATUS, &without_to);
    let elsewhere = status_form(&sid(9), "completed");
    bridge.twilio.sends_form("/nothing", &elsewhere);
    bridge.settles();
    bridge.acquire_replies(Reply::Status(422));
    bridge.twilio.ends(&sid(5), "completed");
    bridge.twilio.ends(&sid(7), "completed");
    bridge.twilio.ends(&sid(8), "answered");
    bridge.settles();
    let order = |kind: &str, filter: Value| {
        let order = json!({ "kind": kind, "filter": filter, "reason": "test calls" });
        let made = bridge.posts("/api/operations", &order);
        assert_eq!(made.status, 202, "{}", made.body);
    };
    order("dismiss", json!({ "cause": "unmappable-status" }));
    until("the operation is done", || {
        bridge.metric("bridge_operations{kind=\"dismiss\",state=\"done\"}") == Some(1.0)
    });
    bridge.acquire_replies(Reply::Status(401));
    bridge.twilio.ends(&sid(6), "completed");
    until("the breaker opens", || {
        bridge.metric("bridge_breaker_open{account=\"acme\"} ") == Some(1.0)
    });
    bridge.settles();
    order("requeue", json!({ "state": "delivered" }));
    until("the operation waits", || {
        bridge.page("/operations").contains("It waits")
    });
    bridge
}

/// Each page of [`busy_bridge`].
fn pages() -> Vec<(&'static str, String)> {
    let call = |call| format!("/calls/{}", sid(call));
    let confirm = |kind| format!("/operations/new?kind={kind}&state=parked&cause=refused-422");
    vec![
        ("today", "/".to_owned()),
        ("calls", "/calls".to_owned()),
        ("filtered-calls", "/calls?state=parked".to_owned()),
        ("no-calls", "/calls?state=parked&cause=no-from".to_owned()),
        ("delivered-call", call(1)),
        ("skipped-call", call(4)),
        ("parked-call", call(5)),
        ("held-call", call(6)),
        ("unknown-call", call(9)),
        ("parked", "/parked".to_owned()),
        ("refused", "/refused".to_owned()),
        ("refused-cause", "/refused?cause=not-found".to_owned()),
        ("operations", "/operations".to_owned()),
        ("confirm-requeue", confirm("requeue")),
        ("confirm-dismiss", confirm("dismiss")),
        ("confirm-erase", "/operations/new?kind=erase".to_owned()),
        (
            "confirm-erase-call",
            format!("/operations/new?kind=erase&call={}", sid(5)),
        ),
        ("report", "/report/2026-09".to_owned()),
        ("empty-report", "/report/2026-10".to_owned()),
        ("audit", "/audit".to_owned()),
        ("error-400", "/?nubmer=1".to_owned()),
        ("error-404", "/nothing".to_owned()),
    ]
}

/// Pages of a bridge without calls.
fn empty_pages() -> Vec<(&'static str, String)> {
    let pages = [
        ("empty-today", "/"),
        ("empty-calls", "/calls"),
        ("empty-parked", "/parked"),
        ("empty-refused", "/refused"),
        ("empty-operations", "/operations"),
        ("empty-audit", "/audit"),
    ];
    pages.map(|(page, target)| (page, target.to_owned())).into()
}

/// A page that was opened must have loaded nothing from elsewhere, and logged no error but its own status.
fn is_quiet(browser: &Browser, base: &str, url: &str) {
    for entry in browser.log("performance") {
        let message = entry["message"].as_str().expect("a message");
        let message: Value = serde_json::from_str(message).expect("JSON");
        let message = &message["message"];
        if message["method"] == "Network.requestWillBeSent" {
            let target = message["params"]["request"]["url"].as_str();
            let target = target.expect("a URL");
            // Chromium draws its own icons from such URLs.
            let is_own = target.starts_with(base) || target.starts_with("data:");
            assert!(is_own, "{message}");
        }
    }
    for entry in browser.log("browser") {
        let text = entry["message"].as_str().expect("a message");
        let is_own_status = text.starts_with(url) && text.contains("the server responded with");
        assert!(is_own_status, "{url}: {text}");
    }
}

/// Pixels; high enough that a click need not wait for the end of a smooth scroll.
fn shows(browser: &Browser, width: u64) {
    let size = json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false });
    browser.devtools("Emulation.setDeviceMetricsOverride", &size);
}

/// Checks that a page fits at four widths and, at the outer two, that it is accessible in both colour schemes;
/// keeps pictures of these.
fn is_accessible(browser: &Browser, axe: Option<&str>, page: &str) {
    if let Some(axe) = axe {
        browser.runs(axe);
    }
    for theme in ["light", "dark"] {
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": theme }] });
        browser.devtools("Emulation.setEmulatedMedia", &media);
        for width in [1280, 1100, 720, 320] {
            shows(browser, width);
            let wide = browser.value("document.documentElement.scrollWidth");
            assert!(
                wide.as_u64() <= Some(width),
                "{page} is {wide} wide on {width}"
            );
            if [1100, 720].contains(&width) {
                continue;
            }
            let picture = Path::new(PICTURES).join(format!("{page}-{theme}-{width}.png"));
            fs::write(picture, browser.screenshot()).expect("a picture");
            if axe.is_none() {
                continue;
            }
            // Colours alone differ in the dark.
            let rules = match theme {
                "dark" => "{ type: 'rule', values: ['color-contrast', 'link-in-text-block'] }",
                _ => "['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']",
            };
            let found = browser.awaits(&format!(
                "axe.run({{ runOnly: {rules}, rules: {{ 'target-size': {{ enabled: true }} }} }})
                    .then(found => done(found.violations.map(one =>
                        one.id + ': ' + one.nodes.map(node => node.html).join(' '))))"
            ));
            assert_eq!(found, json!([]), "{page} {theme} {width}");
        }
    }
}

#[test]
fn every_page_is_accessible_and_fits_in_light_and_dark_wide_and_narrow() {
    let name = "every_page_is_accessible_and_fits_in_light_and_dark_wide_and_narrow";
    let Some(browser) = browser(name) else {
        return;
    };
    let axe = fs::read_to_string(AXE).ok();
    if axe.is_none() {
        left_out(&format!("axe-core in {name}: tests/run fetches {AXE}"));
    }
    fs::create_dir_all(PICTURES).expect("a folder");
    let (empty, busy) = (Bridge::start(), busy_bridge());
    for (bridge, pages) in [(&empty, empty_pages()), (&busy, pages())] {
        let base = format!("http://{}", bridge.admin_address());
        for (page, target) in pages {
            let url = format!("{base}{target}");
            browser.goes_to(&url);
            is_quiet(&browser, &base, &url);
            is_accessible(&browser, axe.as_deref(), page);
            // What axe did.
            browser.log("performance");
            browser.log("browser");
        }
    }
    busy.acquire_replies(Reply::Saved);
    busy.waits(std::time::Duration::from_secs(60));
}

#[test]
fn without_script_every_page_is_complete_and_parked_calls_are_tried_and_requeued() {
    let name = "without_script_every_page_is_complete_and_parked_calls_are_tried_and_requeued";
    let Some(browser) = browser(name) else {
        return;
    };
    let bridge = busy_bridge();
    let base = format!("http://{}", bridge.admin_address());
    let runs_scripts = |runs: bool| {
        let disabled = json!({ "value": !runs });
        browser.devtools("Emulation.setScriptExecutionDisabled", &disabled);
    };
    for (page, target) in pages() {
        let parts = || {
            browser.goes_to(&format!("{base}{target}"));
            browser.value(
                "[...document.querySelectorAll('body > header *, main *')]
                    .filter(of => of.checkVisibility() && !of.matches('[data-copy], .note'))
                    .map(of => of.localName).join(' ')",
            )
        };
        runs_scripts(true);
        let with = parts();
        runs_scripts(false);
        assert_eq!(parts(), with, "{page}");
    }
    bridge.acquire_replies(Reply::Saved);
    bridge.waits(std::time::Duration::from_secs(60));
    shows(&browser, 1280);
    browser.goes_to(&format!("{base}/parked"));
    browser.clicks("main form[method=post] button");
    until("the browser is on the page of the call", || {
        browser.value("location.pathname") == format!("/calls/{}", sid(7))
    });
    bridge.settles();
    assert_eq!(bridge.state(&sid(7)), "delivered");
    browser.goes_to(&format!("{base}/parked"));
    browser.clicks("main button[value=dismiss]");
    until("the page asks for a reason", || {
        browser.value("document.querySelector('h1')?.textContent.trim()") == "Dismiss 1 call"
    });
    browser.fills("[name=reason]", "test calls");
    browser.clicks("main form button");
    until("the browser is on the page of operations", || {
        browser.value("location.pathname") == "/operations"
    });
    until("the call is dismissed", || {
        bridge.state(&sid(5)) == "skipped"
    });
}

#[test]
fn a_live_page_pauses_while_an_operator_fills_in_a_form_and_then_announces_the_news() {
    let name = "a_live_page_pauses_while_an_operator_fills_in_a_form_and_then_announces_the_news";
    let Some(browser) = browser(name) else {
        return;
    };
    let bridge = Bridge::start();
    bridge.acquire.answers(vec![Reply::Invalid]);
    bridge.twilio.ends(&sid(1), "completed");
    bridge.settles();
    let base = format!("http://{}", bridge.admin_address());
    browser.goes_to(&format!("{base}/calls/{}", sid(1)));
    let parked = browser.text("#headline");
    assert!(parked.starts_with("needs a decision"), "{parked}");
    browser.fills("[name=reason]", "repaired");
    let requeued = bridge.posts(&format!("/api/calls/{}/requeue", sid(1)), &json!({}));
    assert_eq!(requeued.status, 202);
    bridge.settles();
    let says = |why: &str| until(why, || browser.text(".note") == format!("paused: {why}"));
    says("a field has the focus");
    browser.runs("document.activeElement.blur()");
    says("a form is being filled in");
    assert_eq!(browser.text("#headline"), parked);
    assert_eq!(
        browser.value("document.querySelector('[name=reason]').value"),
        "repaired"
    );
    browser.runs("document.querySelector('[name=reason]').value = ''");
    browser.runs("document.querySelector('summary').focus()");
    until("the page is updated", || {
        browser.text("#headline").starts_with("in Acquire since")
    });
    assert_eq!(browser.text("#announce"), browser.text("#headline"));
    assert_eq!(
        browser.value("document.activeElement.localName"),
        "summary",
        "an update keeps the focus"
    );
    browser.goes_to(&format!(
        "{base}/operations/new?kind=requeue&state=delivered"
    ));
    let is_live = browser.value("document.querySelector('[data-live], .as-of')");
    assert_eq!(is_live, Value::Null, "a confirmation is never replaced");
}

#[test]
fn a_call_is_found_and_requeued_with_the_keyboard_alone() {
    let name = "a_call_is_found_and_requeued_with_the_keyboard_alone";
    let Some(browser) = browser(name) else {
        return;
    };
    let bridge = Bridge::start();
    bridge.twilio.ends(&sid(1), "completed");
    bridge.settles();
    let base = format!("http://{}", bridge.admin_address());
    browser.goes_to(&format!("{base}/"));
    browser.types("?");
    assert_eq!(browser.value("document.querySelector('#keys').open"), true);
    browser.types(ESCAPE);
    assert_eq!(browser.value("document.querySelector('#keys').open"), false);
    browser.types("gp");
    let is_at = |path: &str| {
        until(path, || {
            browser.value("location.pathname + document.readyState") == format!("{path}complete")
        });
    };
    is_at("/parked");
    browser.types("/");
    browser.types("+1 (202) 555-0123");
    browser.types(ENTER);
    is_at("/calls");
    let query = browser.value("location.search");
    let query = query.as_str().expect("text");
    assert!(
        query.starts_with("?address=") && !query.contains("555"),
        "{query}"
    );
    browser.types("j");
    browser.types(ENTER);
    let call = format!("/calls/{}", sid(1));
    is_at(&call);
    let is_on_requeue = || browser.value("document.activeElement.value") == "requeue";
    for _ in 0..50 {
        if is_on_requeue() {
            break;
        }
        browser.types(TAB);
        let outline = browser.value("getComputedStyle(document.activeElement).outlineStyle");
        assert_eq!(outline, "solid", "the focus is visible");
    }
    assert!(is_on_requeue());
    browser.types(ENTER);
    until("the call is requeued", || {
        let audit = bridge.admin("GET", "/api/audit", &[]).json();
        audit["audit"][0]["act"] == "requeue"
    });
    is_at(&call);
    browser.runs(
        "const colours = [...document.querySelectorAll('#controls select')].pop();
        colours.value = 'dark'; colours.dispatchEvent(new Event('change'))",
    );
    browser.goes_to(&format!("{base}/refused"));
    let background = browser.value("getComputedStyle(document.documentElement).backgroundColor");
    assert_eq!(background, "rgb(21, 24, 28)", "the choice is remembered");
}
