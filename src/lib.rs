//! Carries ended Twilio Voice calls to Acquire, and never loses one.
//!
//! The top-level modules are rooms. A room imports only rooms on its left, and `twilio` and `acquire`
//! do not import each other. A test reads the order here:
//!
//! ```text
//! clock < twilio | acquire < net < domain < config < store < telemetry < delivery < debugging < server < app < cli
//! ```

pub mod acquire;
pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod debugging;
pub mod delivery;
pub mod domain;
pub mod net;
pub mod server;
pub mod store;
pub mod telemetry;
pub mod twilio;
