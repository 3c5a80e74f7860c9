//! A database that works and refuses: some calls for their own sake, or all.

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;
use serde_json::json;

use crate::support::harness::Bridge;
use crate::support::postgres_server::Server;
use crate::{accepts, bridge, empties_its_spool, is_ready, spooled, times_sent, until};

/// From now on the database refuses callbacks of which this is true.
fn refuses(server: &Server, which: &str) {
    server.sql(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql \
         AS $$ BEGIN RAISE EXCEPTION 'not taken'; END $$",
    );
    server.sql(&format!(
        "CREATE TRIGGER refuse BEFORE INSERT ON callback FOR EACH ROW WHEN ({which}) \
         EXECUTE FUNCTION refuse()"
    ));
}

fn accepts_all_again(server: &Server) {
    server.sql("DROP TRIGGER refuse ON callback");
}

fn bridge_on(server: &Server, folder: &Path) -> Bridge {
    let bridge = bridge(&server.url("postgres"), &folder.join("spool.db"));
    accepts(&bridge, 1, "completed");
    empties_its_spool(&bridge);
    bridge
}

#[test]
fn a_call_that_the_database_refuses_stays_in_the_spool_and_keeps_no_other_waiting() {
    let server = Server::start(&[]);
    let folder = tempfile::tempdir().expect("a folder");
    let bridge = bridge_on(&server, folder.path());
    refuses(&server, &format!("NEW.leg = '{}'", crate::sid(2)));
    for call in [2, 3, 4] {
        accepts(&bridge, call, "completed");
    }
    until("the others are sent", || {
        [3, 4].map(|call| times_sent(&bridge, call)) == [1, 1]
    });
    until("it alone is left", || spooled(&bridge) == Some(1.0));
    assert_eq!(times_sent(&bridge, 2), 0);
    assert!(is_ready(&bridge));
    accepts_all_again(&server);
    server.stop();
    accepts(&bridge, 5, "completed");
    server.start_again();
    empties_its_spool(&bridge);
    assert_eq!([2, 5].map(|call| times_sent(&bridge, call)), [1, 1]);
}

#[test]
fn a_call_that_the_database_refuses_is_erased_from_the_spool() {
    let server = Server::start(&[]);
    let folder = tempfile::tempdir().expect("a folder");
    let bridge = bridge_on(&server, folder.path());
    refuses(&server, &format!("NEW.leg = '{}'", crate::sid(2)));
    accepts(&bridge, 2, "completed");
    accepts(&bridge, 3, "completed");
    until("the other is sent", || times_sent(&bridge, 3) == 1);
    until("it alone is left", || spooled(&bridge) == Some(1.0));
    let in_spool = || {
        let files = ["spool.db", "spool.db-wal"].map(|file| folder.path().join(file));
        let bytes = files.map(|file| std::fs::read(file).unwrap_or_default());
        let text = String::from_utf8_lossy(&bytes.concat()).into_owned();
        text.contains(&format!("CallSid={}", crate::sid(2)))
    };
    assert!(in_spool(), "the files are the right ones");
    let order = json!({ "kind": "erase", "filter": { "call": crate::sid(2) }, "reason": "r" });
    assert_eq!(bridge.posts("/api/operations", &order).status, 202);
    let receipt = || {
        let listed = bridge.admin("GET", "/api/operations", &[]).json();
        listed["operations"][0]["receipt"].clone()
    };
    until("it has ended", || !receipt().is_null());
    assert_eq!(receipt()["removed"]["spooled"], 1, "{}", receipt());
    assert_eq!((spooled(&bridge), in_spool()), (Some(0.0), false));
    accepts_all_again(&server);
    accepts(&bridge, 2, "completed");
    assert_eq!(times_sent(&bridge, 2), 0, "it is known as erased");
}

#[test]
fn a_spool_that_cannot_be_cleared_keeps_no_other_operation_of_its_node_waiting() {
    let server = Server::start(&[]);
    let folder = tempfile::tempdir().expect("a folder");
    let bridge = bridge_on(&server, folder.path());
    refuses(&server, &format!("NEW.leg = '{}'", crate::sid(2)));
    accepts(&bridge, 2, "completed");
    accepts(&bridge, 3, "completed");
    until("it alone is left", || {
        times_sent(&bridge, 3) == 1 && spooled(&bridge) == Some(1.0)
    });
    let spool = Connection::open(folder.path().join("spool.db")).expect("the spool");
    spool
        .execute_batch(
            "CREATE TRIGGER refuse BEFORE DELETE ON callback BEGIN SELECT RAISE(ABORT, 'stays'); END",
        )
        .expect("a trigger");
    let order = |kind: &str, filter: serde_json::Value| {
        let order = json!({ "kind": kind, "filter": filter, "reason": "r" });
        let answer = bridge.posts("/api/operations", &order);
        assert_eq!(answer.status, 202, "{}", answer.body);
    };
    order("erase", json!({ "call": crate::sid(2) }));
    order("requeue", json!({ "state": "delivered" }));
    let operation = |kind: &str| {
        let listed = bridge.admin("GET", "/api/operations", &[]).json();
        let mut all = listed["operations"].as_array().expect("a list").iter();
        all.find(|of| of["kind"] == kind)
            .expect("it is listed")
            .clone()
    };
    until("the call is sent again", || times_sent(&bridge, 1) == 2);
    until("it is done", || operation("requeue")["state"] == "done");
    assert_eq!(operation("erase")["state"], "running");
    bridge.clock.advance(Duration::from_secs(61));
    until("the erasure ends", || {
        !operation("erase")["receipt"].is_null()
    });
    let receipt = operation("erase")["receipt"].to_string();
    assert!(receipt.contains("did not confirm"), "{receipt}");
    assert_eq!(spooled(&bridge), Some(1.0));
}

#[test]
fn a_database_that_refuses_all_costs_no_callback() {
    let server = Server::start(&[]);
    let folder = tempfile::tempdir().expect("a folder");
    let bridge = bridge_on(&server, folder.path());
    refuses(&server, "true");
    for call in [2, 3] {
        accepts(&bridge, call, "completed");
    }
    assert_eq!(spooled(&bridge), Some(2.0));
    assert!(is_ready(&bridge));
    accepts_all_again(&server);
    empties_its_spool(&bridge);
    assert_eq!([2, 3].map(|call| times_sent(&bridge, call)), [1, 1]);
}
