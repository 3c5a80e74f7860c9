//!

pub mod export;
pub mod fake_acquire;
pub mod fake_twilio;
pub mod fixture;
pub mod redact;
pub mod replan;
pub mod search;
pub mod timeline;
