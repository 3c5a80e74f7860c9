//! What concerns the embedded database alone.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use rusqlite::Connection;
use twilio_acquire_bridge::clock::{self, Millis};
use twilio_acquire_bridge::store::spool::with_spooled;
use twilio_acquire_bridge::store::sqlite::{SqliteReader, SqliteStore, look_from_outside};
use twilio_acquire_bridge::store::{
    ClaimRequest, Expiry, HandOver, LeaseClock, ListFilter, NextState, OpenError, ReadStore as _,
    Recorded, RefusedLimits, Store, StoreError, StoreWarning,
};
use twilio_acquire_bridge::twilio::CallSid;

use twilio_acquire_bridge::domain::operation::{OperationChange, OperationState};
use twilio_acquire_bridge::store::erasure::Compaction;

use crate::support::store_suite::auditing::alice;
use crate::support::store_suite::erasing;
use crate::support::store_suite::place::{
    Database, LEASE, Place, Room, account, callback, claim, claim_one, of_account, record, settle,
    sid,
};

pub const DATABASE: Database = Database {
    sequences: 96,
    make: |_| {},
    remove: |_| {},
    open: |path| {
        let store = SqliteStore::open_with(path, LeaseClock::Caller);
        Box::new(store.expect("the file can be opened"))
    },
    read: |path| Box::new(reader(path)),
    sql: |path, sql| {
        let connection = Connection::open(path).expect("opened");
        connection.execute_batch(sql).expect("changed");
    },
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
async fn a_second_owner_is_refused_until_the_first_has_ended() {
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
async fn a_new_call_is_claimed_as_it_is_recorded() {
    let place = Place::new(DATABASE);
    let store = place.open();
    let room = Room::new();
    let first = room.record(&*store, callback(&sid(1), &sid(1), "completed"), 10);
    let (handed, _) = first.await;
    let call = handed.expect("the call");
    assert_eq!(
        (&call.sid, call.callbacks[0].received),
        (&sid(1), Millis(10))
    );
    // Its lease ends like that of any other claim.
    assert!(claim(&*store, 10, 9).await.is_empty());
    let lease_end = 10 + i64::try_from(LEASE.as_millis()).expect("a time");
    assert_eq!(claim(&*store, lease_end, 9).await.len(), 1);
}

#[tokio::test]
async fn a_callback_that_cannot_be_stored_claims_nothing() {
    let place = Place::new(DATABASE);
    let store = place.open();
    place.changes(
        "CREATE TRIGGER full BEFORE INSERT ON callback BEGIN SELECT raise(ABORT, 'no room'); END",
    );
    let (hand_over, mut handed) = HandOver::new(Arc::default());
    handed.permits.add_permits(1);
    hand_over.open(LEASE);
    let offer = hand_over.offer().expect("there is room");
    let recorded = store.record_for(callback(&sid(1), &sid(1), "completed"), Millis(10), offer);
    assert!(recorded.await.is_err());
    assert!(handed.next().now_or_never().is_none());
    place.changes("DROP TRIGGER full");
    record(&*store, &sid(1), 20).await;
    assert_eq!(claim(&*store, 20, 9).await.len(), 1, "no lease is left");
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
    while store.purge(expiry, 50).await.expect("purged").removed() > 0 {}
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

/// Personal data in a refused request and in callbacks of 60 calls.
const PLANTED: [&str; 4] = [
    "12025550177",
    "jane.planted@example.com",
    "CA0000000000000000000000000000000",
    "planted-in-a-refused-request",
];

/// Which of [`PLANTED`] the raw files beside `path` have.
fn found_in_files(path: &Path) -> Vec<String> {
    let folder = path.parent().expect("a folder");
    let mut found = Vec::new();
    for file in fs::read_dir(folder).expect("listed") {
        let file = file.expect("a file").path();
        let bytes = fs::read(&file).expect("read");
        for planted in PLANTED {
            let needle = planted.as_bytes();
            if bytes.windows(needle.len()).any(|part| part == needle) {
                found.push(format!("{planted} in {}", file.display()));
            }
        }
    }
    found
}

async fn plant(store: &dyn Store) {
    for number in 1..=60 {
        let mut callback = callback(&sid(number), &sid(number), "completed");
        let form = String::from_utf8(callback.request.body.to_vec()).expect("text");
        callback.request.body =
            format!("{form}&From=%2B12025550177&Pad={}", "x".repeat(700)).into();
        callback
            .request
            .url
            .push_str("?email=jane.planted@example.com");
        let recorded = store.record(callback, Millis(0)).await;
        assert_eq!(recorded.expect("recorded"), Recorded::New);
        let claimed = claim_one(store, 0).await;
        settle(store, &claimed, NextState::Delivered, 1).await;
    }
    let refused = erasing::refused("planted-in-a-refused-request");
    let kept = |now| {
        (
            RefusedLimits {
                most: 9,
                retention: Duration::from_secs(1),
            },
            Millis(now),
        )
    };
    for (requests, now) in [(vec![refused], 0), (Vec::new(), 2_000)] {
        let (limits, now) = kept(now);
        store.refuse(requests, limits, now).await.expect("kept");
    }
}

const ALL_EXPIRED: Expiry = Expiry {
    now: Millis(2),
    delivered_and_skipped: Millis(2),
    parked: Millis(2),
};

#[tokio::test]
async fn removed_data_is_in_no_file() {
    let place = Place::new(DATABASE);
    let store = place.open();
    plant(&*store).await;
    assert!(
        !found_in_files(&place.path()).is_empty(),
        "the files are the right ones"
    );
    while store
        .purge(ALL_EXPIRED, 50)
        .await
        .expect("purged")
        .removed()
        > 0
    {}
    assert_eq!(found_in_files(&place.path()), Vec::<String>::new());
    drop(store);
    assert_eq!(found_in_files(&place.path()), Vec::<String>::new());
}

#[tokio::test]
async fn erased_data_is_in_no_file() {
    let place = Place::new(DATABASE);
    let store: Arc<dyn Store> = place.open().into();
    plant(&*store).await;
    let limits = RefusedLimits {
        most: 9,
        retention: Duration::from_secs(9),
    };
    let request = erasing::refused("planted-in-a-refused-request&From=%2B12025550177");
    let kept = store.refuse(vec![request], limits, Millis(5)).await;
    kept.expect("kept");
    erasing::makes(&*store, "+12025550177", Compaction::Off).await;
    let rows = "SELECT row FROM operation";
    let row: String = Connection::open(place.path())
        .expect("opened")
        .query_row(rows, [], |row| row.get(0))
        .expect("its row");
    assert!(row.contains("12025550177"), "so that any node can go on");
    assert_eq!(found_in_files(&place.path()).len(), 4, "all are in the log");
    let done = erasing::carries_out(&store).await;
    assert_eq!(done.state, OperationState::Done, "{done:?}");
    assert_eq!(done.done, 60);
    assert_eq!(found_in_files(&place.path()), Vec::<String>::new());
    drop(store);
    assert_eq!(found_in_files(&place.path()), Vec::<String>::new());
}

#[tokio::test]
async fn a_cancelled_erasure_leaves_its_value_in_no_file() {
    let place = Place::new(DATABASE);
    let store = place.open();
    while store
        .purge(ALL_EXPIRED, 50)
        .await
        .expect("purged")
        .removed()
        > 0
    {}
    let made = erasing::makes(&*store, "+12025550177", Compaction::Off).await;
    let cancel = OperationChange::Cancel;
    let cancelled = store.change_operation(made.id, cancel, None, alice(), Millis(200));
    let cancelled = cancelled.await.expect("changed").expect("known");
    assert_eq!(cancelled.state, OperationState::Cancelled);
    assert_eq!(found_in_files(&place.path()).len(), 1, "the log");
    store.purge(ALL_EXPIRED, 50).await.expect("purged");
    assert_eq!(found_in_files(&place.path()), Vec::<String>::new());
}

#[tokio::test]
async fn an_erasure_fails_and_names_the_file_that_still_has_the_value() {
    let place = Place::new(DATABASE);
    let store: Arc<dyn Store> = place.open().into();
    plant(&*store).await;
    // As what another program left in the file.
    let other = Connection::open(place.path()).expect("opened");
    other
        .execute_batch("CREATE TABLE other (x); INSERT INTO other VALUES ('+1 202 555 0177')")
        .expect("written");
    erasing::makes(&*store, "+12025550177", Compaction::Off).await;
    let done = erasing::carries_out(&store).await;
    assert_eq!(done.state, OperationState::Failed);
    let receipt = done.receipt().expect("a receipt");
    assert!(
        receipt.found_in[0].contains("bridge.db at byte"),
        "{receipt:?}"
    );
}

#[tokio::test]
async fn data_that_a_reader_kept_from_being_removed_goes_with_the_next_purge_and_is_named() {
    let place = Place::new(DATABASE);
    let store = place.open();
    plant(&*store).await;
    let other = Connection::open(place.path()).expect("opened");
    other
        .execute_batch("BEGIN; SELECT * FROM call")
        .expect("read");
    while store
        .purge(ALL_EXPIRED, 50)
        .await
        .expect("purged")
        .removed()
        > 0
    {}
    assert_eq!(store.warning(), Some(StoreWarning::LogPinned));
    other.execute_batch("COMMIT").expect("its end");
    let purged = store.purge(ALL_EXPIRED, 50).await;
    assert_eq!(purged.expect("purged").removed(), 0);
    assert_eq!(store.warning(), None);
    assert_eq!(found_in_files(&place.path()), Vec::<String>::new());
}

#[tokio::test]
async fn a_write_lock_of_another_program_is_named_and_outlived() {
    let place = Place::new(DATABASE);
    let store = place.open();
    let other = Connection::open(place.path()).expect("opened");
    other.execute_batch("BEGIN IMMEDIATE").expect("locked");
    let started = Instant::now();
    let refused = store.ping().await.expect_err("it is locked");
    assert!(matches!(refused, StoreError::Locked), "{refused}");
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
    assert!(
        refused
            .to_string()
            .contains("another program holds the write lock"),
        "{refused}"
    );
    assert_eq!(store.warning(), Some(StoreWarning::WriteLocked));
    let found = look_from_outside(&place.path()).expect("looked");
    assert_eq!(found, [StoreWarning::WriteLocked]);
    other.execute_batch("ROLLBACK").expect("its end");
    store.ping().await.expect("it can be written");
    assert_eq!(store.warning(), None);
    assert_eq!(look_from_outside(&place.path()).expect("looked"), []);
}

#[tokio::test]
async fn a_reader_that_makes_the_log_grow_is_named() {
    let place = Place::new(DATABASE);
    let store = place.open();
    let other = Connection::open(place.path()).expect("opened");
    other
        .execute_batch("BEGIN; SELECT * FROM call")
        .expect("read");
    for number in 0..400 {
        let mut callback = callback(&sid(number), &sid(number), "completed");
        callback.request.body = vec![b'x'; 60_000].into();
        store.record(callback, Millis(0)).await.expect("recorded");
    }
    assert!(store.files().log_bytes > 20 << 20, "{:?}", store.files());
    let named = Instant::now() + Duration::from_secs(60);
    while store.warning() != Some(StoreWarning::LogPinned) {
        assert!(Instant::now() < named, "the reader is not named");
        store.ping().await.expect("written");
    }
    let found = look_from_outside(&place.path()).expect("looked");
    assert_eq!(found, [StoreWarning::LogPinned]);
    other.execute_batch("COMMIT").expect("its end");
    while store.warning().is_some() {
        assert!(Instant::now() < named, "the warning stays");
        store.ping().await.expect("written");
    }
}

#[tokio::test]
async fn a_jump_of_the_wall_clock_ends_no_lease_and_keeps_none() {
    let place = Place::new(DATABASE);
    let store = SqliteStore::open(&place.path()).expect("a new file");
    record(&store, &sid(1), 0).await;
    let lease = Duration::from_millis(300);
    let claims = async |now: i64, lease| {
        let claims = store.claim(Millis(now), lease, ClaimRequest::any(9)).await;
        claims.expect("claimed").calls.len()
    };
    let year = 365 * 24 * 3_600 * 1_000;
    let started = Instant::now();
    assert_eq!(claims(10 * year, lease).await, 1);
    // Ten years forward or back: the lease goes on, and ends with the time that really passed.
    let claimed = claims(20 * year, lease).await;
    assert!(claimed == 0 || started.elapsed() >= lease);
    while claims(1, lease).await == 0 {
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "the lease never ends"
        );
        clock::pause(Duration::from_millis(10)).await;
    }
    assert!(started.elapsed() >= lease);
}

/// Two accounts signed one SID, the second one while the database was down.
#[tokio::test]
async fn a_call_in_the_spool_is_read_beside_the_call_of_another_account() {
    let (database, spool) = (Place::new(DATABASE), Place::new(DATABASE));
    let (known, spooled) = (database.open(), spool.open());
    record(&*known, &sid(1), 0).await;
    for number in [1, 2] {
        let signed = of_account(number, &sid(1), &sid(1), "completed");
        spooled.record(signed, Millis(0)).await.expect("recorded");
    }
    let in_spool = spooled.get_all(&sid(1)).await.expect("read");
    let accounts = |known| {
        let calls = with_spooled(known, in_spool.clone())?;
        let seen = calls
            .into_iter()
            .map(|call| (call.summary.account, call.summary.due.is_none()));
        Ok::<_, StoreError>(seen.collect::<Vec<_>>())
    };
    let both = accounts(known.get_all(&sid(1)).await).expect("read");
    assert_eq!(both, [(account(1), false), (account(2), true)]);
    let down = || Err(StoreError::Unavailable("down".into()));
    let during_outage = accounts(down()).expect("read");
    assert_eq!(during_outage, [(account(1), true), (account(2), true)]);
    assert!(with_spooled(down(), Vec::new()).is_err());
}
