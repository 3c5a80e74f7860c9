//! Tools that show, search, export, redact and replay calls, and the fake Twilio and fake Acquire.
//!
//! Nothing here serves callbacks or delivers calls.
pub mod bridge_status;
pub mod export;
pub mod fake_acquire;
mod fake_server;
pub mod fake_twilio;
pub mod fake_twilio_api;
pub mod fixture;
pub mod missing_call;
pub mod recent_calls;
pub mod redact;
pub mod repair;
pub mod replan;
pub mod report;
pub mod search;
pub mod state_words;
pub mod timeline;
