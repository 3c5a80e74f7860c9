//! What concerns the embedded database alone.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use rusqlite::Connection;
use twilio_acquire_bridge::clock::Millis;
use twilio_acquire_bridge::store::sqlite::{SqliteReader, SqliteStore};
use twilio_acquire_bridge::store::{
    Expiry, ListFilter, NextState, OpenError, ReadStore as _, Recorded,
};
use twilio_acquire_bridge::twilio::CallSid;

use crate::support::store_suite::place::{
    Database, Place, callback, claim, claim_one, record, settle, sid,
};

pub const DATABASE: Database = Database {
    sequences: 96,
    make: |_| {},
    remove: |_| {},
    open: |path| Box::new(SqliteStore::open(path).expect("the file can be opened")),
    read: |path| Box::new(reader(path)),
};

fn reader(path: &Path) -> SqliteReader {
    SqliteReader::open_read_only(path).expect("the file can be read")
}

fn refusal(path: &Path) -> OpenError {
    match SqliteStore::open(path) {
        Ok(_) => panic!("{} was opened", path.display()),
        Err(error) => error,
    }
}

/// The database and its log as a crash would leave them.
fn copy_as_after_a_crash(from: &Path, to: &Path) {
    for end in ["", "-wal"] {
        let with_end = |path: &Path| format!("{}{end}", path.display());
        fs::copy(with_end(from), with_end(to)).expect("copied");
    }
}

#[tokio::test]
async fn a_second_owner_is_refused_until_the_first_is_gone() {
    let place = Place::new(DATABASE);
    let first = place.open();
    let refused = refusal(&place.path());
    assert!(matches!(refused, OpenError::InUse { .. }), "{refused}");
    assert!(refused.to_string().contains("in use"), "{refused}");
    let link = place.path().with_extension("link");
    std::os::unix::fs::symlink(place.path(), &link).expect("linked");
    assert!(matches!(refusal(&link), OpenError::InUse { .. }));
    drop(first);
    place.open();
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused() {
    let place = Place::new(DATABASE);
    drop(place.open());
    let connection = Connection::open(place.path()).expect("opened");
    let newer = connection.pragma_update(None, "user_version", 7);
    newer.expect("updated");
    drop(connection);
    let refused = refusal(&place.path());
    let (found, known) = (7, 1);
    assert!(
        matches!(refused, OpenError::Newer { found: f, known: k, .. } if (f, k) == (found, known)),
        "{refused}"
    );
}

#[tokio::test]
async fn what_is_no_database_of_ours_is_refused_and_left_as_it_was() {
    let place = Place::new(DATABASE);
    let text =
        b"a text that another program needs, longer than the header of a database has to be \
                 for it to be read at all"
            .repeat(9);
    fs::write(place.path(), &text).expect("written");
    let refused = refusal(&place.path());
    assert!(matches!(refused, OpenError::Damaged { .. }), "{refused}");
    assert_eq!(fs::read(place.path()).expect("read"), text);

    let other = place.path().with_extension("other");
    let connection = Connection::open(&other).expect("opened");
    connection
        .execute_batch("CREATE TABLE t (x)")
        .expect("made");
    drop(connection);
    let refused = refusal(&other);
    assert!(matches!(refused, OpenError::Unusable { .. }), "{refused}");
}

#[tokio::test]
async fn a_file_that_cannot_be_made_is_refused() {
    let place = Place::new(DATABASE);
    let refused = refusal(&place.path().join("no-folder/bridge.db"));
    assert!(matches!(refused, OpenError::Unusable { .. }), "{refused}");
}

#[tokio::test]
async fn new_files_can_shrink_and_are_logged_ahead() {
    let place = Place::new(DATABASE);
    drop(place.open());
    let connection = Connection::open(place.path()).expect("opened");
    let setting = |name: &str| {
        let value = connection
            .pragma_query_value(None, name, |row| row.get::<_, rusqlite::types::Value>(0));
        value.expect("read")
    };
    assert_eq!(setting("auto_vacuum"), 2.into());
    assert_eq!(setting("journal_mode"), "wal".to_owned().into());
}

#[tokio::test]
async fn a_purge_gives_the_space_of_the_file_back() {
    let place = Place::new(DATABASE);
    let store = place.open();
    for number in 0..300 {
        let mut callback = callback(&sid(number), &sid(number), "completed");
        callback.request.body = vec![b'x'; 3_000].into();
        let recorded = store.record(callback, Millis(0)).await;
        assert_eq!(recorded.expect("recorded"), Recorded::New);
        let claimed = claim_one(&*store, 0).await;
        settle(&*store, &claimed, NextState::Delivered, 1).await;
    }
    let pages = || {
        let connection = Connection::open(place.path()).expect("opened");
        let pages = connection.pragma_query_value(None, "page_count", |row| row.get::<_, i64>(0));
        pages.expect("read")
    };
    let before = pages();
    let expiry = Expiry {
        now: Millis(2),
        delivered_and_skipped: Millis(2),
        parked: Millis(2),
    };
    while store.purge(expiry, 50).await.expect("purged") > 0 {}
    assert!(pages() * 5 < before, "{before} pages became {}", pages());
}

#[tokio::test]
async fn commands_read_beside_a_running_store_and_without_one() {
    let place = Place::new(DATABASE);
    let store = place.open();
    record(&*store, &sid(1), 10).await;
    let check = || {
        let reader = reader(&place.path());
        let filter = ListFilter {
            state: None,
            limit: 9,
        };
        assert_eq!(reader.list(filter).expect("listed").len(), 1);
        assert!(reader.get(&sid(1)).expect("read").is_some());
    };
    check();
    drop(store);
    check();
    assert!(SqliteReader::open_read_only(&place.path().with_extension("none")).is_err());
}

#[tokio::test]
async fn what_was_answered_survives_a_crash_at_any_time() {
    let place = Place::new(DATABASE);
    let store = place.open();
    for number in 1..=20 {
        record(&*store, &sid(number), 10).await;
        claim_one(&*store, 10).await;
        let crashed = place.path().with_extension(format!("crashed-{number}"));
        copy_as_after_a_crash(&place.path(), &crashed);
        let disagreements = reader(&crashed).verify_consistency();
        assert_eq!(disagreements.expect("readable"), Vec::<String>::new());
        let reopened = (DATABASE.open)(&crashed);
        let recorded = record(&*reopened, &sid(number), 20).await;
        assert_eq!(recorded, Recorded::Repeated);
        let due = claim(&*reopened, 20, 100).await.len();
        assert_eq!(due, usize::try_from(number).expect("small"));
    }
}

/// SIDs in no order, as Twilio's are.
fn scattered(number: u32) -> CallSid {
    sid(number.wrapping_mul(2_654_435_761))
}

/// Enough names that the first ones are sorted into the index while the last ones are not.
#[tokio::test]
async fn calls_are_found_while_and_after_their_names_are_sorted_in() {
    const CALLS: u32 = 140_000;
    let place = Place::new(DATABASE);
    let store = Arc::new(place.open());
    let mut number = 0;
    while number < CALLS {
        let mut group = tokio::task::JoinSet::new();
        for number in number..number + 500 {
            let (store, call) = (Arc::clone(&store), scattered(number));
            group.spawn(async move { record(&**store, &call, 0).await });
        }
        for recorded in group.join_all().await {
            assert_eq!(recorded, Recorded::New);
        }
        number += 500;
    }
    let store = {
        drop(store);
        place.open()
    };
    for number in (0..CALLS).step_by(997) {
        let call = scattered(number);
        assert_eq!(record(&*store, &call, 1).await, Recorded::Repeated);
        assert!(store.get(&call).await.expect("read").is_some());
    }
    drop(store);
    let connection = Connection::open(place.path()).expect("opened");
    let count = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, u32>(0));
    let sorted = count("SELECT count(*) FROM sid_index").expect("counted");
    let fresh = count("SELECT count(*) FROM sid_log").expect("counted");
    assert!(sorted >= 65_536, "{sorted} names are sorted in");
    assert!(fresh < CALLS, "the sorted ones were swept");
    assert_eq!(place.disagreements(), Vec::<String>::new());
}

#[tokio::test]
async fn the_files_and_a_backup_are_for_their_owner_alone() {
    let place = Place::new(DATABASE);
    let store = place.open();
    record(&*store, &sid(1), 10).await;
    let reader = reader(&place.path());
    let backup = place.path().with_extension("backup");
    reader.back_up(&backup).expect("there is room");
    let named = |end: &str| format!("{}{end}", place.path().display()).into();
    for path in [named(""), named("-wal"), named("-shm"), backup.clone()] {
        let mode = fs::metadata(&path).expect("a file").permissions().mode();
        assert_eq!(mode & 0o077, 0, "{}", path.display());
    }
    let again = reader.back_up(&backup).expect_err("it is there");
    assert!(again.to_string().contains("choose another path"), "{again}");
}
