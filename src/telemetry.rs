//! Logs and metrics.
//!
//! Nothing here holds state that a decision depends on.
pub mod logs;
pub mod metrics;
mod process;
pub mod terminal;
