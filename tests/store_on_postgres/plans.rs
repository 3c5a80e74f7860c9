//! How much of the database a verb reads, as the database itself counts it.

use twilio_acquire_bridge::clock::Millis;
use twilio_acquire_bridge::store::{NextState, Recorded, Store};

use crate::postgres::{BY_HAND, open};
use crate::support::postgres_server::Server;
use crate::support::store_suite::place::{callback, claim, record, settle, sid};

/// Each has a callback and a name; a third are at rest, a third wait, and a third are claimed.
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

const READ: &str = "SELECT sum(heap_blks_read + heap_blks_hit + idx_blks_read + idx_blks_hit) \
    FROM pg_statio_user_tables WHERE relname IN ('call', 'sid_index', 'callback', 'attempt')";

/// Connections tell what they read when they end, and leave this list after that.
const CONNECTIONS: &str = "SELECT count(*) FROM pg_stat_activity \
    WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";

const OURS: &str = " AND application_name = 'psql'";

/// The server plans a statement once for each connection, here while there is nothing: a plan that
/// reads a whole table is as good then, and would be kept.
#[tokio::test]
async fn what_a_verb_reads_does_not_grow_with_what_is_kept() {
    let server = Server::start(&["autovacuum=off"]);
    let store = open(&server, BY_HAND);
    go_the_whole_way(&store, 0).await;
    server.sql(GROW);
    have_ended(&server, &format!("{CONNECTIONS}{OURS}"));
    let before = read(&server);
    go_the_whole_way(&store, 10).await;
    drop(store);
    have_ended(&server, CONNECTIONS);
    let read = read(&server) - before;
    assert!(
        (1..2_000).contains(&read),
        "{read} pages were read for two calls"
    );
}

fn have_ended(server: &Server, connections: &str) {
    while server.sql(connections) != "0" {
        std::thread::yield_now();
    }
}

fn read(server: &Server) -> i64 {
    server.sql(READ).parse().expect("a number")
}

/// For a call that ends, one more callback, a repeat, and the end of a leg that came first.
async fn go_the_whole_way(store: &dyn Store, first: u32) {
    let (call, leg) = (sid(first + 1), sid(first + 2));
    record(store, &leg, 1).await;
    for (number, told) in [
        callback(&call, &call, "ringing"),
        callback(&call, &call, "completed"),
        callback(&call, &leg, "busy"),
        callback(&call, &call, "completed"),
    ]
    .into_iter()
    .enumerate()
    {
        let recorded = store.record(told, Millis(2)).await.expect("recorded");
        assert_eq!(recorded == Recorded::Repeated, number == 3);
    }
    let claimed = claim(store, 3, 9).await;
    assert_eq!(claimed.len(), 1);
    settle(store, &claimed[0], NextState::PendingAt(Millis(4)), 3).await;
    let claimed = claim(store, 5, 9).await;
    assert_eq!(claimed[0].attempts.len(), 1);
    settle(store, &claimed[0], NextState::Delivered, 5).await;
}
