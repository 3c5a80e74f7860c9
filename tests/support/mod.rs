//! What several test binaries share. Each binary includes this folder once and uses a part of it.

pub mod certified;
pub mod failing;
pub mod harness;
pub mod http;
pub mod ledger;
pub mod pages;
pub mod port;
pub mod postgres_server;
pub mod process;
pub mod real;
pub mod reconciled;
pub mod sender;
pub mod serve;
pub mod store_suite;
pub mod twilio;
