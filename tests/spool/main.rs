//! The PostgreSQL server of a bridge stops, hangs or cannot be reached: the bridge still accepts callbacks,
//! and moves them to the database once that is back.
//!
//! A binary of its own, because it starts programs: a child process holds the file locks of its parent for
//! a moment while it starts.

mod proxy;
mod reconcile;
mod refusals;
mod restarts;
#[expect(dead_code, reason = "each test binary uses a part of it")]
#[path = "../support/mod.rs"]
mod support;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use twilio_acquire_bridge::debugging::fake_acquire::Faults;

use crate::proxy::{Proxy, Way};
use crate::support::harness::Bridge;
use crate::support::http::ask_admin;
use crate::support::postgres_server::Server;
use crate::support::real::{left_out, pause, until};
use crate::support::serve::{Serve, command_to_serve, sink};
use crate::support::twilio::{STATUS, sid, status_form};

/// Requests without the database are fast, and the rest takes at most a second; each time, unless the
/// machine itself is busy.
const AT_ONCE: Duration = Duration::from_millis(600);
const A_SECOND: Duration = Duration::from_secs(1);

/// What happens to a server.
type Fault = fn(&Server);

fn bridge(url: &str, spool: &Path) -> Bridge {
    let spool = spool.display().to_string();
    Bridge::with(&[
        ("BRIDGE__STORE__URL", url),
        ("BRIDGE__STORE__SPOOL", &spool),
    ])
}

/// Returns the time until the answer.
fn accepts(bridge: &Bridge, call: usize, status: &str) -> Duration {
    let started = Instant::now();
    assert_eq!(bridge.twilio.ends(&sid(call), status).status, 204);
    started.elapsed()
}

/// The retry is a repeat; if it had to wait for the database, each retry would.
fn accepts_at_once(bridge: &Bridge, call: usize) {
    until("it is answered at once", || {
        accepts(bridge, call, "completed") < AT_ONCE
    });
}

fn spooled(bridge: &Bridge) -> Option<f64> {
    bridge.metric("bridge_spooled_callbacks")
}

fn empties_its_spool(bridge: &Bridge) {
    until("the spool is empty", || spooled(bridge) == Some(0.0));
    bridge.settles();
}

fn is_ready(bridge: &Bridge) -> bool {
    bridge.admin("GET", "/readyz", &[]).status == 200
}

/// How often Acquire got the end of a call.
fn times_sent(bridge: &Bridge, call: usize) -> usize {
    let ids = bridge.acquire.call_ids();
    ids.iter().filter(|id| **id == sid(call)).count()
}

#[test]
fn callbacks_are_kept_within_a_second_whichever_way_the_database_goes() {
    let server = Server::start(&[]);
    let folder = tempfile::tempdir().expect("a folder");
    let bridge = bridge(&server.url("postgres"), &folder.path().join("spool.db"));
    let ways: [(&str, Fault, Fault); 3] = [
        ("stops", Server::stop, Server::start_again),
        ("crashes", Server::crash, Server::start_again),
        ("hangs", Server::freeze, Server::thaw),
    ];
    let mut outages = 0;
    for (way, goes, returns) in ways {
        until("it is kept within a second", || {
            outages += 1;
            accepts(&bridge, 10 * outages, "completed");
            empties_its_spool(&bridge);
            goes(&server);
            let took = survives_outage(&bridge, way, outages);
            returns(&server);
            is_back(&bridge, way, outages);
            took < A_SECOND
        });
    }
}

/// Sends callbacks during an outage of the database; returns how long the first one waited.
fn survives_outage(bridge: &Bridge, way: &str, outage: usize) -> Duration {
    let [before, first, second] = [0, 1, 2].map(|call| 10 * outage + call);
    let took = accepts(bridge, first, "completed");
    accepts_at_once(bridge, second);
    accepts_at_once(bridge, first);
    assert_eq!(
        spooled(bridge),
        Some(2.0),
        "it {way}: a repeat is recognised"
    );
    accepts_at_once(bridge, before);
    assert!(is_ready(bridge), "it {way}");
    assert_eq!(bridge.metric("bridge_store_up"), Some(0.0), "it {way}");
    let waiting = bridge.call(&sid(first));
    assert_eq!(waiting["state"], "pending");
    let reason = waiting["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("spool"), "it {way}: {waiting}");
    assert_eq!(
        times_sent(bridge, first),
        0,
        "nothing is sent from the spool"
    );
    took
}

fn is_back(bridge: &Bridge, way: &str, outage: usize) {
    let [before, first, second, after] = [0, 1, 2, 3].map(|call| 10 * outage + call);
    empties_its_spool(bridge);
    assert_eq!(bridge.metric("bridge_store_up"), Some(1.0));
    accepts(bridge, after, "completed");
    bridge.settles();
    for call in [before, first, second, after] {
        assert_eq!(times_sent(bridge, call), 1, "it {way}: call {call}");
    }
}

#[test]
fn a_call_keeps_its_order_and_its_times_through_the_spool() {
    let server = Server::start(&[]);
    let folder = tempfile::tempdir().expect("a folder");
    let bridge = bridge(&server.url("postgres"), &folder.path().join("spool.db"));
    let statuses = ["queued", "initiated", "ringing", "in-progress", "completed"];
    let mut received = Vec::new();
    for (number, status) in (0..).zip(statuses) {
        match number {
            1 => {
                // If the answer to a claim is lost, the calls are free only when the lease ends.
                empties_its_spool(&bridge);
                server.stop();
            }
            4 => {
                server.start_again();
                until("the spool is empty", || spooled(&bridge) == Some(0.0));
            }
            _ => {}
        }
        bridge.clock.advance(Duration::from_secs(7));
        received.push(bridge.clock.now().to_string());
        accepts(&bridge, 1, status);
    }
    bridge.settles();
    let call = bridge.call(&sid(1));
    let callbacks = call["callbacks"].as_array().expect("a list");
    let shown = |key: &str| -> Vec<&str> {
        callbacks
            .iter()
            .filter_map(|callback| callback[key].as_str())
            .collect()
    };
    assert_eq!(shown("call_status"), statuses);
    assert_eq!(shown("received"), received);
}

#[test]
fn a_node_starts_without_its_database_and_migrates_it_later() {
    let server = Server::start(&[]);
    server.stop();
    let folder = tempfile::tempdir().expect("a folder");
    let bridge = bridge(&server.url("postgres"), &folder.path().join("spool.db"));
    assert!(is_ready(&bridge));
    accepts(&bridge, 1, "completed");
    server.start_again();
    empties_its_spool(&bridge);
    assert_eq!(times_sent(&bridge, 1), 1);
    assert_eq!(server.sql("SELECT count(*) > 0 FROM migration"), "t");
}

#[test]
fn a_callback_that_was_committed_before_the_connection_broke_is_transferred_as_a_repeat() {
    let server = Server::start(&[]);
    let proxy = Proxy::start(&server);
    let folder = tempfile::tempdir().expect("a folder");
    let bridge = bridge(&proxy.url(), &folder.path().join("spool.db"));
    accepts(&bridge, 1, "completed");
    empties_its_spool(&bridge);
    proxy.turns(Way::MuteFromCallback);
    accepts(&bridge, 2, "completed");
    let in_database = || server.sql("SELECT count(*) FROM callback");
    until("it was committed", || in_database() == "2");
    assert_eq!(spooled(&bridge), Some(1.0), "and is in the spool as well");
    proxy.turns(Way::Through);
    empties_its_spool(&bridge);
    assert_eq!(in_database(), "2");
    assert_eq!(times_sent(&bridge, 2), 1);
}

#[test]
fn a_network_that_swallows_all_costs_no_callback() {
    let server = Server::start(&[]);
    let proxy = Proxy::start(&server);
    let folder = tempfile::tempdir().expect("a folder");
    let bridge = bridge(&proxy.url(), &folder.path().join("spool.db"));
    let mut call = 0;
    until("it is kept within a second", || {
        call += 3;
        accepts(&bridge, call, "completed");
        empties_its_spool(&bridge);
        proxy.turns(Way::Nowhere);
        let took = accepts(&bridge, call + 1, "completed");
        accepts_at_once(&bridge, call + 2);
        assert!(is_ready(&bridge));
        proxy.turns(Way::Through);
        empties_its_spool(&bridge);
        let sent = [call, call + 1, call + 2].map(|call| times_sent(&bridge, call));
        assert_eq!(sent, [1, 1, 1]);
        took < A_SECOND
    });
}

fn serve(server: &Server, spool: &Path, acquire: &str) -> Command {
    let mut command = command_to_serve(spool, acquire);
    command
        .env("BRIDGE__STORE__URL", server.url("postgres"))
        // The log is not read while the bridge runs, and a full pipe would block it.
        .env(
            "BRIDGE__LOG__LEVEL",
            "error,twilio_acquire_bridge::cli=info,twilio_acquire_bridge::store=info",
        )
        // What a killed bridge had claimed is free again after so long.
        .env("BRIDGE__DELIVERY__TIMEOUT", "1s")
        .env("BRIDGE__DELIVERY__LEASE", "2s")
        .env("BRIDGE__STORE__SPOOL", spool);
    command
}

#[test]
fn the_spool_outlives_kills_also_while_it_is_emptied() {
    const CALLS: usize = 300;
    let server = Server::start(&[]);
    let folder = tempfile::tempdir().expect("a folder");
    let spool = folder.path().join("spool.db");
    let acquire = sink(Faults::default());
    let start = || Serve::by(serve(&server, &spool, &acquire.base_url()));
    server.stop();
    let first = start();
    for call in 0..CALLS {
        first.accepts(call);
    }
    first.signal("-KILL");
    first.ends();
    server.start_again();
    for kill in 0..6 {
        let next = start();
        pause(Duration::from_millis(15 * kill));
        next.signal("-KILL");
        next.ends();
    }
    let last = start();
    let spooled = || ask_admin(last.admin, "/metrics", &[]).body;
    until("the spool is empty", || {
        spooled().contains("bridge_spooled_callbacks 0\n")
    });
    assert_eq!(
        server.sql("SELECT count(*), count(DISTINCT key) FROM callback"),
        format!("{CALLS}|{CALLS}")
    );
    let mut expected: Vec<String> = (0..CALLS).map(sid).collect();
    expected.sort();
    until("all calls arrived", || {
        let mut arrived = acquire.call_ids();
        arrived.sort();
        arrived.dedup();
        arrived == expected
    });
}

#[test]
fn a_spool_whose_disk_is_full_answers_503_and_is_not_ready() {
    let folder = tempfile::tempdir().expect("a folder");
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"])
        .arg(folder.path())
        .output();
    if !mounted.is_ok_and(|mounted| mounted.status.success()) {
        left_out("a full disk (it needs the right to mount)");
        return;
    }
    let server = Server::start(&[]);
    let mut bridge = bridge(&server.url("postgres"), &folder.path().join("spool.db"));
    accepts(&bridge, 1, "completed");
    let filler = folder.path().join("filler");
    let mut size = 2 << 20;
    while std::fs::write(&filler, vec![1; size]).is_err() {
        size -= 4096;
    }
    until("the database takes it", || {
        bridge.twilio.ends(&sid(2), "completed").status == 204
    });
    until("the database suffices", || is_ready(&bridge));
    bridge.settles();
    server.stop();
    until("the spool is full", || {
        let form = format!(
            "{}&Filler={}",
            status_form(&sid(3), "busy"),
            "x".repeat(60_000)
        );
        bridge.twilio.sends_form(STATUS, &form).status == 503
    });
    assert!(!is_ready(&bridge));
    std::fs::remove_file(&filler).expect("removed");
    accepts(&bridge, 4, "completed");
    assert!(is_ready(&bridge));
    server.start_again();
    empties_its_spool(&bridge);
    assert_eq!(times_sent(&bridge, 4), 1);
    bridge.stops();
    let unmounted = Command::new("umount").arg(folder.path()).status();
    assert!(unmounted.expect("umount runs").success());
}

#[test]
fn the_console_shows_the_spool_while_the_database_is_down() {
    let server = Server::start(&[]);
    let folder = tempfile::tempdir().expect("a folder");
    let bridge = bridge(&server.url("postgres"), &folder.path().join("spool.db"));
    accepts(&bridge, 1, "completed");
    empties_its_spool(&bridge);
    server.stop();
    accepts(&bridge, 2, "completed");
    let sid = sid(2);
    for (path, parts) in [
        ("/", &["The database", "1 callback"][..]),
        ("/calls", &["The database is down", "1 now", sid.as_str()]),
    ] {
        let page = bridge.admin("GET", path, &[]);
        assert_eq!(page.status, 200, "{}", page.body);
        for part in parts {
            assert!(page.body.contains(part), "{part}: {}", page.body);
        }
    }
    server.start_again();
    empties_its_spool(&bridge);
    let page = bridge.admin("GET", "/calls", &[]);
    assert!(!page.body.contains("The database is down"), "{}", page.body);
}

#[test]
fn what_a_killed_node_was_sending_another_sends_once_the_lease_ends() {
    let server = Server::start(&[]);
    let folder = tempfile::tempdir().expect("a folder");
    let start =
        |spool: &str, acquire: &str| Serve::by(serve(&server, &folder.path().join(spool), acquire));
    // Takes connections, and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let nowhere = format!("http://{}", silent.local_addr().expect("an address"));
    let mut dies = start("dies.db", &nowhere);
    until("its tables are there", || {
        server.sql("SELECT to_regclass('call') IS NOT NULL") == "t"
    });
    dies.accepts(1);
    until("the call is claimed", || {
        server.sql("SELECT count(*) FROM call WHERE claim IS NOT NULL") == "1"
    });
    dies.child.kill().expect("killed");
    let acquire = sink(Faults::default());
    // No accept wakes the worker: it finds the calls by polling.
    let _lives = start("lives.db", &acquire.base_url());
    until("the call is sent", || !acquire.received().is_empty());
    until("the call is settled", || {
        server.sql("SELECT state FROM call") == "delivered"
    });
}

#[test]
fn what_left_the_spool_is_in_none_of_its_files() {
    let server = Server::start(&[]);
    let folder = tempfile::tempdir().expect("a folder");
    let bridge = bridge(&server.url("postgres"), &folder.path().join("spool.db"));
    let files_with = |number: &str| {
        let files = std::fs::read_dir(folder.path()).expect("listed");
        let bytes = files.map(|file| std::fs::read(file.expect("a file").path()).expect("read"));
        bytes
            .filter(|bytes| String::from_utf8_lossy(bytes).contains(number))
            .count()
    };
    until("it runs on the database", || {
        accepts(&bridge, 1, "completed") < AT_ONCE && spooled(&bridge) == Some(0.0)
    });
    server.stop();
    for call in 2..40 {
        accepts(&bridge, call, "completed");
    }
    assert!(
        files_with("12025550123") > 0,
        "the files are the right ones"
    );
    server.start_again();
    empties_its_spool(&bridge);
    until("the numbers are gone", || files_with("12025550123") == 0);
}
