//! What tells old work from new.

use std::time::Duration;

use crate::clock::Millis;

/// Calls that have been due so long are a backlog, which fills what fresh calls leave free.
pub const BACKLOG: Duration = Duration::from_secs(120);

/// Since when a call is due that is requeued at `now`: part of a backlog, however many there are.
pub(super) fn due_of_requeued(now: Millis) -> Millis {
    now.minus(BACKLOG + Duration::from_millis(1))
}
