//! Closes the store of a bridge that has stopped.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::clock;
use crate::store::Store;

/// How long the threads of a stopped bridge may take to let go of the store.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Closes it once all threads have let go of it, so that its file is whole and free for the next
/// owner; for a moment only, since a crash would lose nothing either.
pub async fn close(store: Arc<dyn Store>) {
    let until = Instant::now() + CLOSE_TIMEOUT;
    while Arc::strong_count(&store) > 1 && Instant::now() < until {
        clock::pause(Duration::from_millis(2)).await;
    }
}
