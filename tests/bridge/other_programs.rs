//! Another program uses the database file of a running bridge.

use crate::support::harness::{Bridge, until};
use crate::support::twilio::sid;

#[test]
fn a_write_lock_of_another_program_is_named_by_readyz_and_doctor() {
    let bridge = Bridge::start();
    let file = bridge.folder.path().join("bridge.db");
    let other = rusqlite::Connection::open(file).expect("a database");
    other.execute_batch("BEGIN IMMEDIATE").expect("locked");
    let cause = "another program holds the write lock";
    let ready = bridge.admin("GET", "/readyz", &[]);
    assert_eq!(ready.status, 503);
    assert!(ready.body.contains(cause), "{}", ready.body);
    let doctor = bridge.runs(&["doctor", "--offline"]);
    assert_eq!(doctor.code, Some(1), "{}", doctor.err);
    let printed = doctor.out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(printed.contains(cause), "{printed}");
    other.execute_batch("ROLLBACK").expect("its end");
    until("it is ready again", || {
        bridge.admin("GET", "/readyz", &[]).body == "ready\n"
    });
    assert_eq!(bridge.twilio.ends(&sid(1), "completed").status, 204);
}
