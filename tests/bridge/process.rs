//! The program itself: started, stopped, killed, started again.

use std::collections::BTreeSet;
use std::io::BufRead as _;
use std::time::Duration;

use twilio_acquire_bridge::debugging::fake_acquire::{Faults, Reply};

use crate::raw_servers::Held;
use crate::support::harness::until;
use crate::support::serve::{Serve, command_to_serve, reached, sink};
use crate::support::twilio::{sid, status_form};

#[test]
fn calls_that_were_pending_at_a_kill_all_arrive() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = folder.path().join("bridge.db");
    let acquire = sink(Faults {
        default_reply: Reply::Status(503),
        ..Faults::default()
    });
    let first = Serve::start(&database, &acquire);
    for call in 0..50 {
        first.accepts(call);
    }
    first.signal("-KILL");
    first.ends();

    acquire.behaves(Faults::default());
    let second = Serve::start(&database, &acquire);
    // What the first one sent in its last moment may still come in, and come twice.
    let saved: BTreeSet<String> = loop {
        let seen = acquire.count();
        let received = acquire.received();
        let taken = received
            .iter()
            .filter(|request| request.reply == Reply::Saved);
        let saved: BTreeSet<_> = taken
            .filter_map(|request| request.field("CallId"))
            .collect();
        if saved.len() >= 50 {
            break saved;
        }
        reached(&acquire, seen + 1);
    };
    assert_eq!(saved, (0..50).map(sid).collect());
    second.signal("-TERM");
    assert_eq!(second.ends().0, Some(0));
}

#[test]
fn a_stop_finishes_what_is_in_flight_and_exits_with_0() {
    for signal in ["-TERM", "-INT"] {
        let folder = tempfile::tempdir().expect("a folder");
        let database = folder.path().join("bridge.db");
        let acquire = sink(Faults {
            delay: Duration::from_millis(300),
            ..Faults::default()
        });
        let serve = Serve::start(&database, &acquire);
        serve.accepts(1);
        reached(&acquire, 1);
        serve.signal(signal);
        let (code, log) = serve.ends();
        assert_eq!(code, Some(0), "{log}");
        assert!(log.contains("no request was in flight"), "{log}");

        let next = Serve::start(&database, &acquire);
        next.accepts(2);
        reached(&acquire, 2);
        assert_eq!(
            acquire.call_ids(),
            [sid(1), sid(2)],
            "the first call is not sent again"
        );
    }
}

#[test]
fn a_stop_starts_no_new_request() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = folder.path().join("bridge.db");
    let acquire = Held::start();
    let mut command = command_to_serve(&database, &acquire.url());
    command.env("BRIDGE__DELIVERY__TIMEOUT", "50s");
    let mut serve = Serve::by(command);
    for call in 0..100 {
        serve.accepts(call);
    }
    // The default of delivery.concurrency, and none of those that wait.
    until("every place is taken", || acquire.taken().len() == 32);
    serve.signal("-TERM");
    serve.logs("stopping: ");
    acquire.answers(100);
    let (code, log) = serve.ends();
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(acquire.taken().len(), 32);
}

#[test]
fn a_second_signal_ends_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let acquire = sink(Faults {
        delay: Duration::from_secs(60),
        ..Faults::default()
    });
    let serve = Serve::start(&folder.path().join("bridge.db"), &acquire);
    serve.accepts(1);
    reached(&acquire, 1);
    serve.signal("-TERM");
    let mut serve = serve;
    let mut line = String::new();
    while !line.contains("stopping") {
        line.clear();
        assert!(
            serve.log.read_line(&mut line).expect("text") > 0,
            "it says that it is stopping"
        );
    }
    serve.signal("-TERM");
    let (code, log) = serve.ends();
    assert_eq!(code, Some(1));
    assert!(
        log.contains("exiting at once after a second signal"),
        "{log}"
    );
}

#[test]
fn a_second_bridge_on_the_same_file_exits_with_1() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = folder.path().join("bridge.db");
    let acquire = sink(Faults::default());
    let _first = Serve::start(&database, &acquire);
    let second = command_to_serve(&database, &acquire.base_url())
        .output()
        .expect("the program runs");
    assert_eq!(second.status.code(), Some(1));
    let printed = String::from_utf8_lossy(&second.stderr);
    assert!(printed.contains("is in use by another bridge"), "{printed}");
}

#[test]
fn the_first_call_from_a_sip_host_that_is_not_set_is_logged_with_what_to_set() {
    let folder = tempfile::tempdir().expect("a folder");
    let acquire = sink(Faults::default());
    let mut command = command_to_serve(&folder.path().join("bridge.db"), &acquire.base_url());
    command
        .env("BRIDGE__CALLS__REPORT", "call")
        .env("BRIDGE__CALLS__SETTLE", "0s");
    let serve = Serve::by(command);
    for call in [1, 3] {
        let over_sip = |form: String| {
            let form = form.replace("From=%2B12025550123", "From=sip%3Aanna%40sbc.example.net");
            serve.accepts_form(&form);
        };
        let agent = status_form(&sid(call + 1), "completed")
            .replace("To=%2B12025550199", "To=client%3Ajane")
            .replace("inbound", "outbound-dial");
        over_sip(format!("{agent}&ParentCallSid={}", sid(call)));
        over_sip(status_form(&sid(call), "completed"));
    }
    reached(&acquire, 2);
    serve.signal("-TERM");
    let (_, log) = serve.ends();
    let logged = log.matches("calls.sip_customers").count();
    assert_eq!(logged, 1, "{log}");
    assert!(log.contains("sbc.example.net"), "{log}");
    assert!(!log.contains("anna"), "{log}");
}
