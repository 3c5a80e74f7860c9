//! Carries ended Twilio Voice calls to Acquire, and never loses one.
//!
//! The rooms, from the bottom up: a room imports those above it in this list, never those below.

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
