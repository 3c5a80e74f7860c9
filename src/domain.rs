//! The rules of the bridge: what is sent, when it is retried, when deliveries pause.
//!
//! Nothing here does I/O, reads the time, or knows SQL or TOML.
pub mod attempt;
pub mod audit;
pub mod breaker;
pub mod call_addresses;
pub mod call_filter;
pub mod call_state;
pub mod cause;
pub mod class;
pub mod condition;
pub mod directory;
pub mod duration;
pub mod failing_calls;
pub mod message;
pub mod operation;
pub mod outage;
pub mod plain_text;
pub mod plan;
pub mod plural;
pub mod purge_clock;
pub mod reconcile;
pub mod recording_link;
pub mod report_mode;
pub mod retry;
pub mod shares;
pub mod subject;
pub mod watch;
pub mod webhook;
