//! Parses the command line, runs the command, and turns its end into an exit code.

use std::process::ExitCode;

use clap::Parser as _;
use twilio_acquire_bridge::cli::Cli;

fn main() -> ExitCode {
    Cli::parse().run()
}
