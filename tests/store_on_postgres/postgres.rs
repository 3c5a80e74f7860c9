//! What only a shared database does: several nodes, outages, migrations and TLS.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use twilio_acquire_bridge::clock::{self, Millis};
use twilio_acquire_bridge::config::postgres::PostgresUrl;
use twilio_acquire_bridge::store::erasure::Compaction;
use twilio_acquire_bridge::store::postgres::{
    self, MIGRATIONS, Migration, PostgresReader, PostgresStore, StoreOptions,
};
use twilio_acquire_bridge::store::{
    ClaimRequest, LeaseClock, ReadStore, Recorded, Store, StoreError,
};

use crate::support::postgres_server::Server;
use crate::support::store_suite::auditing::alice;
use crate::support::store_suite::erasing;
use crate::support::store_suite::place::{
    Database, LEASE, Place, callback, claim, record, sid, sids,
};

/// The test advances the time. The timeout suits a busy machine.
pub const MANUAL_CLOCK: StoreOptions = StoreOptions {
    lease_clock: LeaseClock::Caller,
    timeout: Duration::from_secs(60),
};

pub const DATABASE: Database = Database {
    sequences: 24,
    make: |path| {
        let name = name(path);
        Server::shared().sql(&format!("CREATE DATABASE {name}"));
    },
    remove: |path| {
        let name = name(path);
        Server::shared().sql(&format!("DROP DATABASE {name} WITH (FORCE)"));
    },
    open: |path| {
        let url = parsed(&Server::shared().url(&name(path)));
        Box::new(PostgresStore::open(&url, MANUAL_CLOCK).expect("a thread"))
    },
    read: |path| reader(&Server::shared().url(&name(path))),
    sql: |path, sql| {
        Server::shared().sql_in(&name(path), sql);
    },
};

/// The name of the database that replaces the file at `path`.
pub fn name(path: &Path) -> String {
    let folder = path.parent().expect("a folder").as_os_str();
    folder
        .as_encoded_bytes()
        .iter()
        .fold("bridge".to_owned(), |name, byte| {
            format!("{name}{byte:02x}")
        })
}

pub fn url_of(place: &Place) -> String {
    Server::shared().url(&name(&place.path()))
}

fn parsed(url: &str) -> PostgresUrl {
    PostgresUrl::parse(url).expect("a URL")
}

pub fn reader(url: &str) -> Box<dyn ReadStore> {
    let reader = PostgresReader::open(&parsed(url)).expect("the database can be read");
    Box::new(reader)
}

pub fn open(server: &Server, options: StoreOptions) -> PostgresStore {
    PostgresStore::open(&parsed(&server.url("postgres")), options).expect("a thread")
}

/// As in production, with a timeout that suits a busy machine.
const LONG_TIMEOUT: StoreOptions = StoreOptions {
    lease_clock: LeaseClock::Store,
    timeout: Duration::from_secs(60),
};

#[tokio::test]
async fn leases_are_measured_with_the_clock_of_the_database() {
    let place = Place::new(DATABASE);
    let url = parsed(&Server::shared().url(&name(&place.path())));
    let [dead, alive] =
        [(); 2].map(|()| PostgresStore::open(&url, LONG_TIMEOUT).expect("a thread"));
    record(&dead, &sid(1), 0).await;
    // One node's clock is slow, the other's is fast.
    let lease = Duration::from_millis(700);
    let started = Instant::now();
    let claimed = dead.claim(Millis(9), lease, ClaimRequest::any(9)).await;
    assert_eq!(claimed.expect("claimed").calls.len(), 1);
    let future = Millis(4_000_000_000_000);
    loop {
        let rescued = alive.claim(future, LEASE, ClaimRequest::any(9)).await;
        if rescued.expect("claimed").calls.len() == 1 {
            break;
        }
        clock::pause(Duration::from_millis(20)).await;
    }
    assert!(
        started.elapsed() + Duration::from_millis(100) > lease,
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn nodes_that_claim_at_the_same_time_never_claim_the_same_call() {
    let place = Place::new(DATABASE);
    let nodes: [Arc<dyn Store>; 3] = std::array::from_fn(|_| place.open().into());
    for number in 0..300 {
        record(&*nodes[0], &sid(number), 0).await;
    }
    let claiming = nodes.iter().map(|node| {
        let node = Arc::clone(node);
        tokio::spawn(async move {
            let mut mine = Vec::new();
            loop {
                let claims = node
                    .claim(Millis(1), LEASE, ClaimRequest::any(7))
                    .await
                    .expect("claimed");
                if claims.calls.is_empty() && claims.next_due.is_none() {
                    return mine;
                }
                mine.extend(sids(&claims.calls));
            }
        })
    });
    let mut claimed = Vec::new();
    for mine in futures_util::future::join_all(claiming).await {
        claimed.extend(mine.expect("no panic"));
    }
    assert_eq!(claimed.len(), 300);
    claimed.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    claimed.dedup();
    assert_eq!(claimed.len(), 300);
}

#[tokio::test]
async fn nodes_that_record_one_call_at_the_same_time_store_each_callback_once() {
    let place = Place::new(DATABASE);
    let nodes: [Arc<dyn Store>; 3] = std::array::from_fn(|_| place.open().into());
    let mut new = 0;
    for call in (0..40).map(|call| 10 * call) {
        // A chain of parents, 0 <- 1 <- 2: all links at the same time, each on two nodes.
        let links = [(0, 0), (0, 1), (1, 2)];
        let recording = (0..6).map(|turn| {
            let (parent, leg) = links[turn % 3];
            let ended = callback(&sid(call + parent), &sid(call + leg), "completed");
            let node = Arc::clone(&nodes[(turn + turn / 3) % 3]);
            tokio::spawn(async move { node.record(ended, Millis(1)).await.expect("recorded") })
        });
        for recorded in futures_util::future::join_all(recording).await {
            new += usize::from(recorded.expect("no panic") == Recorded::New);
        }
        let found = nodes[0]
            .get(&sid(call + 2))
            .await
            .expect("read")
            .expect("known");
        assert_eq!(found.summary.sid, sid(call));
        assert_eq!(found.callbacks.len(), 3);
    }
    assert_eq!(new, 120);
    assert_eq!(place.disagreements(), Vec::<String>::new());
}

#[tokio::test]
async fn a_call_and_its_counter_are_one_transaction_also_the_first_of_a_connection() {
    let place = Place::new(DATABASE);
    // xmin is the transaction that wrote a row.
    let uncounted = "SELECT count(*) FROM call WHERE xmin NOT IN (SELECT xmin FROM counters)";
    for number in 0..3 {
        // A new store has new connections.
        let store = place.open();
        record(&*store, &sid(number), 0).await;
        let uncounted = Server::shared().sql_in(&name(&place.path()), uncounted);
        assert_eq!(uncounted, "0", "of {} calls", number + 1);
    }
}

#[tokio::test]
async fn two_nodes_in_a_deadlock_retry_before_the_server_detects_it() {
    let server = Arc::new(Server::start(&["deadlock_timeout=1min"]));
    let options = StoreOptions {
        timeout: Duration::from_secs(20),
        ..StoreOptions::default()
    };
    let store = open(&server, options);
    // A leg with a call of its own, and its parent's call.
    record(&store, &sid(2), 0).await;
    record(&store, &sid(1), 0).await;
    // Another session locks the leg's call and then waits for the parent's, which merging locks first.
    let lock = |call| {
        format!(
            "SELECT 1 FROM call WHERE sid = '{}' FOR UPDATE; ",
            sid(call)
        )
    };
    let other = format!("BEGIN; {}SELECT pg_sleep(1); {}COMMIT", lock(2), lock(1));
    let psql = Arc::clone(&server);
    let other = tokio::task::spawn_blocking(move || psql.sql(&other));
    let asleep = "SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
    while server.sql(asleep) != "t" {
        tokio::task::yield_now().await;
    }
    let merging = store.record(callback(&sid(1), &sid(2), "completed"), Millis(1));
    assert_eq!(merging.await.expect("merged"), Recorded::New);
    other.await.expect("the other session commits as well");
}

#[tokio::test]
async fn a_call_that_is_merged_while_a_requeue_waits_for_it_is_not_requeued() {
    let server = Arc::new(Server::start(&[]));
    let store = open(&server, LONG_TIMEOUT);
    record(&store, &sid(1), 0).await;
    // Another session merges the call once the requeue waits for its lock.
    let merge = "DO $$ BEGIN UPDATE call SET callbacks = 0, state = 'skipped', cause = 'part-of-another'; \
        FOR attempt IN 1..1000 LOOP \
            EXIT WHEN EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted); \
            PERFORM pg_sleep(0.01); \
        END LOOP; END $$";
    let psql = Arc::clone(&server);
    let merge = tokio::task::spawn_blocking(move || psql.sql(merge));
    let asleep = "SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
    while server.sql(asleep) != "t" {
        tokio::task::yield_now().await;
    }
    let store: &dyn Store = &store;
    let requeued = store.requeue(&sid(1), alice(), None, Millis(1)).await;
    assert!(!requeued.expect("asked"));
    merge.await.expect("merged");
    assert_eq!(server.sql("SELECT state FROM call"), "skipped");
}

#[tokio::test]
async fn nodes_check_consistency_one_after_the_other() {
    let place = Place::new(DATABASE);
    place.open().ping().await.expect("migrated");
    let name = name(&place.path());
    let locked = name.clone();
    // Holds the lock like a node that checks, until another session waits for it.
    let counts = "DO $$ BEGIN PERFORM pg_advisory_lock(x'54774143'::int); \
        FOR look IN 1..6000 LOOP \
            IF EXISTS (SELECT 1 FROM pg_locks JOIN pg_database ON pg_database.oid = database \
                WHERE locktype = 'advisory' AND NOT granted AND datname = current_database()) \
            THEN RETURN; END IF; \
            PERFORM pg_sleep(0.01); \
        END LOOP; RAISE 'no session waits'; END $$";
    let other = tokio::task::spawn_blocking(move || Server::shared().sql_in(&locked, counts));
    let is_locked = "SELECT count(*) > 0 FROM pg_locks JOIN pg_database ON pg_database.oid = database \
        WHERE locktype = 'advisory' AND granted AND datname = current_database()";
    while Server::shared().sql_in(&name, is_locked) != "t" {
        tokio::task::yield_now().await;
    }
    assert_eq!(place.disagreements(), Vec::<String>::new());
    other.await.expect("the check waited");
}

#[tokio::test]
async fn nodes_that_open_an_empty_database_at_the_same_time_migrate_it_once() {
    let place = Place::new(DATABASE);
    let nodes: [Box<dyn Store>; 8] = std::array::from_fn(|_| place.open());
    let pings = futures_util::future::join_all(nodes.iter().map(|node| node.ping())).await;
    assert!(pings.iter().all(Result::is_ok), "{pings:?}");
    let once = "SELECT count(*) = max(version) AND count(*) > 0 FROM migration";
    assert_eq!(Server::shared().sql_in(&name(&place.path()), once), "t");
}

#[tokio::test]
async fn a_newer_database_is_used_as_long_as_it_allows_this_version() {
    let place = Place::new(DATABASE);
    place.open().ping().await.expect("migrated");
    let server = Server::shared();
    let known = server.sql_in(&name(&place.path()), "SELECT max(version) FROM migration");
    let known: u32 = known.parse().expect("a version");
    let newer = |works_with: u32| {
        let note = format!(
            "INSERT INTO migration VALUES ({}, {works_with})",
            70 + works_with
        );
        server.sql_in(&name(&place.path()), &note);
    };
    newer(known);
    place
        .open()
        .ping()
        .await
        .expect("an expanded database is used");
    newer(known + 1);
    let refused = place
        .open()
        .ping()
        .await
        .expect_err("a contracted one is not");
    assert!(refused.to_string().contains("newer version"), "{refused}");
}

#[tokio::test]
async fn a_later_migration_is_applied_once_while_a_node_of_this_version_works() {
    let place = Place::new(DATABASE);
    let node = place.open();
    record(&*node, &sid(1), 10).await;
    let url = url_of(&place);
    let next = Migration {
        sql: "ALTER TABLE call ADD COLUMN note text NOT NULL DEFAULT 'none'",
        works_with: 1,
    };
    let migrated = tokio::task::spawn_blocking(move || {
        let migrations = [MIGRATIONS[0], next];
        [(); 2].map(|()| postgres::migrate(&parsed(&url), &migrations).expect("migrated"))
    });
    let versions = migrated.await.expect("no panic").map(|m| (m.from, m.to));
    assert_eq!(versions, [(1, 2), (2, 2)]);
    record(&*node, &sid(2), 10).await;
    assert_eq!(claim(&*place.open(), 10, 9).await.len(), 2);
}

#[tokio::test]
async fn a_database_of_a_development_version_is_refused_as_such() {
    let place = Place::new(DATABASE);
    let tables = "CREATE TABLE tally (); CREATE TABLE migration (version integer, works_with integer); \
                  INSERT INTO migration VALUES (1, 1), (2, 1)";
    Server::shared().sql_in(&name(&place.path()), tables);
    let refused = place.open().ping().await.expect_err("no release reads it");
    assert!(
        refused.to_string().contains("a development version"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_database_that_is_down_or_hangs_fails_operations_in_time_and_is_used_again() {
    let server = Server::start(&[]);
    server.stop();
    let timeout = Duration::from_secs(4);
    let store = open(
        &server,
        StoreOptions {
            timeout,
            ..StoreOptions::default()
        },
    );
    // An outage that is not yet known takes the timeout, and a busy machine adds to it.
    let undetected = timeout + Duration::from_secs(30);
    let fails_in_time = async |within: Duration| {
        let started = Instant::now();
        let refused = store
            .record(callback(&sid(1), &sid(1), "busy"), Millis(1))
            .await;
        assert!(
            matches!(refused, Err(StoreError::Unavailable(_))),
            "{refused:?}"
        );
        let took = started.elapsed();
        assert!(took < within, "{took:?}");
    };
    let works_again = async || {
        let deadline = Instant::now() + Duration::from_secs(60);
        while let Err(why) = store
            .record(callback(&sid(1), &sid(1), "busy"), Millis(1))
            .await
        {
            assert!(
                matches!(why, StoreError::Unavailable(_)) && Instant::now() < deadline,
                "{why}"
            );
            clock::pause(Duration::from_millis(20)).await;
        }
    };
    fails_in_time(timeout).await;
    server.start_again();
    works_again().await;
    server.freeze();
    fails_in_time(undetected).await;
    fails_in_time(timeout).await;
    server.thaw();
    works_again().await;
    server.crash();
    fails_in_time(timeout).await;
    server.start_again();
    works_again().await;
    drop(store);
    let callbacks = server.sql("SELECT count(*) FROM callback");
    assert_eq!(callbacks, "1", "the repeats are recognised");
}

#[tokio::test]
async fn the_server_is_trusted_as_the_url_says() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.display().to_string()
    };
    let root = file("root.pem", made.cert.pem());
    let server = Server::with_tls(&made.cert.pem(), &made.signing_key.serialize_pem());
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("another");
    let other = file("other.pem", other.cert.pem());
    let by_name = server.url("postgres").replace("127.0.0.1", "localhost");
    for (url, is_trusted) in [
        (format!("{by_name}?sslmode=require"), true),
        (
            format!("{by_name}?sslmode=verify-full&sslrootcert={root}"),
            true,
        ),
        (
            format!("{by_name}?sslmode=verify-full&sslrootcert={other}"),
            false,
        ),
        (format!("{by_name}?sslmode=verify-full"), false),
    ] {
        let store = PostgresStore::open(&parsed(&url), LONG_TIMEOUT).expect("a thread");
        let answer = store.ping().await;
        assert_eq!(answer.is_ok(), is_trusted, "{url}: {answer:?}");
    }
}

#[tokio::test]
async fn calls_of_a_claim_in_doubt_are_claimed_again_before_their_lease_ends() {
    let server = Server::start(&[]);
    let store = open(&server, StoreOptions::default());
    let claimed = async || store.claim(Millis(9), LEASE, ClaimRequest::any(9)).await;
    // Waits until the store is connected and the database is migrated.
    while claimed().await.is_err() {
        clock::pause(Duration::from_millis(20)).await;
    }
    let busy = callback(&sid(1), &sid(1), "busy");
    while store.record(busy.clone(), Millis(1)).await.is_err() {
        clock::pause(Duration::from_millis(20)).await;
    }
    server.freeze();
    let lost = claimed().await;
    assert!(matches!(lost, Err(StoreError::Unavailable(_))), "{lost:?}");
    server.thaw();
    let lease_end = Instant::now() + LEASE;
    let is_claimed = "SELECT count(*) FROM call WHERE claim IS NOT NULL";
    while server.sql(is_claimed) != "1" {
        assert!(
            Instant::now() < lease_end,
            "the server still runs the claim"
        );
        clock::pause(Duration::from_millis(20)).await;
    }
    let lease_end = Instant::now() + LEASE;
    while !claimed().await.is_ok_and(|claims| claims.calls.len() == 1) {
        assert!(
            Instant::now() + LEASE / 4 < lease_end,
            "only after its lease"
        );
        clock::pause(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_compacted_erasure_leaves_no_copy_in_the_tables() {
    let place = Place::new(DATABASE);
    let store: Arc<dyn Store> = place.open().into();
    // Calls that stay lie between, so that a VACUUM alone cuts off no pages.
    for number in 2..102 {
        let mut of = callback(&sid(number), &sid(number), "completed");
        let form = String::from_utf8(of.request.body.to_vec()).expect("text");
        let name = if number % 2 == 0 {
            "%2B12025550001"
        } else {
            "ANN"
        };
        of.request.body = format!("{form}&CallerName={name}").into();
        store
            .record(of, Millis(number.into()))
            .await
            .expect("recorded");
    }
    let server = Server::shared();
    let name = name(&place.path());
    let oid = server.sql(&format!(
        "SELECT oid FROM pg_database WHERE datname = '{name}'"
    ));
    let tables = server.folder().join("data/base").join(oid);
    let copies = || {
        server.sql("CHECKPOINT");
        let files = std::fs::read_dir(&tables).expect("listed");
        let needle = b"12025550001";
        let files = files.filter_map(|file| std::fs::read(file.ok()?.path()).ok());
        let copies = files.map(|bytes| {
            bytes
                .windows(needle.len())
                .filter(|part| part == needle)
                .count()
        });
        copies.sum::<usize>()
    };
    assert!(copies() >= 50, "the files are the right ones");
    server.sql_in(&name, "ANALYZE");
    let analysed =
        "SELECT count(*) FROM pg_stats WHERE attname IN ('body', 'headers', 'sent', 'excerpt')";
    assert_eq!(
        server.sql_in(&name, analysed),
        "0",
        "no values are in pg_statistic"
    );
    // As autovacuum's analysis: VACUUM FULL copies removed rows that another transaction can still read.
    let database = name.clone();
    let reader = std::thread::spawn(move || {
        server.sql_in(
            &database,
            "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM note; SELECT pg_sleep(3); COMMIT",
        )
    });
    let is_reading = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(3)%' \
                      AND pid <> pg_backend_pid() AND wait_event = 'PgSleep'";
    while server.sql(is_reading) != "1" {
        clock::pause(Duration::from_millis(20)).await;
    }
    erasing::makes(&*store, erasing::NUMBER, Compaction::Full).await;
    let done = erasing::carries_out(&store).await;
    reader.join().expect("the reader ended");
    assert_eq!(done.done, 50);
    let receipt = done.receipt().expect("a receipt");
    assert!(receipt.files.contains("VACUUM FULL"), "{receipt:?}");
    let beyond = receipt.not_reached.join(", ");
    assert!(beyond.contains("write-ahead log of PostgreSQL"), "{beyond}");
    assert_eq!(copies(), 0);
}
