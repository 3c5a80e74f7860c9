//! Carries ended Twilio Voice calls to Acquire, and never loses one.
//!
//! The modules, from the outside in. The story of one callback: it arrives at [`server`], which verifies
//! that Twilio signed it ([`twilio::signature`]), reads it ([`twilio::callback`]) and answers once
//! the [`store`] has it on disk. A [`worker`] claims its call, asks [`plan`] what is owed to
//! Acquire, sends that through [`acquire::client`], lets [`retry`] judge the outcome, and settles
//! the call in the store.

pub mod app;
pub mod cli;

pub mod audit;
pub mod directory_file;
pub mod janitor;
pub mod server;
pub mod systemd;
pub mod worker;

pub mod evidence;
pub mod fixture;
pub mod replan;
pub mod replay;
pub mod search;
pub mod sink;
pub mod story;

pub mod media;
pub mod outward;
pub mod store;

pub mod attempt;
pub mod breaker;
pub mod directory;
pub mod plan;
pub mod recording_link;
pub mod redact;
pub mod retry;

pub mod acquire;
pub mod twilio;

pub mod clock;
pub mod config;
pub mod counted;
pub mod metrics;
pub mod outage;
pub mod telemetry;
pub mod tls;
pub mod watched;
