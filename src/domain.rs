//!

pub mod attempt;
pub mod breaker;
pub mod directory;
pub mod outage;
pub mod plan;
pub mod plural;
pub mod recording_link;
pub mod retry;
