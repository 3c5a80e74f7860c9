//! The same database with a spool before it.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use twilio_acquire_bridge::store::spool::SpoolingStore;
use twilio_acquire_bridge::store::{OpenError, Store};

use crate::postgres;
use crate::support::store_suite::place::Database;

/// A busy machine has time enough, so that nothing goes to the spool but what should.
const PATIENCE: Duration = Duration::from_secs(60);

pub const DATABASE: Database = Database {
    open: |path| {
        let database: Arc<dyn Store> = Arc::from((postgres::DATABASE.open)(path));
        let until = Instant::now() + PATIENCE;
        loop {
            match SpoolingStore::open(Arc::clone(&database), &spool(path), PATIENCE) {
                // A process that another test begins holds what is open until it has begun.
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
