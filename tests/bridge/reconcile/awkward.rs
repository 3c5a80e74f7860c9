//! Twilio's list in its awkward forms, and its faults.

use super::*;
use twilio_acquire_bridge::debugging::fake_twilio_api::Deviation;

/// A bridge that was told of call 1 and has missed some: 2 to `last`.
fn with_missed(last: usize) -> World {
    let world = World::told();
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
