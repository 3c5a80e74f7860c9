//! A full disk: nothing is lost or half done, and writes continue when there is room.

use std::path::Path;
use std::time::Duration;

use super::WriteTx;
use crate::clock::Millis;
use crate::domain::call_addresses::CallTerms;
use crate::domain::class::Class;
use crate::store::sqlite::leases::SharedLeaseTable;
use crate::store::sqlite::open;
use crate::store::{
    ClaimRequest, NewCallback, NextState, Recorded, Settlement, SignedRequest, StoreError,
};
use crate::twilio::callback;

fn callback(number: u32) -> NewCallback {
    let form = format!(
        "CallSid=CA{number:032}&AccountSid=AC{:032}&CallStatus=completed&From=&To=",
        1
    );
    let url = "https://bridge.example.com/twilio/voice/status".to_owned();
    let callback = callback::read(form.as_bytes(), &url).expect("a callback");
    let request = SignedRequest {
        url,
        headers: String::new(),
        body: vec![b'x'; 60_000].into(),
    };
    NewCallback::of(callback, request)
}

fn tx(path: &Path) -> WriteTx {
    let connection = open::writer(path).expect("a new file");
    WriteTx::new(connection, SharedLeaseTable::new()).expect("an empty store")
}

fn record(tx: &mut WriteTx, number: u32) -> Result<Recorded, StoreError> {
    let steps = |tx: &mut WriteTx| {
        tx.begin()?;
        let recorded = tx.record(&callback(number), Millis(0))?;
        tx.commit().map(|()| recorded)
    };
    steps(tx).inspect_err(|_| tx.roll_back())
}

fn pages(tx: &WriteTx, most: i64) {
    let set = tx.connection.pragma_update(None, "max_page_count", most);
    set.expect("set");
}

#[test]
fn a_full_disk_refuses_and_the_store_goes_on_when_there_is_room() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut tx = tx(&folder.path().join("bridge.db"));
    assert_eq!(record(&mut tx, 1).expect("room"), Recorded::New);
    pages(&tx, 1);
    assert!(matches!(record(&mut tx, 2), Err(StoreError::Disk(_))));
    assert_eq!(tx.counts().expect("counted").seen, 1);
    pages(&tx, 1_000_000);
    assert_eq!(record(&mut tx, 2).expect("room"), Recorded::New);
    assert_eq!(record(&mut tx, 1).expect("room"), Recorded::Repeated);
    assert_eq!(tx.counts().expect("counted").seen, 2);
}

#[test]
fn a_settlement_that_was_rolled_back_leaves_the_claim() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut tx = tx(&folder.path().join("bridge.db"));
    record(&mut tx, 1).expect("room");
    let lease = Duration::from_secs(60);
    let claimed = tx
        .claim(Millis(0), Millis(0), lease, &ClaimRequest::any(9))
        .expect("claimed");
    let settlement = Settlement {
        class: Class::Waiting,
        attempt: None,
        next: NextState::Delivered,
        failing_since: None,
        terms: CallTerms::default(),
    };
    for _ in 0..2 {
        tx.begin().expect("started");
        let settled = tx.settle(&claimed[0].ticket, &settlement, Millis(1));
        settled.expect("the ticket is good");
        tx.roll_back();
    }
    let counts = tx.counts().expect("counted");
    assert_eq!((counts.claimed, counts.delivered), (1, 0));
    assert!(
        tx.claim(Millis(2), Millis(2), lease, &ClaimRequest::any(9))
            .expect("claimed")
            .is_empty()
    );
}

#[test]
fn the_search_for_due_calls_sorts_and_passes_over_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let tx = tx(&folder.path().join("bridge.db"));
    let steps = |sql: &str| {
        let plan = format!("EXPLAIN QUERY PLAN {sql}");
        let mut statement = tx.connection.prepare(&plan).expect("a plan");
        let zeros = vec![0; statement.parameter_count()];
        let steps = statement
            .query_map(rusqlite::params_from_iter(zeros), |row| {
                row.get::<_, String>(3)
            })
            .expect("steps");
        let steps: Vec<String> = steps.map(|step| step.expect("a text")).collect();
        steps.join("\n")
    };
    let longest = steps(super::claim::LONGEST_DUE);
    assert!(
        longest.contains("(state=? AND effective_at=? AND rowid>?)"),
        "{longest}"
    );
    assert!(
        longest.contains("(state=? AND effective_at>? AND effective_at<?)"),
        "{longest}"
    );
    let freshest = steps(super::claim::FRESHEST);
    assert!(
        freshest.contains("(state=? AND effective_at<?)"),
        "{freshest}"
    );
    for steps in [longest, freshest] {
        assert!(!steps.contains("TEMP B-TREE"), "{steps}");
    }
}
