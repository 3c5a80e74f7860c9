//! Comparisons with Twilio's own records, on a database that nodes share and that may be away.

use std::path::Path;

use serde_json::json;

use crate::support::postgres_server::Server;
use crate::support::reconciled::{HOUR, MINUTE, World, order};
use crate::support::twilio::sid;
use crate::{Duration, empties_its_spool, until};

/// Answers of the fake Twilio come so late that the test can act before.
const LATE: Duration = Duration::from_millis(700);

fn world(server: &Server, folder: &Path) -> World {
    let (url, spool) = (
        server.url("postgres"),
        folder.join("spool.db").display().to_string(),
    );
    let settings = [
        ("BRIDGE__STORE__URL", url.as_str()),
        ("BRIDGE__STORE__SPOOL", &spool),
    ];
    let world = World::with(&settings);
    world.reports(1);
    world
}

/// Twilio answers late, and gets so many more requests.
fn gets_requests(world: &World, more: usize) {
    let so_far = || world.api.with(|records| records.requests.len());
    let before = so_far();
    until("Twilio gets the requests", || so_far() >= before + more);
}

#[test]
fn two_nodes_never_compare_at_the_same_time_and_a_node_that_dies_leaves_its_lease_to_the_other() {
    let server = Server::start(&[]);
    let folder = tempfile::tempdir().expect("a folder");
    let world = world(&server, folder.path());
    let (url, spool) = (server.url("postgres"), folder.path().join("other.db"));
    let spool = spool.display().to_string();
    let settings = [
        ("BRIDGE__STORE__URL", url.as_str()),
        ("BRIDGE__STORE__SPOOL", &spool),
    ];
    let other = world.other_node(&settings);
    for number in 2..=4 {
        world.has_call(number, |_| {});
    }
    world.waits(2 * HOUR);
    other.waits(2 * HOUR);
    world.api.with(|records| records.delay = LATE);
    std::thread::scope(|scope| {
        let pass = scope.spawn(|| world.asks(&json!({})));
        gets_requests(&world, 1);
        let (status, answer) = order(&other, &json!({}));
        let detail = answer["detail"].as_str().unwrap_or_default();
        assert_eq!((status, detail), (409, "another node compares now"));
        let (status, answer) = pass.join().expect("an answer");
        assert_eq!(
            (status, &answer["accounts"][0]["imported"]["listed"]),
            (200, &json!(3))
        );
    });
    // As a process leaves it that is killed in the middle of a pass.
    world.has_call(5, |_| {});
    world.waits(2 * HOUR);
    other.waits(2 * HOUR);
    let until = other.clock.now().plus(10 * MINUTE).0;
    server.sql(&format!(
        "INSERT INTO note VALUES ('lease/reconcile', 'dead {until}')"
    ));
    assert_eq!(order(&other, &json!({})).0, 409, "the lease has not ended");
    other.waits(11 * MINUTE);
    let (status, answer) = order(&other, &json!({}));
    assert_eq!(
        (status, &answer["accounts"][0]["imported"]["listed"]),
        (200, &json!(1))
    );
    other.settles();
    let mut sent = [world.bridge.acquire.call_ids(), other.acquire.call_ids()].concat();
    sent.sort();
    assert_eq!(sent, (1..=5).map(sid).collect::<Vec<_>>());
}

#[test]
fn a_pass_during_which_the_database_goes_away_ends_and_the_next_one_imports_each_call_once() {
    let server = Server::start(&[]);
    let folder = tempfile::tempdir().expect("a folder");
    let world = world(&server, folder.path());
    for number in 2..=4 {
        world.has_call(number, |_| {});
    }
    world.waits(2 * HOUR);
    world.api.with(|records| records.delay = LATE);
    std::thread::scope(|scope| {
        let pass = scope.spawn(|| world.asks(&json!({})));
        gets_requests(&world, 1);
        server.stop();
        let (status, answer) = pass.join().expect("an answer");
        assert_eq!(status, 409, "{answer:#}");
    });
    world.api.with(|records| records.delay = Duration::ZERO);
    // A callback that waits in the spool would look missing.
    assert_eq!(world.bridge.twilio.ends(&sid(9), "busy").status, 204);
    let (status, answer) = world.asks(&json!({}));
    assert_eq!(status, 409, "{answer:#}");
    server.start_again();
    empties_its_spool(&world.bridge);
    // The lease of the pass that failed.
    world.waits(11 * MINUTE);
    until("a pass succeeds", || world.asks(&json!({})).0 == 200);
    world.bridge.settles();
    for number in [1, 2, 3, 4, 9] {
        let ids = world.bridge.acquire.call_ids();
        let times = ids.iter().filter(|id| **id == sid(number)).count();
        assert_eq!(times, 1, "call {number}");
    }
}

#[test]
fn the_time_by_which_a_restored_database_is_behind_the_spool_file_of_a_node_is_held() {
    let server = Server::start(&[]);
    let folder = tempfile::tempdir().expect("a folder");
    let world = world(&server, folder.path());
    world.waits(2 * HOUR);
    // The first whole pass notes its end.
    let first_day = json!({ "from": world.clock.now().minus(48 * HOUR).to_string() });
    world.reconciles(&first_day);
    let noted = "SELECT text FROM note WHERE key LIKE 'watermark/%'";
    let before = server.sql(noted).trim().to_owned();
    world.has_call(2, |_| {});
    world.waits(2 * HOUR);
    let report = world.reconciles(&first_day);
    assert_eq!(report["imported"]["listed"], 1, "{report:#}");
    // As a restored copy: without the call, and with the notes of then. Twilio has no events of the call.
    for sql in [
        format!("UPDATE note SET text = '{before}' WHERE key LIKE 'watermark/%'"),
        format!("DELETE FROM callback WHERE leg = '{}'", sid(2)),
    ] {
        server.sql(&sql);
    }
    let report = world.reconciles(&first_day);
    assert_eq!(
        (&report["held"], &report["never_came"]),
        (&json!(1), &json!(0)),
        "{report:#}"
    );
    assert_eq!(world.sent(2).len(), 1);
}

#[test]
fn a_canary_that_waited_in_the_spool_ends_there() {
    let server = Server::start(&[]);
    let folder = tempfile::tempdir().expect("a folder");
    let world = world(&server, folder.path());
    let canary = format!("CAcafe0000{:024x}", 7);
    let at = world.clock.now();
    server.sql(&format!(
        "INSERT INTO note VALUES ('canary/{canary}', '{at} sent')"
    ));
    server.stop();
    assert_eq!(world.bridge.twilio.ends(&canary, "completed").status, 204);
    server.start_again();
    empties_its_spool(&world.bridge);
    let noted = server.sql(&format!(
        "SELECT text FROM note WHERE key = 'canary/{canary}'"
    ));
    assert!(noted.contains("came"), "{noted}");
    assert_eq!(world.bridge.acquire.call_ids(), [sid(1)]);
    assert_eq!(
        world.bridge.admin("GET", "/api/calls", &[]).json()["calls"][1],
        json!(null)
    );
}
