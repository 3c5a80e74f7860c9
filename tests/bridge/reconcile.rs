//! The bridge compares Twilio's own records with its store, and imports missing ones.

mod awkward;
mod canary;
mod continuous;
mod doctor;
mod dropped;
mod killed;

use serde_json::{Value, json};
use twilio_acquire_bridge::debugging::fake_acquire::Reply;
use twilio_acquire_bridge::debugging::fake_twilio_api::{ApiFault, FakeAlert, FakeRecording};

use crate::support::http::exchange;
use crate::support::reconciled::{ACCOUNT, HOUR, MINUTE, START, World};
use crate::support::twilio::{PUBLIC_URL, STATUS, sid, signature, status_form};

#[test]
fn a_call_whose_callback_never_came_is_sent_as_if_it_had_come() {
    let world = World::with_a_reported_call();
    world.has_call(2, |_| {});
    world.waits(2 * HOUR);
    let report = world.reconciles(&json!({}));
    assert_eq!(
        (&report["never_came"], &report["agree"]),
        (&json!(1), &json!(1)),
        "{report:#}"
    );
    assert_eq!(report["imported"]["listed"], 1);
    let (mut reported, listed) = (world.sent(1), world.sent(2));
    reported[0]["CallId"] = json!(sid(2));
    assert_eq!(listed, reported);
    let shown = world.bridge.call(&sid(2));
    assert_eq!(shown["callbacks"][0]["evidence"], "listed", "{shown:#}");
    assert_eq!(
        world
            .bridge
            .metric("bridge_reconcile_taken_in_total{account=\"acme\",evidence=\"listed\"}"),
        Some(1.0)
    );
    assert_eq!(
        world
            .bridge
            .metric("bridge_reconcile_missing_total{account=\"acme\",cause=\"never-came\"}"),
        Some(1.0)
    );
}

#[test]
fn a_second_comparison_imports_nothing() {
    let world = World::with_a_reported_call();
    world.has_call(2, |_| {});
    world.waits(2 * HOUR);
    world.reconciles(&json!({}));
    let report = world.reconciles(&json!({}));
    assert_eq!(
        (&report["never_came"], &report["agree"]),
        (&json!(0), &json!(2)),
        "{report:#}"
    );
    assert_eq!(world.sent(2).len(), 1);
}

#[test]
fn a_dry_run_imports_nothing() {
    let world = World::with_a_reported_call();
    world.has_call(2, |_| {});
    world.waits(2 * HOUR);
    let report = world.reconciles(&json!({ "mode": "DryRun" }));
    assert_eq!(report["never_came"], 1, "{report:#}");
    assert!(world.sent(2).is_empty());
}

#[test]
fn a_callback_that_comes_after_the_imported_call_was_sent_is_a_repeat() {
    let world = World::with_a_reported_call();
    world.has_call(2, |_| {});
    world.waits(2 * HOUR);
    world.reconciles(&json!({}));
    world.waits(MINUTE);
    assert_eq!(world.bridge.twilio.ends(&sid(2), "completed").status, 204);
    world.bridge.settles();
    assert_eq!(world.sent(2).len(), 1);
    let shown = world.bridge.call(&sid(2));
    let verdict = shown["callbacks"][1]["verdict"]
        .as_str()
        .expect("a verdict");
    assert_eq!(
        verdict, "stored: the call-end had already been tried",
        "{shown:#}"
    );
    assert_eq!(
        (
            &shown["callbacks"][0]["notes"],
            &shown["callbacks"][1]["notes"]
        ),
        (
            &json!(["not in the list: SequenceNumber, SipResponseCode, cities and countries"]),
            &json!(["differs: completed after 10 s; imported: completed after 60 s"])
        ),
        "{shown:#}"
    );
}

#[test]
fn a_callback_that_comes_before_the_imported_call_was_sent_is_used_instead() {
    let world = World::with_a_reported_call();
    world.has_call(2, |_| {});
    world.waits(2 * HOUR);
    // The account is paused, so nothing is sent meanwhile.
    world.bridge.acquire.answers([Reply::Status(401)]);
    world.bridge.twilio.ends(&sid(9), "busy");
    world.bridge.settles();
    let answer = world.asks(&json!({}));
    assert_eq!(
        answer.1["accounts"][0]["imported"]["listed"], 1,
        "{:#}",
        answer.1
    );
    world.bridge.twilio.ends(&sid(2), "completed");
    world.waits(HOUR);
    world.waits(HOUR);
    let sent = world.sent(2);
    assert_eq!(
        sent.last().expect("a request")["Duration"],
        "10",
        "that of the callback: {sent:?}"
    );
    let shown = world.bridge.call(&sid(2));
    let verdict = &shown["callbacks"][0]["verdict"];
    assert_eq!(
        verdict, "imported: not used, the signed callback came",
        "{shown:#}"
    );
}

#[test]
fn a_call_that_no_callback_was_to_report_is_not_sent() {
    let world = World::with_a_reported_call();
    world.has_call(2, |call| {
        call.to = "+12025550177".to_owned();
    });
    world.has_call(3, |call| {
        call.direction = "trunking-originating";
    });
    world.waits(2 * HOUR);
    let report = world.reconciles(&json!({}));
    assert_eq!(report["never_told"]["+12025550177"], 1, "{report:#}");
    assert_eq!(report["never_came"], 0, "{report:#}");
    let asked_for = world.reconciles(&json!({ "calls": [sid(2)] }));
    assert_eq!(asked_for["imported"]["listed"], 1, "{asked_for:#}");
}

#[test]
fn a_call_in_progress_is_never_ended() {
    let world = World::with_a_reported_call();
    world.has_call(2, |call| {
        (call.status, call.ended, call.duration) = ("in-progress", None, None);
    });
    world.waits(20 * HOUR);
    let report = world.reconciles(&json!({ "calls": [sid(2)] }));
    assert_eq!(
        (&report["running"], &report["never_came"]),
        (&json!(1), &json!(0)),
        "{report:#}"
    );
}

#[test]
fn a_fresh_call_is_imported_once_two_comparisons_saw_the_same() {
    let world = World::with_a_reported_call();
    world.has_call(2, |_| {});
    world.waits(4 * MINUTE);
    assert_eq!(world.reconciles(&json!({}))["too_new"], 1);
    world.waits(6 * MINUTE);
    let report = world.reconciles(&json!({}));
    assert_eq!(report["imported"]["listed"], 1, "{report:#}");
}

#[test]
fn the_duration_of_a_completed_call_is_awaited() {
    let world = World::with_a_reported_call();
    world.has_call(2, |call| call.duration = None);
    world.has_call(3, |call| (call.status, call.duration) = ("no-answer", None));
    world.waits(2 * HOUR);
    let report = world.reconciles(&json!({}));
    assert_eq!(report["awaits_duration"], 1, "{report:#}");
    assert_eq!(world.sent(3)[0]["Duration"], "0");
    world
        .api
        .with(|records| records.calls[1].duration = Some(7));
    world.reconciles(&json!({}));
    assert_eq!(world.sent(2)[0]["Duration"], "7");
}

#[test]
fn a_refused_callback_is_named_with_its_reason() {
    let world = World::with_a_reported_call();
    world.has_call(2, |call| call.to = "+12025550177".to_owned());
    let form = status_form(&sid(2), "completed");
    // As Twilio signs it where the scheme in its console is wrong.
    let signature = signature(
        &format!("http://bridge.example.com{STATUS}"),
        form.as_bytes(),
    );
    let headers = [
        ("X-Twilio-Signature", signature.as_str()),
        ("Content-Type", "application/x-www-form-urlencoded"),
    ];
    let public = world.bridge.public();
    let answer = exchange(public, "POST", STATUS, &headers, form.as_bytes());
    assert_eq!(answer.status, 403);
    world.bridge.keeps("scheme");
    world.waits(2 * HOUR);
    let report = world.reconciles(&json!({}));
    assert_eq!(report["refused_here"]["scheme"], 1, "{report:#}");
    assert_eq!(
        world.sent(2).len(),
        1,
        "Twilio does report it to this bridge"
    );
}

#[test]
fn a_gap_in_which_a_bridge_answered_204_is_held_for_an_operator() {
    let world = World::with_a_reported_call();
    world.has_call(2, |call| {
        call.requests
            .push((format!("{PUBLIC_URL}{STATUS}"), "completed", 204));
    });
    world.has_call(3, |_| {});
    world.waits(2 * HOUR);
    let report = world.reconciles(&json!({}));
    assert_eq!(
        (&report["held"], &report["never_came"]),
        (&json!(2), &json!(0)),
        "{report:#}"
    );
    assert!(world.sent(2).is_empty() && world.sent(3).is_empty());
    let again = world.reconciles(&json!({}));
    assert_eq!(again["held"], 2, "it stays held: {again:#}");
    assert_eq!(
        world
            .bridge
            .metric("bridge_reconcile_held{account=\"acme\"}"),
        Some(2.0)
    );
    let released = world.reconciles(&json!({ "held": "TakeIn" }));
    assert_eq!(released["imported"]["listed"], 2, "{released:#}");
    assert_eq!((world.sent(2).len(), world.sent(3).len()), (1, 1));
}

#[test]
fn another_answer_than_204_holds_nothing() {
    let world = World::with_a_reported_call();
    world.has_call(2, |call| {
        call.requests
            .push((format!("{PUBLIC_URL}{STATUS}"), "completed", 200));
        call.requests.push((
            "https://elsewhere.example.com/status".to_owned(),
            "completed",
            204,
        ));
    });
    world.waits(2 * HOUR);
    let report = world.reconciles(&json!({}));
    assert_eq!(
        (&report["held"], &report["never_came"]),
        (&json!(0), &json!(1)),
        "{report:#}"
    );
}

#[test]
fn the_form_of_an_alert_is_imported_instead_of_the_row() {
    let world = World::with_a_reported_call();
    world.has_call(2, |_| {});
    let form = status_form(&sid(2), "completed").replace("CallDuration=10", "CallDuration=60");
    let alert = FakeAlert {
        sid: "NO00000000000000000000000000000001".to_owned(),
        account: ACCOUNT.to_owned(),
        call: sid(2),
        at: world.clock.now(),
        url: format!("{PUBLIC_URL}{STATUS}?email=jane%40example.com"),
        form,
    };
    world.api.with(|records| records.alerts.push(alert));
    world.waits(2 * HOUR);
    let report = world.reconciles(&json!({}));
    assert_eq!(report["imported"]["alerted"], 1, "{report:#}");
    assert_eq!(world.sent(2)[0]["email"], "jane@example.com");
    let shown = world.bridge.call(&sid(2));
    assert_eq!(shown["callbacks"][0]["evidence"], "alerted", "{shown:#}");
}

#[test]
fn the_email_of_a_listed_call_is_that_of_the_numbers_status_callback() {
    let world = World::with_a_reported_call();
    world.has_call(2, |_| {});
    let url = format!("{PUBLIC_URL}{STATUS}?email=desk%40example.com");
    world
        .api
        .with(|records| records.numbers.push(("+12025550199".to_owned(), url)));
    world.waits(2 * HOUR);
    world.reconciles(&json!({}));
    assert_eq!(world.sent(2)[0]["email"], "desk@example.com");
}

#[test]
fn a_recording_is_imported_with_its_call_and_sent_with_it() {
    let world = World::with_a_reported_call();
    world.has_call(2, |_| {});
    let recording = FakeRecording {
        sid: "RE00000000000000000000000000000002".to_owned(),
        account: ACCOUNT.to_owned(),
        call: sid(2),
        created: world.clock.now(),
        duration: 4,
        status: "completed",
    };
    world.api.with(|records| records.recordings.push(recording));
    world.waits(2 * HOUR);
    let report = world.reconciles(&json!({}));
    assert_eq!(report["recording_missing"], 1, "{report:#}");
    let sent = world.sent(2);
    let url = sent[0]["RecordingUrl"].as_str().expect("a link");
    assert!(
        url.ends_with("/Recordings/RE00000000000000000000000000000002"),
        "{sent:?}"
    );
    assert_eq!(sent.len(), 1, "{sent:?}");
}

#[test]
fn an_imported_recording_is_no_reason_to_expect_recording_callbacks() {
    let world = World::with_a_reported_call();
    world.has_call(2, |_| {});
    for number in [1, 2] {
        let recording = FakeRecording {
            sid: format!("RE{number:032x}"),
            account: ACCOUNT.to_owned(),
            call: sid(number),
            created: world.clock.now(),
            duration: 4,
            status: "completed",
        };
        world.api.with(|records| records.recordings.push(recording));
    }
    world.waits(2 * HOUR);
    // Only that of the imported call.
    assert_eq!(world.reconciles(&json!({}))["recording_missing"], 1);
    assert_eq!(world.reconciles(&json!({}))["recording_missing"], 0);
}

#[test]
fn a_call_that_differs_is_reported_and_stays() {
    let world = World::with_a_reported_call();
    world
        .api
        .with(|records| records.calls[0].duration = Some(61));
    world.waits(2 * HOUR);
    let report = world.reconciles(&json!({}));
    assert_eq!(report["differs"], 1, "{report:#}");
    assert_eq!(
        report["records"][0]["detail"],
        "duration 60 here, 61 listed"
    );
    assert_eq!(world.sent(1).len(), 1);
}

#[test]
fn a_call_before_the_first_day_of_the_store_is_not_imported() {
    let world = World::with_a_reported_call();
    world.has_call(2, |call| call.ended = Some(START.minus(24 * HOUR)));
    world.waits(2 * HOUR);
    let from = START.minus(48 * HOUR).to_string();
    let report = world.reconciles(&json!({ "from": from }));
    assert_eq!(report["never_came"], 0, "{report:#}");
    let note = report["notes"][0].as_str().expect("a sentence");
    assert!(note.contains("the store's first day"), "{report:#}");
}

#[test]
fn a_call_that_the_store_may_have_removed_is_not_imported() {
    let world = World::with(&[("BRIDGE__STORE__RETENTION", "4d")]);
    world.reports(1);
    world.has_call(2, |_| {});
    world.waits(49 * HOUR);
    let report = world.reconciles(&json!({}));
    assert_eq!(report["never_came"], 0, "{report:#}");
    let note = report["notes"][0].as_str().expect("a sentence");
    assert!(note.contains("store.retention"), "{report:#}");
}

#[test]
fn a_missing_permission_ends_the_comparison_with_twilios_own_text() {
    let world = World::with_a_reported_call();
    world
        .api
        .with(|records| records.faults.push_back(ApiFault::PermissionMissing));
    let (status, answer) = world.asks(&json!({}));
    let detail = answer["detail"].as_str().expect("a reason");
    assert_eq!(status, 409, "{detail}");
    assert!(
        detail.contains("70051") && detail.contains("/twilio/voice/calls/list"),
        "{detail}"
    );
    assert!(detail.contains("twilio.api_key_sid"), "{detail}");
}

#[test]
fn the_command_prints_a_summary_and_exits_with_3_if_a_record_is_missing() {
    let world = World::with(&[
        ("BRIDGE__STORE__RETENTION", "3650d"),
        ("BRIDGE__STORE__PARKED_RETENTION", "3650d"),
    ]);
    world.reports(1);
    world.has_call(2, |_| {});
    world.waits(2 * HOUR);
    let since = START.minus(HOUR).to_string();
    let run = world
        .bridge
        .runs(&["reconcile", "--dry-run", "--call", &sid(2)]);
    assert_eq!(run.code, Some(3), "{}{}", run.out, run.err);
    assert!(
        run.out.contains(&format!(
            "{}  2026-09-21T14:13:20.000Z  completed  never-came",
            sid(2)
        )),
        "{}",
        run.out
    );
    assert!(
        run.out
            .contains("never came 1 · refused here 0 · end missing 0"),
        "{}",
        run.out
    );
    // The running bridge owns the file, and imports. It has the secrets, so that the command needs none.
    let arguments = ["reconcile", "--since", &since, "--json"];
    let mut command = world.bridge.command(&arguments);
    for secret in ["TWILIO_AUTH_TOKEN", "BRIDGE__TWILIO__API_KEY_SECRET"] {
        command.env_remove(secret);
    }
    let output = command.output().expect("the program runs");
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{err}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["accounts"][0]["imported"]["listed"], 1, "{report:#}");
    world.bridge.settles();
    assert_eq!(world.sent(2).len(), 1);
}

#[test]
fn an_imported_call_is_exported_redacted_and_planned_again_as_it_was_sent() {
    let world = World::with_a_reported_call();
    world.has_call(2, |_| {});
    world.waits(2 * HOUR);
    world.reconciles(&json!({}));
    let folder = world.bridge.folder.path().join("incident");
    let folder = folder.to_str().expect("text");
    for redact in [&["--redact"][..], &[]] {
        let call = sid(2);
        let arguments = [&["export", &call, "--out", folder], redact].concat();
        let run = world.bridge.runs(&arguments);
        assert_eq!(run.code, Some(0), "{}{}", run.out, run.err);
        let mut files = String::new();
        let mut folders = vec![std::path::PathBuf::from(folder)];
        while let Some(path) = folders.pop() {
            for entry in std::fs::read_dir(path).expect("a folder").flatten() {
                if entry.path().is_dir() {
                    folders.push(entry.path());
                } else {
                    files += &std::fs::read_to_string(entry.path()).expect("a file");
                }
            }
        }
        let has_number = files.contains("+12025550123");
        assert_eq!(has_number, redact.is_empty(), "{files}");
        assert!(files.contains("x-bridge-evidence: listed"), "{files}");
        for how in ["--dry-run", "--offline"] {
            let run = world.bridge.runs(&["replay", how, folder]);
            assert_eq!(run.code, Some(0), "{how}: {}{}", run.out, run.err);
        }
        std::fs::remove_dir_all(folder).expect("a folder");
    }
}

#[test]
fn a_call_that_was_cancelled_before_it_was_dialled_has_no_end_and_is_found() {
    let world = World::with_a_reported_call();
    world.has_call(2, |call| {
        (call.status, call.duration) = ("canceled", None);
        call.created = world.clock.now();
        call.ended = None;
    });
    world.waits(72 * HOUR);
    let report = world.reconciles(&json!({ "from": START.minus(HOUR).to_string() }));
    assert_eq!(report["imported"]["listed"], 1, "{report:#}");
    assert_eq!(world.sent(2)[0]["CallStatus"], "canceled");
}
