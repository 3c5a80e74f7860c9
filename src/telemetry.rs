//! Logs and metrics.
//!
//! Nothing here holds state that a decision depends on.
pub mod logs;
pub mod metrics;
pub mod terminal;
