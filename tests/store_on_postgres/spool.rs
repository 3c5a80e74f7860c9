//! The same database behind a spool.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use twilio_acquire_bridge::store::spool::SpoolingStore;
use twilio_acquire_bridge::store::{OpenError, Store};

use crate::postgres;
use crate::support::store_suite::place::Database;

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
