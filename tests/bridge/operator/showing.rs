//! The timeline of a call by `show`.

use super::*;

#[test]
fn one_screen_shows_a_call_from_its_legs_to_the_source_of_each_field() {
    let folder = Path::new("fixtures/scenarios/transfer");
    let mut bridge = Bridge::start();
    bridge.restarts_with_file(&folder.join("bridge.toml"));
    bridge.plays(folder);
    let caller = "CA0000000000000000000000000000501f";
    let by_leg = bridge.runs(&["show", "CA00000000000000000000000000005021"]);
    let run = bridge.runs(&["show", caller]);
    assert_eq!((run.code, &run.out), (Some(0), &by_leg.out));
    fits(&run.out);
    let (before, after) = run.out.split_once(", 200 in ").expect("an attempt");
    let (_, after) = after.split_once(" ms").expect("its time");
    insta::assert_snapshot!(format!("{before}, 200 in 9 ms{after}"), @r#"
    CA0000000000000000000000000000501f  delivered
    account AC00000000000000000000000000000001, last change 2026-09-21T15:13:23.000Z
    state   in Acquire since 2026-09-21T15:13:23.000Z, after 59 min
    next    nothing: Acquire accepted all requests; a later callback may add one

    legs
      A  CA0000000000000000000000000000501f
         +12025550123 -> +14045550199
      B  CA00000000000000000000000000005020, dialled by A
         +12025550123 -> client:jane
      C  CA00000000000000000000000000005021, dialled by A
         +12025550123 -> client:bob

    callbacks from Twilio
      2026-09-21T14:13:21.000Z  B  #0 completed, ends the leg
      2026-09-21T14:13:22.000Z  C  #0 completed, ends the leg
      2026-09-21T14:13:23.000Z  A  #0 completed, ends the leg

    attempts at Acquire
      2026-09-21T15:13:23.000Z  A  call-end accepted, 200 in 9 ms
         answer {"data":{"success":true,"message":"Successfully saved"}}

    what is sent and why
      call-end of leg A: Acquire accepted it at 2026-09-21T15:13:23.000Z
        From          +12025550123      From of leg A
        To            +14045550199      To of leg A
        CallId        CA0000000000000000000000000000501f
                      CallSid of leg A
        email         jane@example.com  e-mail of the agent who answered leg B
        CallStatus    completed         CallStatus of leg A
        Duration      158               CallDuration of leg A
        Direction     incoming          incoming: called from a phone number
        RecordingUrl  left out          no callback names a recording
      nothing: leg B has no call-end of its own: leg A is the call (calls.report =
        "call")
      nothing: leg C has no call-end of its own: leg A is the call (calls.report =
        "call")
    "#);
}

#[test]
fn a_missed_calls_status_is_shown_as_that_of_the_leg_it_is_from() {
    let folder = Path::new("fixtures/scenarios/inbound-missed");
    let mut bridge = Bridge::start();
    bridge.restarts_with_file(&folder.join("bridge.toml"));
    bridge.plays(folder);
    let run = bridge.runs(&["show", "CA00000000000000000000000000005007"]);
    let (_, after) = run.out.split_once("CallStatus    no-answer").expect("it");
    let from = after.trim_start();
    assert!(from.starts_with("status of leg C, the last"), "{}", run.out);
}

#[test]
fn a_missing_callback_is_shown_in_its_place() {
    let bridge = Bridge::start();
    for (status, number) in [("initiated", 0), ("in-progress", 2), ("completed", 3)] {
        let form = status_form(&sid(1), status);
        let form = form.replace("SequenceNumber=0", &format!("SequenceNumber={number}"));
        assert_eq!(
            bridge
                .twilio
                .sends_form(crate::support::twilio::STATUS, &form)
                .status,
            204
        );
    }
    bridge.settles();
    let run = bridge.runs(&["show", &sid(1)]);
    let lines: Vec<&str> = run.out.lines().collect();
    let at = |text: &str| {
        lines
            .iter()
            .position(|line| line.contains(text))
            .expect(text)
    };
    assert!(
        at("#0 initiated, before the end") < at("#1 did not arrive"),
        "{}",
        run.out
    );
    assert_eq!(
        at("#1 did not arrive") + 1,
        at("#2 in-progress, before the end"),
        "{}",
        run.out
    );
    assert!(
        run.out.contains("#3 completed, ends the leg"),
        "{}",
        run.out
    );
    let timeline: Value =
        serde_json::from_str(&bridge.runs(&["show", "--json", &sid(1)]).out).expect("JSON");
    assert_eq!(timeline["legs"][0]["missing"], serde_json::json!([1]));
    assert_eq!(
        timeline["planned"][0]["fields"][0]["from"],
        format!("From of leg {}", sid(1))
    );
}

#[test]
fn the_next_step_is_printed_as_a_sentence_while_a_bridge_runs() {
    let bridge = Bridge::start();
    bridge
        .acquire
        .behaves(twilio_acquire_bridge::debugging::fake_acquire::Faults {
            default_reply: twilio_acquire_bridge::debugging::fake_acquire::Reply::Status(401),
            ..Default::default()
        });
    assert_eq!(bridge.twilio.ends(&sid(1), "completed").status, 204);
    until("the breaker opens", || {
        bridge.metric("bridge_breaker_open{account=\"acme\"} ") == Some(1.0)
    });
    // The breaker opens before its attempt is settled.
    bridge.settles();
    let next = bridge.call(&sid(1))["next"].clone();
    assert_eq!(
        next,
        "deliveries to account acme are paused, next probe in 1s; check acquire.api_key"
    );
    let run = bridge.runs(&["show", &sid(1)]);
    fits(&run.out);
    let next_step = "next    deliveries to account acme are paused";
    assert!(
        run.out.contains(next_step) && run.out.contains("acquire.api_key"),
        "{}",
        run.out
    );
    let mut without_secrets = bridge.command(&["show", &sid(1)]);
    without_secrets.env_remove("TWILIO_AUTH_TOKEN");
    let output = without_secrets.output().expect("the program runs");
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(out.contains(next_step), "{out}");
}
