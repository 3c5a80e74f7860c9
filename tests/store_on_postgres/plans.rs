//! The SQL: how many pages it reads, as the server counts them, and that it pastes into psql.

use std::fs;
use std::path::Path;

use twilio_acquire_bridge::clock::Millis;
use twilio_acquire_bridge::store::{NextState, Recorded, Store};

use crate::postgres::{DATABASE, MANUAL_CLOCK, name, open};
use crate::support::postgres_server::Server;
use crate::support::store_suite::place::{Place, callback, claim, record, retry_now, settle, sid};

/// Inserts 9,000 calls with a SID and a callback each: one third delivered, pending and claimed.
const GROW: &str = "\
    INSERT INTO call (sid, account, state, effective_at, changed, received, callbacks, attempts, \
        requeue_count, planned_callbacks, claim, node, lease_end) \
    SELECT 'CAf' || lpad(n::text, 31, '0'), 'AC' || lpad('1', 32, '0'), \
        CASE n % 3 WHEN 0 THEN 'delivered' ELSE 'pending' END, 1000, 0, 0, 1, 0, 0, 0, \
        CASE n % 3 WHEN 1 THEN 1000000 + n END, CASE n % 3 WHEN 1 THEN 1 END, \
        CASE n % 3 WHEN 1 THEN 1000 END \
    FROM generate_series(1, 9000) AS n; \
    INSERT INTO sid_index (sid, account, call) SELECT sid, account, id FROM call WHERE sid LIKE 'CAf%'; \
    INSERT INTO callback (call, key, leg, received, url, headers, body) \
    SELECT id, 'key', sid, 0, '', '', '' FROM call WHERE sid LIKE 'CAf%'";

const PAGES_READ: &str = "SELECT sum(heap_blks_read + heap_blks_hit + idx_blks_read + idx_blks_hit) \
    FROM pg_statio_user_tables WHERE relname IN ('call', 'sid_index', 'callback', 'attempt')";

/// A connection reports its reads when it ends, before it leaves this list.
const CONNECTIONS: &str = "SELECT count(*) FROM pg_stat_activity \
    WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";

const PSQL_ONLY: &str = " AND application_name = 'psql'";

// The server plans a statement once for each connection, here while the tables are empty. A plan that
// scans a whole table is as cheap then, and would be used later too.
#[tokio::test]
async fn an_operation_reads_no_more_when_the_tables_grow() {
    let server = Server::start(&["autovacuum=off"]);
    let store = open(&server, MANUAL_CLOCK);
    run_all_operations(&store, 0).await;
    server.sql(GROW);
    wait_until_closed(&server, &format!("{CONNECTIONS}{PSQL_ONLY}"));
    let before = pages_read(&server);
    run_all_operations(&store, 10).await;
    drop(store);
    wait_until_closed(&server, CONNECTIONS);
    let read = pages_read(&server) - before;
    assert!(
        (1..2_000).contains(&read),
        "{read} pages were read for two calls"
    );
}

#[tokio::test]
async fn a_retry_now_reads_no_backlog_of_fresh_calls() {
    let server = Server::start(&["autovacuum=off"]);
    let store = open(&server, MANUAL_CLOCK);
    retry_now(&store, 1).await;
    server.sql(GROW);
    server.sql("DELETE FROM call WHERE claim IS NOT NULL");
    server.sql("VACUUM call");
    wait_until_closed(&server, &format!("{CONNECTIONS}{PSQL_ONLY}"));
    let before = pages_read(&server);
    retry_now(&store, 2000).await;
    drop(store);
    wait_until_closed(&server, CONNECTIONS);
    let read = pages_read(&server) - before;
    assert!(read < 60, "{read} pages were read for no call");
}

#[tokio::test]
async fn each_sql_file_can_be_prepared_in_psql() {
    let place = Place::new(DATABASE);
    place.open().ping().await.expect("migrated");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/postgres/sql");
    let shared = fs::read_to_string(folder.join("accounts_with_due.sql")).expect("the shared part");
    for file in fs::read_dir(folder).expect("the folder") {
        let path = file.expect("a file").path();
        if path.ends_with("accounts_with_due.sql") {
            continue;
        }
        let sql = fs::read_to_string(&path).expect("SQL");
        let start = if sql.starts_with("-- Continues accounts_with_due.sql") {
            &shared
        } else {
            ""
        };
        let prepare = format!("PREPARE file AS\n{start}{sql}");
        Server::shared().sql_in(&name(&place.path()), &prepare);
    }
}

fn wait_until_closed(server: &Server, connections: &str) {
    while server.sql(connections) != "0" {
        std::thread::yield_now();
    }
}

fn pages_read(server: &Server) -> i64 {
    server.sql(PAGES_READ).parse().expect("a number")
}

/// A call with a repeated callback and a leg that was reported before it, until it is delivered.
async fn run_all_operations(store: &dyn Store, first: u32) {
    let (call, leg) = (sid(first + 1), sid(first + 2));
    record(store, &leg, 1).await;
    for (number, callback) in [
        callback(&call, &call, "ringing"),
        callback(&call, &call, "completed"),
        callback(&call, &leg, "busy"),
        callback(&call, &call, "completed"),
    ]
    .into_iter()
    .enumerate()
    {
        let recorded = store.record(callback, Millis(2)).await.expect("recorded");
        assert_eq!(recorded == Recorded::Repeated, number == 3);
    }
    let claimed = claim(store, 3, 9).await;
    assert_eq!(claimed.len(), 1);
    settle(store, &claimed[0], NextState::PendingAt(Millis(4)), 3).await;
    let claimed = claim(store, 5, 9).await;
    assert_eq!(claimed[0].attempts.len(), 1);
    settle(store, &claimed[0], NextState::Delivered, 5).await;
}
