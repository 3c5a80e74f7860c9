//! Finding calls: the search box, the list page by page, the API, and `list`.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::harness::{Bridge, until};
use crate::support::http::{Answer, exchange};
use crate::support::twilio::{STATUS, sid, status_form};

impl Bridge {
    /// Sends the search box.
    fn enters(&self, words: &str) -> Answer {
        let form = serde_urlencoded::to_string([("q", words)]).expect("a form");
        let headers = [
            ("Host", "localhost"),
            ("Content-Type", "application/x-www-form-urlencoded"),
            ("Accept", "text/html"),
        ];
        exchange(
            self.admin_address(),
            "POST",
            "/calls",
            &headers,
            form.as_bytes(),
        )
    }

    /// The calls that the search box finds: the SIDs on the page that it leads to.
    fn finds(&self, words: &str) -> Vec<String> {
        let answer = self.enters(words);
        assert_eq!(answer.status, 303, "{words}: {}", answer.body);
        let location = answer.header("location").expect("a location");
        for part in ["5550", "0123", "%2B1", "@", "%40", "jane", "ann"] {
            assert!(!location.contains(part), "{words}: {location}");
        }
        let page = self.page(location);
        for link in page.split("href=\"").skip(1) {
            let link = link.split('"').next().expect("an end");
            for part in ["5550", "%2B1", "@", "%40"] {
                assert!(!link.contains(part), "{words}: {link}");
            }
        }
        let rows = page.split("<th scope=\"row\"><a href=\"/calls/").skip(1);
        rows.map(|row| row[..34].to_owned()).collect()
    }

    fn listed(&self, target: &str) -> (Vec<String>, Option<String>) {
        let answer = self.admin("GET", target, &[]);
        assert_eq!(answer.status, 200, "{target}: {}", answer.body);
        sids_and_cursor(&answer.json())
    }
}

fn sids_and_cursor(answer: &Value) -> (Vec<String>, Option<String>) {
    let calls = answer["calls"].as_array().expect("a list").iter();
    let sids = calls.map(|call| call["call_sid"].as_str().expect("a SID").to_owned());
    (sids.collect(), answer["cursor"].as_str().map(str::to_owned))
}

/// Call 1 with a leg to an agent's softphone, and call 2 from another number to a SIP phone.
fn two_calls() -> Bridge {
    let mut bridge = Bridge::start();
    bridge.restarts_with("[directory.entries]\n\"client:jane\" = \"ann@example.com\"\n");
    let leg = status_form(&sid(11), "completed").replace("To=%2B12025550199", "To=client%3Ajane");
    let leg = leg.replace("Direction=inbound", "Direction=outbound-dial");
    bridge
        .twilio
        .sends_form(STATUS, &format!("{leg}&ParentCallSid={}", sid(1)));
    bridge.twilio.ends(&sid(1), "completed");
    let other = status_form(&sid(2), "completed").replace("12025550123", "14155550188");
    let other = other.replace("%2B12025550199", "sip%3A1001%40pbx.example.com%3A5060");
    bridge.twilio.sends_form(STATUS, &other);
    bridge.waits(Duration::from_secs(5));
    bridge
}

#[test]
fn a_call_is_found_by_each_spelling_of_each_of_its_addresses() {
    let bridge = two_calls();
    for words in [
        "+12025550123",
        "+1 (202) 555-0123",
        "12025550123",
        "0012025550123",
        "202-555-0123",
        "0123",
        "client:jane",
        "jane",
        "ann@example.com",
        "+12025550123 state:delivered since:1d",
    ] {
        assert_eq!(bridge.finds(words), [sid(1)], "{words}");
    }
    for words in ["sip:1001@pbx.example.com", "1001", "+14155550188", "0188"] {
        assert_eq!(bridge.finds(words), [sid(2)], "{words}");
    }
    for words in [
        "+12025550124",
        "0124",
        "0123 until:1d",
        "client:john",
        "cause:dismissed",
    ] {
        assert_eq!(bridge.finds(words), Vec::<String>::new(), "{words}");
    }
    assert_eq!(bridge.finds("state:delivered").len(), 2);
    let leg = bridge.enters(&format!(" {} ", sid(11)));
    let location = format!("/calls/{}", sid(11));
    assert_eq!(leg.header("location"), Some(location.as_str()));
    assert!(bridge.page(&location).contains(&sid(1)));
}

#[test]
fn a_mistake_in_the_search_box_is_an_error_that_says_what_is_allowed() {
    let bridge = Bridge::start();
    for (words, why) in [
        ("foo:bar", "the filters are state, cause, wait"),
        ("state:lost", "state must be one of pending"),
        ("12", "too few digits"),
    ] {
        let answer = bridge.enters(words);
        assert_eq!(answer.status, 400, "{words}");
        assert!(answer.body.contains(why), "{}", answer.body);
    }
    let number = "/api/calls?number=%2B12025550123";
    let answer = bridge.admin("GET", number, &[]);
    assert_eq!(answer.status, 400);
    assert!(
        answer.body.contains("POST /api/calls/search"),
        "{}",
        answer.body
    );
    for target in [
        "/calls?address=%2B12025550123",
        "/calls?foo=1",
        "/calls?cursor=1",
    ] {
        assert_eq!(bridge.admin("GET", target, &[]).status, 400, "{target}");
    }
}

#[test]
fn the_api_finds_by_number_in_the_body_and_has_the_row_of_the_page() {
    let bridge = two_calls();
    let answer = bridge.posts(
        "/api/calls/search",
        &json!({ "address": "+1 415 555 0188" }),
    );
    assert_eq!(answer.status, 200, "{}", answer.body);
    let call = &answer.json()["calls"][0];
    for (field, value) in [
        ("call_sid", json!(sid(2))),
        ("caller", json!("+14155550188")),
        ("callee", json!("sip:1001@pbx.example.com:5060")),
        ("direction", json!("incoming")),
        ("duration", json!(10)),
        ("state", json!("delivered")),
        ("cause", Value::Null),
    ] {
        assert_eq!(call[field], value, "{field}: {call:#}");
    }
    for field in ["words", "ended", "in_acquire_at"] {
        assert!(call[field].is_string(), "{field}: {call:#}");
    }
    for body in [json!({ "foo": "1" }), json!({ "state": 7 }), json!([])] {
        assert_eq!(
            bridge.posts("/api/calls/search", &body).status,
            400,
            "{body}"
        );
    }
}

#[test]
fn pages_have_each_call_once_while_calls_arrive_and_an_altered_cursor_is_refused() {
    let bridge = Bridge::start();
    for call in 1..=7 {
        bridge.twilio.ends(&sid(call), "completed");
        bridge.settles();
    }
    let (mut read, mut cursor) = bridge.listed("/api/calls?limit=3");
    for arriving in [8, 9] {
        bridge.twilio.ends(&sid(arriving), "completed");
        let next = cursor.expect("more");
        let (calls, further) = bridge.listed(&format!("/api/calls?limit=3&cursor={next}"));
        (read, cursor) = ([read, calls].concat(), further);
    }
    assert_eq!(read, (1..=7).rev().map(sid).collect::<Vec<_>>());
    assert_eq!(cursor, None);

    let (_, cursor) = bridge.listed("/api/calls?limit=3");
    let cursor = cursor.expect("more");
    let other_list = format!("/api/calls?state=delivered&cursor={cursor}");
    assert_eq!(bridge.admin("GET", &other_list, &[]).status, 400);
    for place in [0, 5, 20, 40] {
        let mut altered = cursor.clone().into_bytes();
        altered[place] = if altered[place] == b'1' { b'2' } else { b'1' };
        let altered = String::from_utf8(altered).expect("text");
        let answer = bridge.admin("GET", &format!("/api/calls?cursor={altered}"), &[]);
        assert_eq!(answer.status, 400, "{altered}");
    }
}

#[test]
fn the_page_links_to_older_and_newer_calls_and_removes_filters() {
    let bridge = Bridge::start();
    for call in 1..=60 {
        bridge.twilio.ends(&sid(call), "completed");
    }
    bridge.settles();
    let link = |page: &str, rel: &str| {
        let (before, _) = page.split_once(&format!(">{rel}<"))?;
        let (_, href) = before.rsplit_once("href=\"")?;
        let (href, _) = href.split_once('"')?;
        Some(href.replace("&#38;", "&").replace("&amp;", "&"))
    };
    let first = bridge.page("/calls?state=delivered");
    assert!(first.contains("50 of 60 calls"), "{first}");
    assert_eq!(link(&first, "Newer"), None);
    let second = bridge.page(&link(&first, "Older").expect("a link"));
    assert_eq!(second.matches("<th scope=\"row\">").count(), 10, "{second}");
    assert_eq!(link(&second, "Older"), None);
    let back = bridge.page(&link(&second, "Newer").expect("a link"));
    assert_eq!(back.matches("<th scope=\"row\">").count(), 50);
    let removed = first.contains("<a href=\"/calls\">remove");
    assert!(
        removed && first.contains("+12025550123 → +12025550199"),
        "{first}"
    );
    assert!(
        bridge
            .page("/calls?state=parked")
            .contains("No call matches.")
    );
}

#[test]
fn a_call_that_acquire_did_not_get_yet_is_found_after_ten_seconds_also_after_a_restart() {
    let mut bridge = Bridge::start();
    bridge.acquire_replies(twilio_acquire_bridge::debugging::fake_acquire::Reply::Status(401));
    bridge.twilio.ends(&sid(1), "completed");
    until("the breaker opens", || {
        bridge.metric("bridge_breaker_open{account=\"acme\"} ") == Some(1.0)
    });
    // Held: no worker claims it, so no settlement indexes it.
    let held = status_form(&sid(2), "completed").replace("12025550123", "14155550188");
    bridge.twilio.sends_form(STATUS, &held);
    until("the background task indexes it", || {
        bridge.clock.advance(Duration::from_secs(5));
        bridge.finds("+14155550188") == [sid(2)]
    });
    let held = bridge.listed("/api/calls?wait=acquire").0;
    assert!(held.contains(&sid(2)), "{held:?}");
    bridge.stops();
    bridge.starts();
    assert_eq!(bridge.finds("+14155550188"), [sid(2)]);
}

#[test]
fn list_finds_by_the_index_counts_and_says_how_many_are_shown() {
    let bridge = two_calls();
    let out = |arguments: &[&str]| {
        let run = bridge.runs(&[&["list"], arguments].concat());
        assert_eq!(run.code, Some(0), "{run:?}");
        (run.out, run.err)
    };
    let (text, _) = out(&["--number", "client:jane"]);
    assert!(text.contains(&sid(1)) && !text.contains(&sid(2)), "{text}");
    for part in [
        "+12025550123 -> ",
        ", ann@example.com",
        ", 10s",
        "\n    in Acquire since ",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(out(&["--limit", "1"]).1, "1 of 2 calls shown (--limit)\n");
    assert_eq!(out(&["--count"]).0, "2\n");
    assert_eq!(out(&["--count", "--number", "jane"]).0, "1\n");
    assert_eq!(
        out(&["--count", "--by", "state"]).0,
        "        2  delivered\n"
    );
    let json = out(&["--json", "--limit", "1"]).0;
    let row: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(row["callee"], "sip:1001@pbx.example.com:5060", "{row:#}");
    let run = bridge.runs(&["list", "--refused", "--state", "parked"]);
    assert_eq!(run.code, Some(2), "{run:?}");
}
