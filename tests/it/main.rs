//! Tests that share no database with one another: the commands, the client for Acquire, settings,
//! fixtures, signatures, and rules about the source and the pages.

mod acquire;
mod architecture;
mod calls_page;
mod cli_doctor;
mod cli_errors;
mod cli_replay;
mod cli_shell;
mod cli_sign;
mod cli_terminal;
mod closed_labels;
mod config;
mod dependencies;
mod docs;
mod fixtures;
mod reference_model;
mod scenarios;
mod signature;
#[expect(dead_code, reason = "each test binary uses a part of it")]
#[path = "../support/mod.rs"]
mod support;
mod twilio_api;
mod watch;
