//! The same database with a spool before it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use twilio_acquire_bridge::store::spooled::Spooled;

use crate::place::Database;
use crate::postgres;

/// A busy machine has time enough, so that nothing goes to the spool but what should.
const PATIENCE: Duration = Duration::from_secs(60);

pub const DATABASE: Database = Database {
    open: |path| {
        let database = Arc::from((postgres::DATABASE.open)(path));
        let spool = spool(path);
        Box::new(Spooled::open(database, &spool, PATIENCE).expect("a spool"))
    },
    ..postgres::DATABASE
};

fn spool(path: &Path) -> std::path::PathBuf {
    path.with_file_name("spool.db")
}
