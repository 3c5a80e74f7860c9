//! What became of the calls: the report and the parked calls, as pages, API and commands.

use std::time::Duration;

use serde_json::{Value, json};
use twilio_acquire_bridge::clock::Millis;
use twilio_acquire_bridge::debugging::fake_acquire::Reply;

use crate::support::harness::Bridge;
use crate::support::twilio::sid;

fn get(bridge: &Bridge, target: &str) -> String {
    let answer = bridge.admin("GET", target, &[]);
    assert_eq!(answer.status, 200, "{target}: {}", answer.body);
    answer.body
}

fn api(bridge: &Bridge, target: &str) -> Value {
    serde_json::from_str(&get(bridge, target)).expect("JSON")
}

/// The month of now, as `YYYY-MM`.
fn month(bridge: &Bridge) -> String {
    bridge.clock.now().to_string()[..7].to_owned()
}

/// Two calls that Acquire accepts, one of them late, and one that it refuses.
fn with_three_calls() -> Bridge {
    let bridge = Bridge::start();
    bridge.twilio.ends(&sid(1), "completed");
    bridge.settles();
    bridge.acquire.answers(vec![Reply::Invalid]);
    bridge.twilio.ends(&sid(2), "completed");
    bridge.settles();
    bridge.twilio.ends(&sid(3), "ringing");
    bridge.settles();
    bridge
}

#[test]
fn the_report_is_the_same_in_the_page_the_api_and_the_command() {
    let bridge = with_three_calls();
    let month = month(&bridge);
    let report = api(&bridge, &format!("/api/report?month={month}"));
    assert_eq!(
        report["total"],
        json!({
            "received": 3, "in_time": 1, "late": 0, "waiting": 0, "skipped": {"not-ended": 1},
            "parked": 1, "dismissed": 0, "expired": 0, "erased": 0, "reconciled": 0
        })
    );
    assert_eq!(report["time_zone"], "UTC");
    let run = bridge.runs(&["report", "--month", &month, "--json"]);
    let printed: Value = serde_json::from_str(&run.out).expect("JSON");
    assert_eq!(printed, report);
    let csv = get(&bridge, &format!("/report/{month}?format=csv"));
    let run = bridge.runs(&["report", "--month", &month, "--csv"]);
    assert_eq!(run.out.trim_end(), csv.trim_end());
    assert!(csv.trim_end().ends_with(",3,1,0,0,1,1,0,0,0,0,0"), "{csv}");
    assert_eq!(report["slowest_day"], Value::Null);
    let identity = "3 received = 1 in time + 1 skipped + 1 parked";
    let page = get(&bridge, &format!("/report/{month}"));
    assert!(page.contains(identity), "{page}");
    let run = bridge.runs(&["report", "--month", &month]);
    assert!(run.out.contains(identity), "{}", run.out);
    for target in [
        "/report/2026-13",
        "/report/2026-11?format=pdf",
        "/api/report?month=november",
        "/api/report?since=2026-11-02&until=2026-11-01",
        "/api/report?since=2026-11-02",
    ] {
        let status = bridge.admin("GET", target, &[]).status;
        assert!([400, 404].contains(&status), "{target}: {status}");
    }
}

/// Sends a call in each hour of some days, and counts by itself what becomes of it.
#[test]
fn the_report_agrees_with_a_count_of_its_own_over_a_clock_change_and_a_restart() {
    let mut bridge = Bridge::with(&[
        ("BRIDGE__REPORT__TIME_ZONE", "Europe/Berlin"),
        ("BRIDGE__REPORT__LATE", "1s"),
    ]);
    let first: jiff::Timestamp = "2026-10-24T20:30:00Z".parse().expect("a time");
    let first = Millis(first.as_millisecond());
    bridge.clock.advance(first.since(bridge.clock.now()));
    // 25 hours of a Sunday, after two of its eve and before three of a Monday.
    let days = [("2026-10-24", 2), ("2026-10-25", 25), ("2026-10-26", 3)];
    let mut call = 0;
    let mut expected = Vec::new();
    for (day, hours) in days {
        let (mut in_time, mut late, mut parked) = (0, 0, 0);
        for _ in 0..hours {
            let (reply, count) = match call % 5 {
                3 => (Reply::Invalid, &mut parked),
                4 => (Reply::Status(503), &mut late),
                _ => (Reply::Saved, &mut in_time),
            };
            *count += 1;
            bridge.acquire.answers(vec![reply]);
            bridge.twilio.ends(&sid(call), "completed");
            bridge.settles();
            bridge.waits(Duration::from_secs(3_600));
            call += 1;
            if call == 15 {
                bridge.stops();
                bridge.starts();
            }
        }
        expected.push(json!({
            "day": day, "received": hours, "in_time": in_time, "late": late, "waiting": 0, "skipped": {},
            "parked": parked, "dismissed": 0, "expired": 0, "erased": 0, "reconciled": 0,
        }));
    }
    let slowest = json!({ "day": "2026-10-26", "late": 1, "in_acquire": 2 });
    let words = "slowest day 2026-10-26, with 1 late of 2 calls in Acquire";
    let report = api(&bridge, "/api/report?month=2026-10");
    assert_eq!(report["days"], json!(expected));
    assert_eq!(report["slowest_day"], slowest);
    let run = bridge.runs(&["report", "--month", "2026-10", "--json"]);
    let printed: Value = serde_json::from_str(&run.out).expect("JSON");
    assert_eq!(printed, report);
    let run = bridge.runs(&["report", "--month", "2026-10"]);
    assert!(run.out.contains(words), "{}", run.out);
    let page = get(&bridge, "/report/2026-10");
    let words = words.replace("day ", "day was ");
    assert!(page.contains(&words), "{page}");
    let csv = get(&bridge, "/report/2026-10?format=csv");
    let slowest: Vec<&str> = csv.lines().filter(|line| line.ends_with(",1")).collect();
    assert_eq!(slowest.len(), 1, "{csv}");
    assert!(slowest[0].starts_with("2026-10-26,3,1,1,"), "{csv}");
}

#[test]
fn a_parked_call_that_is_requeued_is_late_and_a_later_requeue_changes_nothing() {
    let bridge = with_three_calls();
    let target = format!("/api/report?month={}", month(&bridge));
    for (call, late, in_time) in [(2, 1, 1), (2, 1, 1), (1, 1, 1)] {
        bridge.runs(&["requeue", &sid(call)]);
        bridge.settles();
        let total = &api(&bridge, &target)["total"];
        assert_eq!(total["received"], 3);
        assert_eq!(
            (&total["late"], &total["parked"]),
            (&json!(late), &json!(0))
        );
        assert_eq!(total["in_time"], in_time);
    }
    let finished = |class: &str| {
        let line = format!("bridge_calls_finished_total{{account=\"acme\",class=\"{class}\"}}");
        bridge.metric(&line)
    };
    assert_eq!(finished("in_time"), Some(1.0));
    assert_eq!(finished("late"), Some(1.0));
    assert_eq!(finished("parked"), Some(1.0));
    assert_eq!(finished("skipped"), Some(1.0));
}

#[test]
fn parked_calls_are_shown_by_cause_with_what_to_do() {
    let bridge = Bridge::start();
    assert!(get(&bridge, "/parked").contains("Nothing needs a decision."));
    let expiry = "bridge_parked_next_expiry_timestamp_seconds";
    assert_eq!(bridge.metric(expiry), Some(0.0));
    bridge.acquire.answers(vec![Reply::Invalid; 2]);
    for call in 1..=2 {
        bridge.twilio.ends(&sid(call), "completed");
        bridge.settles();
        bridge.clock.advance(Duration::from_secs(60));
    }
    bridge.twilio.ends(&sid(3), "answered");
    bridge.settles();
    let causes = api(&bridge, "/api/parked");
    let causes = causes["causes"].as_array().expect("a list");
    let of = |place: usize| (&causes[place]["cause"], &causes[place]["calls"]);
    assert_eq!(of(0), (&json!("refused-400"), &json!(2)));
    assert_eq!(of(1), (&json!("unmappable-status"), &json!(1)));
    assert_eq!(causes.len(), 2);
    assert_eq!(causes[0]["example"], sid(2));
    let page = get(&bridge, "/parked");
    assert!(page.contains("2 calls: Acquire answered 400"), "{page}");
    assert!(page.contains(&format!("/calls/{}", sid(2))), "{page}");
    let first: jiff::Timestamp = causes[0]["first_removed"]
        .as_str()
        .and_then(|text| text.parse().ok())
        .expect("a time");
    let metric = bridge.metric(expiry).expect("a number");
    assert!(
        (metric - first.as_duration().as_secs_f64()).abs() < 1.0,
        "{metric}"
    );
}
