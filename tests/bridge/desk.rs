//! The operator's desk: what its pages say of a call and of the bridge.

mod browser;
mod webdriver;

use std::time::Duration;

use sha2::Digest as _;
use twilio_acquire_bridge::debugging::fake_acquire::{Faults, Reply};

use crate::support::harness::{Bridge, until};
use crate::support::twilio::{STATUS, sid, status_form};

impl Bridge {
    pub fn acquire_replies(&self, reply: Reply) {
        self.acquire.behaves(Faults {
            default_reply: reply,
            ..Faults::default()
        });
    }

    pub fn words(&self, call: usize) -> String {
        let words = self.call(&sid(call))["words"].clone();
        words.as_str().expect("words").to_owned()
    }

    /// The page as a browser gets it.
    pub fn page(&self, target: &str) -> String {
        let accept = [("Accept", "text/html")];
        self.admin("GET", target, &accept).body
    }
}

#[test]
fn the_state_of_a_call_is_said_in_the_same_words_by_page_api_and_show() {
    let bridge = Bridge::start();
    bridge.twilio.ends(&sid(2), "completed");
    bridge.settles();
    let delivered = "in Acquire since 2026-09-21T14:13:20.000Z, after less than 1 s";
    assert_eq!(bridge.words(2), delivered);

    let without_to = status_form(&sid(3), "completed").replace("&To=%2B12025550199", "");
    bridge.twilio.sends_form(STATUS, &without_to);
    bridge.settles();
    assert!(
        bridge.words(3).starts_with("not sent: "),
        "{}",
        bridge.words(3)
    );

    bridge.acquire_replies(Reply::Status(422));
    bridge.twilio.ends(&sid(4), "completed");
    bridge.settles();
    let parked = bridge.words(4);
    assert!(
        parked.starts_with("needs a decision: ") && parked.contains("422"),
        "{parked}"
    );

    bridge.acquire_replies(Reply::Status(503));
    bridge.twilio.ends(&sid(5), "completed");
    bridge.settles();
    let retried = "tried 1 time (last: 503), again at 2026-09-21T14:13:2";
    assert!(bridge.words(5).starts_with(retried), "{}", bridge.words(5));

    bridge.acquire_replies(Reply::Status(401));
    bridge.twilio.ends(&sid(6), "completed");
    until("the breaker opens", || {
        bridge.metric("bridge_breaker_open{account=\"acme\"} ") == Some(1.0)
    });
    bridge.settles();
    let held =
        "held: Acquire rejects the account (401) since 2026-09-21T14:13:20.000Z, next try at ";
    assert!(bridge.words(6).starts_with(held), "{}", bridge.words(6));
    assert_eq!(bridge.call(&sid(6))["wait"], "acquire");
    let listed = bridge.runs(&["list", "--wait", "acquire"]).out;
    let listed = listed.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        listed.contains(held) && !listed.contains(&sid(2)),
        "{listed}"
    );

    for call in 2..=6 {
        let words = bridge.words(call);
        let shown = bridge.runs(&["show", &sid(call)]).out;
        let shown = shown.split_whitespace().collect::<Vec<_>>().join(" ");
        let said = words.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(shown.contains(&format!("state {said}")), "{shown}");
        let start: String = words.chars().take(15).collect();
        let page = bridge.page(&format!("/calls/{}", sid(call)));
        assert!(page.contains(&start), "{start}: {page}");
    }
    bridge.acquire_replies(Reply::Saved);
    bridge.waits(Duration::from_secs(60));
}

#[test]
fn a_call_that_waits_says_for_what_and_until_when() {
    let mut bridge = Bridge::start();
    bridge.restarts_with("[recording]\nexpect = \"always\"\n");
    bridge.twilio.ends(&sid(1), "completed");
    bridge.settles();
    let waiting = "waiting for its recording, until 2026-09-21T14:";
    assert!(bridge.words(1).starts_with(waiting), "{}", bridge.words(1));
    assert_eq!(bridge.call(&sid(1))["wait"], "recording");
}

#[test]
fn each_page_has_the_frame_also_an_error() {
    let bridge = Bridge::start();
    for (target, here) in [
        ("/", "/"),
        ("/calls", "/calls"),
        ("/refused", "/refused"),
        ("/nothing", ""),
    ] {
        let page = bridge.page(target);
        for part in [
            "<html lang=\"en\">",
            "<a class=\"skip\" href=\"#main\">",
            "<nav aria-label=\"Pages\">",
            "<main id=\"main\"",
            "<h1",
        ] {
            assert_eq!(page.matches(part).count(), 1, "{target}: {part} in {page}");
        }
        let current = page.contains(&format!("<a href=\"{here}\" aria-current=\"page\">"));
        assert_eq!(current, !here.is_empty(), "{page}");
        assert_eq!(page.contains("as of <time"), !here.is_empty(), "{page}");
    }
}

#[test]
fn a_page_that_has_not_changed_is_not_sent_again() {
    let bridge = Bridge::start();
    let html = ("Accept", "text/html");
    let first = bridge.admin("GET", "/refused", &[html]);
    let etag = first.header("etag").expect("an ETag");
    let (_, main) = first.body.split_once("<main").expect("a page");
    let [a, b, c, d, ..] = <[u8; 32]>::from(sha2::Sha256::digest(main));
    let guessed = format!("{a:02x}{b:02x}{c:02x}{d:02x}");
    assert!(
        !etag.contains(&guessed),
        "a viewer could test guesses of masked digits"
    );
    bridge.clock.advance(Duration::from_secs(1));
    let again = bridge.admin("GET", "/refused", &[html, ("If-None-Match", etag)]);
    assert_eq!((again.status, again.body.as_str()), (304, ""));
    bridge.twilio.sends_form("/nothing", "CallSid=1");
    until("the refused request is stored", || {
        let changed = bridge.admin("GET", "/refused", &[html, ("If-None-Match", etag)]);
        changed.status == 200 && changed.header("etag") != Some(etag)
    });
}

#[test]
fn today_and_status_say_the_most_urgent_condition_and_the_exit_code_follows() {
    let mut bridge = Bridge::start();
    let run = bridge.runs(&["status"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.out.starts_with("No calls yet."), "{run:?}");
    bridge.twilio.ends(&sid(1), "completed");
    bridge.settles();
    let run = bridge.runs(&["status"]);
    let well = "All is well: 1 call today, all in Acquire.\n";
    assert_eq!((run.code, run.out.as_str()), (Some(0), well));
    assert!(bridge.page("/").contains(well.trim_end()));

    bridge.acquire_replies(Reply::Status(422));
    bridge.twilio.ends(&sid(2), "completed");
    bridge.settles();
    bridge.acquire_replies(Reply::Status(401));
    bridge.twilio.ends(&sid(3), "completed");
    until("the breaker opens", || {
        bridge.metric("bridge_breaker_open{account=\"acme\"} ") == Some(1.0)
    });
    bridge.settles();
    let status = bridge.admin("GET", "/api/status", &[]).json();
    let orders: Vec<_> = status["conditions"]
        .as_array()
        .expect("a list")
        .iter()
        .collect();
    let orders: Vec<_> = orders.iter().map(|view| view["order"].as_u64()).collect();
    assert_eq!(orders, [Some(4), Some(7)], "{status}");
    let sentence = status["sentence"].as_str().expect("a sentence");
    let rejected = "Acquire has rejected account acme since 2026-09-21T14:13:20.000Z (401). 1 call is held, \
                    nothing is lost. Check acquire.api_key.";
    assert_eq!(sentence, rejected);
    let run = bridge.runs(&["status", "--json"]);
    let printed: serde_json::Value = serde_json::from_str(&run.out).expect("JSON");
    assert_eq!(
        (run.code, &printed["sentence"]),
        (Some(1), &status["sentence"])
    );
    let page = bridge.page("/");
    assert!(
        page.contains("Acquire has rejected account acme")
            && page.contains("1 call needs a decision.")
    );

    bridge.acquire_replies(Reply::Saved);
    bridge.waits(Duration::from_secs(60));
    let run = bridge.runs(&["status"]);
    assert_eq!(
        (run.code, run.out.as_str()),
        (Some(1), "1 call needs a decision.\n")
    );
    bridge.stops();
    let run = bridge.runs(&["status"]);
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(
        run.out
            .starts_with("Callbacks cannot be stored: no bridge answers")
            && run.out.ends_with("1 call needs a decision.\n"),
        "{run:?}"
    );
}

#[test]
fn today_is_shown_beside_a_week_ago_with_the_last_48_hours_and_a_quiet_hour_is_a_condition() {
    let bridge = Bridge::with(&[("BRIDGE__REPORT__LATE", "1s")]);
    assert!(!bridge.page("/").contains("<svg"));
    for call in 1..=12 {
        bridge.twilio.ends(&sid(call), "completed");
    }
    bridge.settles();
    bridge.clock.advance(Duration::from_secs(7 * 86_400));
    let run = bridge.runs(&["status"]);
    let quiet = "No callback since 2026-09-21T14:13:20.000Z, but 12 calls in this hour a week\n";
    assert!(run.out.starts_with(quiet), "{run:?}");
    assert_eq!(run.code, Some(1));
    bridge.acquire.answers(vec![Reply::Status(503)]);
    bridge.twilio.ends(&sid(13), "completed");
    bridge.settles();
    bridge.waits(Duration::from_secs(60));
    let late = "1 of 1 call today reached Acquire more than 1 s late.\n";
    let run = bridge.runs(&["status"]);
    assert_eq!((run.code, run.out.as_str()), (Some(0), late));
    let page = bridge.page("/");
    for part in [
        "<b>1</b>calls today<br><span class=\"faint\">a week ago by now: 12</span>",
        "<svg class=\"chart hourly\" viewBox=\"0 0 48 100\"",
        "<svg class=\"chart coarse\" viewBox=\"0 0 12 100\"",
        "aria-label=\"2026-09-28T14:00:00.000Z to 2026-09-28T15:00:00.000Z: 1 received, 1 late\"",
        "<a href=\"/calls?since=2026-09-28T14:00:00.000Z&amp;until=2026-09-28T15:00:00.000Z\">",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let listed = "/calls?since=2026-09-28T14:00:00.000Z&until=2026-09-28T15:00:00.000Z";
    assert!(bridge.page(listed).contains("1 call</caption>"));
    let status = bridge.admin("GET", "/api/status", &[]).json();
    assert_eq!(
        (&status["today"]["late"], &status["week_ago"]["received"]),
        (&1.into(), &12.into())
    );
}

#[test]
fn the_page_of_a_call_shows_gaps_attempts_sources_and_what_would_differ_today() {
    let mut bridge = Bridge::start();
    for (status, number) in [("initiated", 0), ("completed", 2)] {
        let form = status_form(&sid(1), status);
        let form = form.replace("SequenceNumber=0", &format!("SequenceNumber={number}"));
        bridge.twilio.sends_form(STATUS, &form);
    }
    bridge.settles();
    let page = bridge.page(&format!("/calls/{}", sid(1)));
    for part in [
        "<h1>+12025550123 → +12025550199</h1>",
        "callback 1 did not arrive",
        "Acquire answered 200",
        "CallDuration of leg",
        "&#38;CallStatus=completed",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(!page.contains("sent differently today"), "{page}");
    assert!(
        !page.contains("last answer to account"),
        "an outage is named only if the call waits for it"
    );
    bridge.restarts_with("[directory]\ndefault = \"calls@example.com\"\n");
    let page = bridge.page(&format!("/calls/{}", sid(1)));
    let (_, differences) = page
        .split_once("sent differently today")
        .expect("a difference");
    assert!(
        differences.contains("nothing</td>") && differences.contains("calls@example.com"),
        "{page}"
    );
}

#[test]
fn a_call_that_is_not_found_says_what_is_known_of_it() {
    let bridge = Bridge::start();
    let unknown = bridge.page(&format!("/calls/{}", sid(9)));
    assert!(unknown.contains("errors 11200 to 11220"), "{unknown}");
    bridge
        .twilio
        .sends_form("/nothing", &status_form(&sid(9), "completed"));
    until("the refused request is named", || {
        let page = bridge.page(&format!("/calls/{}", sid(9)));
        page.contains("1 refused request named it") && !page.contains("11220")
    });
    let page = bridge.page(&format!("/calls/{}", sid(9)));
    assert!(
        page.contains("with cause not-found.") && page.contains("Open Refused"),
        "no command of the CLI: {page}"
    );
    let api = bridge.admin("GET", &format!("/api/calls/{}", sid(9)), &[]);
    assert_eq!(api.status, 404);
    assert!(
        api.body.contains("1 refused request named it"),
        "{}",
        api.body
    );
}
