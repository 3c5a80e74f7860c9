//! Twilio's list in its awkward forms, and its faults.

use super::*;
use twilio_acquire_bridge::clock::Millis;
use twilio_acquire_bridge::debugging::fake_twilio_api::{Deviation, FakeCall};

use crate::support::twilio::TOKEN;

/// A bridge to which call 1 was reported, and which has missed some: 2 to `last`.
fn with_missed(last: usize) -> World {
    let world = World::with_a_reported_call();
    for number in 2..=last {
        world.has_call(number, |_| {});
    }
    world.waits(2 * HOUR);
    world
}

#[test]
fn a_list_of_a_thousand_rows_has_one_page_and_one_row_more_has_two() {
    for (last, pages) in [(1_000, 1), (1_001, 2)] {
        let world = with_missed(last);
        let report = world.reconciles(&json!({ "mode": "DryRun" }));
        assert_eq!(report["never_came"], last - 1, "{report:#}");
        let lists = world.api.with(|records| {
            let lists = records.requests.iter();
            lists
                .filter(|target| target.contains("/Calls.json"))
                .count()
        });
        assert_eq!(lists, pages, "{last} rows");
    }
}

#[test]
fn neither_order_nor_null_fields_nor_filters_by_time_change_the_result() {
    for deviations in [
        vec![Deviation::OldestFirst],
        vec![Deviation::Shuffled],
        vec![Deviation::AbsentFields],
        vec![Deviation::EmptySids, Deviation::NumericDuration],
        vec![Deviation::FilterByTime],
    ] {
        let world = with_missed(60);
        world
            .api
            .with(|records| records.deviations.clone_from(&deviations));
        let report = world.reconciles(&json!({}));
        assert_eq!(
            report["imported"]["listed"], 59,
            "{deviations:?}: {report:#}"
        );
        assert_eq!(world.bridge.sent().len(), 60, "{deviations:?}");
    }
}

#[test]
fn a_filter_that_twilio_ignores_ends_the_comparison() {
    let world = with_missed(2);
    world.has_call(3, |call| call.ended = Some(START.minus(48 * HOUR)));
    world
        .api
        .with(|records| records.deviations.push(Deviation::IgnoredFilter));
    let (status, answer) = world.asks(&json!({}));
    let detail = answer["detail"].as_str().expect("a reason");
    assert!(
        status == 409 && detail.contains("ignored the filter"),
        "{detail}"
    );
}

#[test]
fn a_next_page_on_another_host_and_a_repeated_one_are_not_followed() {
    for (deviation, why) in [
        (Deviation::ForeignNextPage, "another host"),
        (Deviation::RepeatingNextPage, "the same next page twice"),
    ] {
        let world = with_missed(3);
        world.api.with(|records| records.deviations.push(deviation));
        let (status, answer) = world.asks(&json!({}));
        let detail = answer["detail"].as_str().expect("a reason");
        assert!(status == 409 && detail.contains(why), "{detail}");
    }
}

#[test]
fn a_429_a_page_that_fails_and_a_body_that_is_cut_are_repeated() {
    for fault in [
        ApiFault::TooMany,
        ApiFault::FailsAbove(250),
        ApiFault::CutBody,
    ] {
        let world = with_missed(400);
        world.api.with(|records| records.faults.push_back(fault));
        let report = world.reconciles(&json!({ "mode": "DryRun" }));
        assert_eq!(report["never_came"], 399, "{fault:?}: {report:#}");
    }
}

#[test]
fn a_list_of_alerts_that_twilio_refuses_costs_only_their_forms() {
    let world = with_missed(2);
    world
        .api
        .with(|records| records.deviations.push(Deviation::TooManyAlerts));
    let report = world.reconciles(&json!({}));
    assert_eq!(report["imported"]["listed"], 1, "{report:#}");
    let note = report["notes"][0].as_str().expect("a sentence");
    assert!(
        note.starts_with("Without the forms in Twilio's alerts"),
        "{note}"
    );
}

#[test]
fn the_events_of_at_most_22_calls_of_a_gap_are_asked_for() {
    for last in [23, 42, 300] {
        let world = with_missed(last);
        world.reconciles(&json!({ "mode": "DryRun" }));
        let asked = world.api.with(|records| {
            let events = records.requests.iter();
            events
                .filter(|target| target.contains("/Events.json"))
                .count()
        });
        assert!((11..=22).contains(&asked), "{last} calls: {asked}");
    }
}

#[test]
fn one_401_ends_a_comparison_by_order() {
    let world = with_missed(2);
    world
        .api
        .with(|records| records.faults.push_back(ApiFault::Unauthorized));
    let (status, answer) = world.asks(&json!({}));
    assert_eq!(status, 409, "{answer:#}");
    assert_eq!(world.reconciles(&json!({}))["imported"]["listed"], 1);
}

#[test]
fn the_key_of_each_account_reads_its_own_calls() {
    let world = with_missed(2);
    world.api.with(|records| {
        let key = "SK00000000000000000000000000000001".to_owned();
        records.keys.insert(key, vec![ACCOUNT.to_owned()]);
    });
    assert_eq!(world.reconciles(&json!({}))["imported"]["listed"], 1);
    let (status, answer) = world.asks(&json!({ "account": "AC00000000000000000000000000000002" }));
    assert_eq!(status, 409, "{answer:#}");
}

#[test]
fn a_call_that_ends_or_is_listed_between_two_pages_is_found_once() {
    let world = with_missed(60);
    let now = world.clock.now();
    world.has_call(2_000, |call| {
        (call.status, call.ended, call.duration) = ("in-progress", None, None);
    });
    world.api.with(|records| {
        // Pages of 31 rows.
        records.faults.push_back(ApiFault::FailsAbove(40));
        // One ends, and one is listed late, after the first page.
        for (number, ended) in [(2_000, now.minus(2 * HOUR)), (2_001, now.minus(3 * MINUTE))] {
            let call = FakeCall::completed(&sid(number), ACCOUNT, ended);
            records.arriving.push_back(call);
        }
    });
    let report = world.reconciles(&json!({ "mode": "DryRun" }));
    let found = report["never_came"].as_u64().expect("a count");
    assert!((59..=60).contains(&found), "{report:#}");
    world.waits(HOUR);
    world.reconciles(&json!({}));
    for number in [2, 60, 2_000, 2_001] {
        assert_eq!(world.sent(number).len(), 1, "call {number}");
    }
}

#[test]
fn a_clock_that_is_five_minutes_off_loses_and_repeats_nothing() {
    for is_ahead in [true, false] {
        let world = with_missed(3);
        if is_ahead {
            world.bridge.waits(5 * MINUTE);
        } else {
            world.clock.advance(5 * MINUTE);
        }
        world.has_call(4, |_| {});
        for _ in 0..4 {
            world.reconciles(&json!({}));
            world.waits(30 * MINUTE);
        }
        for number in 1..=4 {
            assert_eq!(world.sent(number).len(), 1, "call {number}, {is_ahead}");
        }
    }
}

#[test]
fn neither_the_zone_of_the_machine_nor_a_day_of_25_hours_changes_what_is_asked() {
    let world = World::with(&[
        ("BRIDGE__STORE__RETENTION", "3650d"),
        ("BRIDGE__STORE__PARKED_RETENTION", "3650d"),
        ("BRIDGE__RECONCILE__CALLS", "all"),
    ]);
    world.reports(1);
    // Days on which clocks are turned in New York and in Berlin, up to the last moment of a UTC day.
    let days = [
        "2026-10-25T23:59:59Z",
        "2026-11-01T00:00:00Z",
        "2026-11-01T05:30:00Z",
    ];
    for (number, ended) in (2..).zip(days) {
        let ended: jiff::Timestamp = ended.parse().expect("a time");
        world.has_call(number, |call| {
            call.ended = Some(Millis(ended.as_millisecond()));
            call.listed = START;
        });
    }
    let mut first = None;
    for zone in [
        "UTC",
        "America/New_York",
        "Europe/Berlin",
        "Asia/Kolkata",
        "Pacific/Kiritimati",
    ] {
        let asked = world
            .api
            .with(|records| std::mem::take(&mut records.requests).len());
        let mut command = world.bridge.command(&[
            "reconcile",
            "--dry-run",
            "--json",
            "--since",
            "2026-10-25T23:00:00Z",
            "--until",
            "2026-11-01T05:00:00Z",
        ]);
        let output = command.env("TZ", zone).output().expect("the program runs");
        let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(
            report["accounts"][0]["never_came"], 2,
            "{zone}, {asked}: {report:#}"
        );
        let asked = world
            .api
            .with(|records| std::mem::take(&mut records.requests));
        assert_eq!(*first.get_or_insert_with(|| asked.clone()), asked, "{zone}");
    }
}

#[test]
fn where_twilio_observes_the_time_of_day_a_pass_reads_only_the_calls_of_its_window() {
    let world = with_missed(60);
    world
        .api
        .with(|records| records.deviations.push(Deviation::FilterByTime));
    let from = world.clock.now().minus(HOUR).to_string();
    let report = world.reconciles(&json!({ "from": from }));
    assert_eq!(report["compared"], 0, "{report:#}");
}

#[test]
fn a_204_for_an_earlier_callback_of_a_call_holds_nothing() {
    let world = World::with_a_reported_call();
    world.has_call(2, |call| {
        call.requests
            .push((format!("{PUBLIC_URL}{STATUS}"), "ringing", 204));
    });
    assert_eq!(world.bridge.twilio.ends(&sid(2), "ringing").status, 204);
    world.waits(2 * HOUR);
    let report = world.reconciles(&json!({}));
    assert_eq!(
        (&report["held"], &report["end_missing"]),
        (&json!(0), &json!(1)),
        "{report:#}"
    );
    assert_eq!(world.sent(2)[0]["Duration"], "60");
}

#[test]
fn a_known_call_without_an_end_is_asked_for_where_the_list_has_no_end_of_it() {
    let world = World::with_a_reported_call();
    assert_eq!(world.bridge.twilio.ends(&sid(2), "ringing").status, 204);
    world.bridge.settles();
    world.has_call(2, |call| {
        (call.status, call.ended, call.duration) = ("busy", None, None);
    });
    world.waits(30 * HOUR);
    let report = world.reconciles(&json!({}));
    assert_eq!(report["end_missing"], 1, "{report:#}");
    assert_eq!(world.sent(2)[0]["CallStatus"], "busy");
}

#[test]
fn subaccounts_are_compared_each_with_its_own_key() {
    let mut world = World::with(&[("TWILIO_ACCOUNT_SID", "")]);
    let account = |number: usize| {
        format!(
            "[[accounts]]\ntwilio_account_sid = \"AC{number:032}\"\n\
             twilio_auth_tokens = [\"{TOKEN}\"]\nacquire_account_id = \"account-{number}\"\n\
             twilio_api_key_sid = \"SK{number:032}\"\ntwilio_api_key_secret = \"made-up-secret\"\n"
        )
    };
    let file = world.bridge.folder.path().join("accounts.toml");
    std::fs::write(&file, account(1) + &account(2)).expect("a file");
    world.bridge.restarts_with_file(&file);
    world.api.with(|records| {
        for number in [1, 2] {
            let only = vec![format!("AC{number:032}")];
            records.keys.insert(format!("SK{number:032}"), only);
        }
    });
    for number in [1, 2] {
        let account = format!("AC{number:032}");
        let form = status_form(&sid(number), "completed").replace(ACCOUNT, &account);
        assert_eq!(world.bridge.twilio.sends_form(STATUS, &form).status, 204);
        world.has_call(10 + number, |call| call.account = account);
    }
    world.waits(2 * HOUR);
    let (status, answer) = world.asks(&json!({}));
    assert_eq!(status, 200, "{answer:#}");
    world.bridge.settles();
    for number in [1, 2] {
        assert_eq!(
            answer["accounts"][number - 1]["imported"]["listed"],
            1,
            "{answer:#}"
        );
        assert_eq!(world.sent(10 + number).len(), 1);
    }
    // One key is refused: the other account is compared all the same, and the refusal is named.
    world
        .api
        .with(|records| records.keys.remove(&format!("SK{:032}", 1)));
    let (status, answer) = world.asks(&json!({}));
    assert_eq!(status, 200, "{answer:#}");
    assert_eq!(answer["accounts"][0]["account_sid"], format!("AC{:032}", 2));
    let failed = answer["failed"].as_str().expect("a reason");
    assert!(failed.contains(&format!("SK{:032}", 1)), "{failed}");
}

#[test]
fn the_calls_that_a_restored_copy_of_the_store_lacks_are_held_with_their_recordings() {
    let mut world = World::with_a_reported_call();
    let database = world.bridge.folder.path().join("bridge.db");
    let copy = world.bridge.folder.path().join("copy.db");
    world.bridge.stops();
    std::fs::copy(&database, &copy).expect("a copy");
    world.bridge.starts();
    for number in 2..=4 {
        world.reports(number);
    }
    world.api.with(|records| {
        for call in &mut records.calls[1..] {
            call.requests
                .push((format!("{PUBLIC_URL}{STATUS}"), "completed", 204));
        }
        let recording = |number: usize| FakeRecording {
            sid: format!("RE{number:032x}"),
            account: ACCOUNT.to_owned(),
            call: sid(number),
            created: START,
            duration: 4,
            status: "completed",
        };
        records.recordings.push(recording(2));
    });
    world.bridge.stops();
    std::fs::copy(&copy, &database).expect("a copy");
    for log in ["bridge.db-wal", "bridge.db-shm"] {
        let _ = std::fs::remove_file(world.bridge.folder.path().join(log));
    }
    world.bridge.starts();
    world.waits(2 * HOUR);
    let report = world.reconciles(&json!({}));
    assert_eq!(
        (&report["held"], &report["never_came"]),
        (&json!(3), &json!(0)),
        "{report:#}"
    );
    for number in 1..=4 {
        assert_eq!(
            world.sent(number).len(),
            1,
            "call {number} was sent once, before"
        );
    }
    let released = world.reconciles(&json!({ "held": "TakeIn" }));
    assert_eq!(
        released["imported"]["listed"], 4,
        "with the recording: {released:#}"
    );
}

#[test]
fn a_recording_whose_callback_a_bridge_answered_204_is_held() {
    const RECORDING: &str = "/twilio/voice/recording";
    let world = World::with_a_reported_call();
    world.reports(2);
    let form = format!(
        "AccountSid={ACCOUNT}&CallSid={}&RecordingSid=RE{:032x}&RecordingStatus=completed\
         &RecordingDuration=4&RecordingUrl=https%3A%2F%2Fapi.twilio.com%2Fx",
        sid(1),
        1
    );
    let answer = world.bridge.twilio.sends_form(RECORDING, &form);
    assert_eq!(answer.status, 204, "{}", answer.body);
    world.api.with(|records| {
        records.recordings.push(FakeRecording {
            sid: format!("RE{:032x}", 2),
            account: ACCOUNT.to_owned(),
            call: sid(2),
            created: START,
            duration: 4,
            status: "completed",
        });
        let url = format!("{PUBLIC_URL}{RECORDING}");
        records.calls[1].requests.push((url, "completed", 204));
    });
    world.waits(2 * HOUR);
    let report = world.reconciles(&json!({}));
    assert_eq!(
        (&report["held"], &report["recording_missing"]),
        (&json!(1), &json!(0)),
        "{report:#}"
    );
}
