//! Each fault has a name of its own: in the metrics, in `show` and in the log of a bridge that meets each.

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::Duration;

use twilio_acquire_bridge::debugging::fake_acquire::{Faults, Reply};

use crate::raw_servers::{floods, read_head, serves, silent, untrusted};
use crate::support::harness::{Bridge, until};
use crate::support::http::ask_admin;
use crate::support::port::Port;
use crate::support::serve::{Serve, command_to_serve, sink};
use crate::support::twilio::sid;

const UNMAPPABLE: &str = "bridge_delivery_attempts_total{account=\"acme\",outcome=\"unmappable\"}";

/// Where a call is sent, and the reports of its fault.
struct Case {
    base_url: String,
    settings: Vec<(&'static str, String)>,
    /// In `bridge_delivery_attempts_total`.
    outcome: &'static str,
    /// In `show`.
    shown: &'static str,
    /// In the log.
    logged: &'static str,
}

impl Case {
    fn new(base_url: String, outcome: &'static str, shown: &'static str) -> Self {
        Self {
            base_url,
            settings: Vec::new(),
            outcome,
            shown,
            logged: "",
        }
    }
}

#[test]
fn each_fault_has_its_own_name_in_metrics_show_and_log() {
    let answering = |otherwise| {
        sink(Faults {
            default_reply: otherwise,
            ..Faults::default()
        })
    };
    let busy = answering(Reply::Status(503));
    let forbidden = answering(Reply::Status(403));
    let refuses = answering(Reply::Invalid);
    let denies = answering(Reply::SuccessFalse);
    let html = answering(Reply::Html);
    let resets = answering(Reply::Reset);
    let well = answering(Reply::Saved);
    let (silent, _listens) = silent();
    let closed = Port::reserve();
    let gone = closed.address;
    let through = |addr: SocketAddr| vec![("BRIDGE__ACQUIRE__PROXY", format!("http://{addr}"))];
    let locked = serves(|mut stream| {
        read_head(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n");
    });

    let cases = [
        // No name server is asked for a name that cannot be one.
        Case::new(
            format!("http://{}.example", "x".repeat(64)),
            "dns",
            "held (dns), no answer",
        ),
        Case::new(
            format!("http://{gone}"),
            "connect",
            "held (connect), no answer",
        ),
        Case::new(
            format!("https://{}", untrusted()),
            "tls",
            "held (tls), no answer",
        ),
        Case {
            settings: vec![("BRIDGE__DELIVERY__TIMEOUT", "400ms".to_owned())],
            ..Case::new(
                format!("http://{silent}"),
                "time-out",
                "held (time-out), no answer",
            )
        },
        Case::new(resets.base_url(), "reset", "held (reset), no answer"),
        Case {
            settings: through(gone),
            ..Case::new(well.base_url(), "proxy", "held (proxy), no answer")
        },
        Case {
            settings: through(locked),
            logged: "account acme are paused: proxy-refused (check acquire.proxy",
            ..Case::new(
                well.base_url(),
                "proxy-refused",
                "held (proxy-refused), no answer",
            )
        },
        Case::new(busy.base_url(), "busy", "held (busy), 503"),
        Case::new(
            forbidden.base_url(),
            "configuration",
            "held (configuration), 403",
        ),
        Case::new(
            denies.base_url(),
            "success-false",
            "again (success-false), 200",
        ),
        Case::new(html.base_url(), "unreadable", "again (unreadable), 200"),
        Case {
            logged: "is parked",
            ..Case::new(refuses.base_url(), "refused", "given-up, 400")
        },
    ];
    for case in cases {
        meets(case);
    }
    assert_eq!(well.count(), 0, "what goes by a proxy goes no other way");
}

/// One call of one bridge: all reports have the words of the case.
fn meets(case: Case) {
    let folder = tempfile::tempdir().expect("a folder");
    let database = folder.path().join("bridge.db");
    let mut command = command_to_serve(&database, &case.base_url);
    command
        .env("BRIDGE__DELIVERY__TIMEOUT", "50s")
        .env("BRIDGE__DELIVERY__SCHEDULE", "1h 1h")
        .envs(case.settings);
    let serve = Serve::by(command);
    serve.accepts(1);
    let (outcome, attempts) = (case.outcome, attempts_counted(&serve));
    let line =
        format!("bridge_delivery_attempts_total{{account=\"acme\",outcome=\"{outcome}\"}} 1");
    assert_eq!(attempts, [line]);

    let shown = shown(&database, &sid(1));
    assert!(shown.contains(case.shown), "{} in:\n{shown}", case.shown);

    serve.signal("-TERM");
    let (code, log) = serve.ends();
    assert_eq!(code, Some(0), "{log}");
    let faults: Vec<&str> = log.split("fault=\"").skip(1).collect();
    let logged: Vec<&str> = faults
        .iter()
        .filter_map(|text| text.split('"').next())
        .collect();
    // A refusal is logged with the call that it parks.
    let expected = if outcome == "refused" {
        &[][..]
    } else {
        &[outcome]
    };
    assert_eq!(logged, expected, "{log}");
    assert!(log.contains(case.logged), "{} in:\n{log}", case.logged);
}

#[test]
fn a_call_that_cannot_be_mapped_is_reported_as_unmappable_and_not_sent() {
    let bridge = Bridge::start();
    bridge.twilio.sends("unknown-status");
    bridge.settles();
    assert_eq!(bridge.metric(UNMAPPABLE), Some(1.0));
    assert_eq!(bridge.acquire.count(), 0);
    let all = bridge.admin("GET", "/api/calls?state=parked", &[]).json();
    let sid = all["calls"][0]["call_sid"]
        .as_str()
        .expect("one call")
        .to_owned();
    assert_eq!(bridge.call(&sid)["planned"][0]["action"], "unmappable");
}

#[test]
fn a_call_that_cannot_be_mapped_is_counted_once_whatever_callbacks_follow() {
    let bridge = Bridge::start();
    bridge.twilio.ends(&sid(1), "transferred");
    bridge.settles();
    for status in ["ringing", "in-progress", "sideways"] {
        bridge.twilio.ends(&sid(1), status);
        bridge.settles();
        assert_eq!(bridge.state(&sid(1)), "parked", "{status}");
        assert_eq!(bridge.metric(UNMAPPABLE), Some(1.0), "{status}");
    }
    bridge.twilio.ends(&sid(2), "transferred");
    bridge.settles();
    assert_eq!(bridge.metric(UNMAPPABLE), Some(2.0));
    assert_eq!(bridge.runs(&["requeue", &sid(1)]).code, Some(0));
    bridge.settles();
    assert_eq!(bridge.metric(UNMAPPABLE), Some(3.0), "it was tried again");
}

#[test]
fn a_year_of_retry_after_is_cut_to_the_configured_most() {
    let bridge = Bridge::start();
    bridge.acquire.answers([Reply::TooMany {
        retry_after: "31536000".to_owned(),
    }]);
    bridge.twilio.ends(&sid(1), "completed");
    bridge.settles();
    bridge.waits(Duration::from_secs(3_590));
    assert_eq!(bridge.acquire.count(), 1);
    // A tenth may be added.
    bridge.waits(Duration::from_secs(370));
    assert_eq!(bridge.acquire.count(), 2);
}

#[test]
fn the_timeline_of_a_call_says_that_acquire_is_down_and_when_it_is_probed() {
    let bridge = Bridge::with(&[("BRIDGE__DELIVERY__CONCURRENCY", "1")]);
    let outage = || bridge.call(&sid(1))["outage"].clone();
    bridge.acquire.behaves(Faults {
        default_reply: Reply::Status(403),
        ..Faults::default()
    });
    bridge.twilio.ends(&sid(1), "completed");
    bridge.settles();
    let first = outage();
    assert_eq!(first["account"], "acme");
    assert_eq!(
        (&first["fault"], &first["status"]),
        (&"configuration".into(), &403.into())
    );
    assert_eq!(first["since"], bridge.clock.now().to_string());

    bridge.acquire.behaves(Faults {
        default_reply: Reply::Status(503),
        ..Faults::default()
    });
    bridge.clock.advance(Duration::from_secs(2));
    until("a probe", || outage()["fault"] == "busy");
    let probed = outage();
    assert_eq!(
        (&probed["fault"], &probed["status"]),
        (&"busy".into(), &503.into())
    );
    assert_eq!(probed["since"], first["since"]);
    let next = bridge.clock.now().plus(Duration::from_secs(2));
    assert_eq!(probed["next_probe"], next.to_string());
    let page = bridge.admin("GET", &format!("/calls/{}", sid(1)), &[]).body;
    assert!(
        page.contains("deliveries to account acme are paused"),
        "{page}"
    );

    bridge.acquire.behaves(Faults::default());
    bridge.clock.advance(Duration::from_secs(60));
    until("it arrives", || bridge.state(&sid(1)) == "delivered");
    assert!(outage().is_null(), "{}", outage());
}

#[test]
fn twilio_is_answered_while_every_permit_waits_for_acquire() {
    let (addr, listens) = silent();
    let url = format!("http://{addr}");
    let bridge = Bridge::with(&[
        ("BRIDGE__ACQUIRE__BASE_URL", url.as_str()),
        ("BRIDGE__DELIVERY__CONCURRENCY", "4"),
        ("BRIDGE__DELIVERY__TIMEOUT", "2m"),
        ("BRIDGE__DELIVERY__LEASE", "3m"),
    ]);
    for call in 1..=400 {
        assert_eq!(bridge.twilio.ends(&sid(call), "completed").status, 204);
        assert_eq!(bridge.admin("GET", "/readyz", &[]).status, 200);
    }
    // Acquire never answered one, and their time limit is long: no accept waited for it.
    until("every place hangs", || {
        bridge.metric("bridge_calls{state=\"claimed\"}") == Some(4.0)
    });
    assert_eq!(
        bridge.metric("bridge_calls{state=\"pending\"}"),
        Some(396.0)
    );
    assert_eq!(
        bridge.metric("bridge_delivery_duration_seconds_count"),
        Some(0.0)
    );
    drop(listens);
    until("those that hung are let go", || {
        bridge.metric("bridge_calls{state=\"claimed\"}") == Some(0.0)
    });
}

#[test]
fn answers_without_end_cost_little_memory() {
    for endless in [
        "HTTP/1.1 102 Processing\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: ",
    ] {
        let (addr, sent) = floods(endless);
        let folder = tempfile::tempdir().expect("a folder");
        let url = format!("http://{addr}");
        let mut command = command_to_serve(&folder.path().join("bridge.db"), &url);
        command
            .env("BRIDGE__DELIVERY__TIMEOUT", "2s")
            .env("BRIDGE__DELIVERY__SCHEDULE", "1h");
        let serve = Serve::by(command);
        let before = most_memory(&serve);
        for call in 1..=32 {
            serve.accepts(call);
        }
        let answered = || counter(&serve, "bridge_delivery_duration_seconds_count");
        until("requests end", || answered() >= 5);
        let grown = most_memory(&serve) - before;
        let sent = sent.load(Ordering::Relaxed);
        println!("{endless:?}: {sent} bytes sent, memory grew by {grown} KiB");
        assert!(grown < 12 * 1024, "{endless:?}: {grown} KiB");
        if endless.contains("102") {
            assert!(sent > 32 * 1024 * 1024, "{sent}: it proves nothing");
        }
        serve.signal("-KILL");
    }
}

/// The lines of one attempt, once it was made and its call is finished.
fn attempts_counted(serve: &Serve) -> Vec<String> {
    let says = |line: &str| metrics(serve).contains(line);
    until("one attempt is made", || {
        says("bridge_delivery_duration_seconds_count 1")
    });
    // Requested again: a report of the attempt may have counted the calls before it.
    until("its call is finished", || {
        says("bridge_calls{state=\"claimed\"} 0")
    });
    let text = metrics(serve);
    let lines = text.lines();
    let lines = lines.filter(|line| line.starts_with("bridge_delivery_attempts_total{"));
    // Each series exists from the start.
    let lines = lines.filter(|line| !line.ends_with(" 0"));
    lines.map(ToOwned::to_owned).collect()
}

fn metrics(serve: &Serve) -> String {
    ask_admin(serve.admin, "/metrics", &[]).body
}

fn counter(serve: &Serve, name: &str) -> u64 {
    let text = metrics(serve);
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    value
        .and_then(|value| value.trim().parse().ok())
        .unwrap_or(0)
}

/// The most that the process ever held, in KiB.
fn most_memory(serve: &Serve) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", serve.child.id()));
    let status = status.expect("a running process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number
        .and_then(|number| number.parse().ok())
        .expect("a number")
}

fn shown(database: &std::path::Path, sid: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_twilio-acquire-bridge"))
        .args(["show", sid])
        .env_clear()
        .env("BRIDGE_CONFIG", "/dev/null")
        .env(
            "BRIDGE__STORE__URL",
            format!("sqlite:{}", database.display()),
        )
        .output()
        .expect("it runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
