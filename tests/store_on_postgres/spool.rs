//! The same database behind a spool.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use twilio_acquire_bridge::app::operations::erasure;
use twilio_acquire_bridge::clock::Clock;
use twilio_acquire_bridge::domain::plan::Rules;
use twilio_acquire_bridge::store::erasure::Compaction;
use twilio_acquire_bridge::store::operations::Edited;
use twilio_acquire_bridge::store::spool::SpoolingStore;
use twilio_acquire_bridge::store::{OpenError, Operation, Store};

use crate::postgres;
use crate::support::store_suite::erasing;
use crate::support::store_suite::place::{Database, Place, record, sid};

/// Long enough for a busy machine, so that only an outage fills the spool.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(60);

pub const DATABASE: Database = Database {
    open: |path| {
        let database: Arc<dyn Store> = Arc::from((postgres::DATABASE.open)(path));
        let until = Instant::now() + COMMIT_TIMEOUT;
        loop {
            match SpoolingStore::open(Arc::clone(&database), &spool(path), COMMIT_TIMEOUT) {
                // A child process that another test starts holds our locks for a moment.
                Err(why) if is_in_use(&why) && Instant::now() < until => std::thread::yield_now(),
                spooled => return Box::new(spooled.expect("a spool")),
            }
        }
    },
    ..postgres::DATABASE
};

fn is_in_use(why: &OpenError) -> bool {
    matches!(why, OpenError::Spool(why) if matches!(**why, OpenError::InUse { .. }))
}

fn spool(path: &Path) -> std::path::PathBuf {
    path.with_file_name("spool.db")
}

#[tokio::test]
async fn each_node_clears_its_spool_and_the_receipt_names_those_that_did_not() {
    let place = Place::new(DATABASE);
    let store: Arc<dyn Store> = place.open().into();
    let now = Clock::system().now();
    let node = erasure::register(&*store, now).await.expect("noted");
    let node = node.expect("a name");
    let again = erasure::register(&*store, now).await.expect("noted");
    assert_eq!(again.as_ref(), Some(&node), "the spool keeps it");
    let old = now.minus(Duration::from_secs(600)).0.to_string();
    let gone = vec![("node/gone".to_owned(), Some(old))];
    store.write_notes(gone).await.expect("noted");
    record(&*store, &sid(1), now.0).await;
    let made = erasing::makes(&*store, erasing::NUMBER, Compaction::Off).await;
    // A node that carries operations out, but has not cleared its spool: the erasure waits for it.
    let mut carrier = erasing::carrier(&store);
    let made_now = Box::new(move |of: &mut Operation| {
        of.made = now;
        Edited::Yes
    });
    store
        .edit_operation(made.id, made_now)
        .await
        .expect("edited");
    let rules = Arc::new(Rules::default());
    for _ in 0..3 {
        carrier.step(&rules).await.expect("a step");
    }
    assert!(store.get(&sid(1)).await.expect("read").is_some());
    carrier.node = Some(node.clone());
    carrier.step(&rules).await.expect("a step");
    let done = erasing::carries_out(&store).await;
    let receipt = done.receipt().expect("a receipt");
    assert_eq!(receipt.removed.calls, 1);
    let beyond = receipt.not_reached.join(", ");
    assert!(beyond.contains("the spool of node gone"), "{beyond}");
    assert!(!beyond.contains(&node), "{beyond}");
}
