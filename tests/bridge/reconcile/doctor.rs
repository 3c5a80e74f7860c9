//! What `doctor` asks Twilio.

use super::*;

fn printed(world: &World) -> String {
    // Lines for readers are wrapped.
    world.bridge.runs(&["doctor", "--json"]).out
}

#[test]
fn doctor_lists_one_call_with_each_key_and_compares_the_clock_and_each_numbers_status_callback() {
    let world = World::with_a_reported_call();
    world.api.with(|records| {
        let entered = format!("{PUBLIC_URL}{STATUS}");
        for (number, url) in [
            (
                "+12025550199",
                format!("{entered}?email=desk%40example.com"),
            ),
            ("+12025550188", "https://old.example.com/status".to_owned()),
            ("+12025550177", String::new()),
        ] {
            records.numbers.push((number.to_owned(), url));
        }
        records.requests.clear();
    });
    let printed = printed(&world);
    assert!(
        printed.contains(&format!("the key of account {ACCOUNT} may list calls")),
        "{printed}"
    );
    // The clock of the fake Twilio stands at another time.
    assert!(
        printed.contains("s ahead of that of") || printed.contains("s behind that of"),
        "{printed}"
    );
    assert!(
        printed.contains("+12025550188 has the StatusCallback https://old.example.com/status"),
        "{printed}"
    );
    assert!(
        printed.contains("+12025550177 has no StatusCallback"),
        "{printed}"
    );
    assert!(!printed.contains("+12025550199"), "{printed}");
    let lists = world.api.with(|records| {
        let lists = records.requests.iter();
        let lists = lists.filter(|target| target.contains("/Calls.json"));
        lists.cloned().collect::<Vec<_>>()
    });
    assert_eq!(lists.len(), 1, "{lists:?}");
    assert!(
        lists[0].contains("PageSize=1&") || lists[0].ends_with("PageSize=1"),
        "{lists:?}"
    );
}

#[test]
fn doctor_names_the_permission_that_a_key_lacks() {
    let world = World::with_a_reported_call();
    world.api.with(|records| {
        // The first request asks for the time, without a key.
        records.faults.extend([ApiFault::PermissionMissing; 2]);
    });
    let printed = printed(&world);
    assert!(
        printed.contains("70051: Authorization Error: /twilio/voice/calls/list"),
        "{printed}"
    );
}

#[test]
fn check_warns_if_the_store_removes_calls_before_twilio_has_completed_them() {
    for (retention, warns) in [("4d", true), ("30d", false)] {
        let world = World::with(&[
            ("BRIDGE__RECONCILE__EVERY", "15m"),
            ("BRIDGE__STORE__RETENTION", retention),
        ]);
        let run = world.bridge.runs(&["check"]);
        let warning = "warning: reconcile compares only the calls of the last 2d";
        assert_eq!(run.err.contains(warning), warns, "{retention}: {}", run.err);
    }
}
