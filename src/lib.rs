//! Carries ended Twilio Voice calls to Acquire, and never loses one.
//!
//! The story of one callback, in the order of the modules: it arrives at [`server`], which verifies
//! that Twilio signed it ([`twilio::signature`]), reads it ([`twilio::callback`]) and answers once
//! the [`store`] has it on disk. A [`worker`] claims its call, asks [`plan`] what is owed to
//! Acquire, sends that through [`acquire::client`], lets [`retry`] judge the outcome, and settles
//! the call in the store.

pub mod acquire;
pub mod app;
pub mod attempt;
pub mod cli;
pub mod clock;
pub mod config;
pub mod directory;
pub mod directory_file;
pub mod fixture;
pub mod janitor;
pub mod media;
pub mod metrics;
pub mod outward;
pub mod plan;
pub mod recording_link;
pub mod replay;
pub mod retry;
pub mod server;
pub mod sink;
pub mod store;
pub mod story;
pub mod telemetry;
pub mod tls;
pub mod twilio;
pub mod worker;
