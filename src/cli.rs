//! The command line: the table of commands, their exit codes and errors.
//!
//! Each command has its own file; `output` prints for all of them. A command holds no rule about
//! calls: it calls the library and prints the result.

mod act_target;
mod admin_client;
mod audit;
mod backup;
mod call_filter;
mod callback_url;
mod check;
mod completions;
mod config_args;
mod demo;
mod dismiss;
mod doctor;
mod ephemeral_bridge;
mod erase;
mod export;
mod health;
mod list;
mod man;
mod migrate;
mod operate;
mod output;
mod private_files;
mod reconcile;
mod refused;
mod replan;
mod replay;
mod report;
mod requeue;
mod serve;
mod show;
mod sign;
mod signing_keys;
mod sink;
mod spool;
mod status;
mod verify;
mod watched;

use std::fmt;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::config_args::ConfigArgs;
use self::output::print_error;
use crate::config::ConfigError;

/// The exit code of a command; a contract with scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The command did all that was asked.
    Done = 0,
    /// The command failed, or the signature to verify is invalid.
    Failed = 1,
    /// The command line or the configuration is wrong, or the request to verify cannot be read.
    Usage = 2,
    /// Some items did not succeed, or Ctrl-C stopped the command.
    Partial = 3,
}

/// Why a command failed, in one sentence.
#[derive(Debug)]
pub enum CliError {
    /// Ends with [`Exit::Usage`].
    Usage(String),
    /// Ends with [`Exit::Failed`].
    Failed(anyhow::Error),
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(why) => f.write_str(why),
            Self::Failed(why) => write!(f, "{why:#}"),
        }
    }
}

/// Every error of the library is a failure, but a mistake in the configuration is one of usage.
impl<E: Into<anyhow::Error>> From<E> for CliError {
    fn from(error: E) -> Self {
        let error: anyhow::Error = error.into();
        match error.downcast::<ConfigError>() {
            Ok(mistakes) => Self::Usage(mistakes.to_string()),
            Err(failure) => Self::Failed(failure),
        }
    }
}

/// Declares the commands, each with the type that parses and runs it.
macro_rules! commands {
    ($($name:ident($command:ty),)*) => {
        #[derive(Debug, Subcommand)]
        enum Command {
            $($name($command),)*
        }

        impl Command {
            fn run(self) -> Result<Exit, CliError> {
                match self {
                    $(Self::$name(command) => command.run(),)*
                }
            }
        }
    };
}

/// The name of the program, as the package installs it.
const PROGRAM: &str = "twilio-acquire-bridge";

const EXIT_CODES: &str = "Exit codes:
  0  done
  1  failed, invalid signature (verify), or problems found (doctor, status,
     callback-url)
  2  wrong usage or configuration, or unreadable input (verify)
  3  some items did not succeed, or Ctrl-C stopped the command, which then
     prints what it did";

/// Forward ended Twilio Voice calls to Acquire, with retries; lose none.
#[derive(Debug, Parser)]
#[command(version, about, after_help = EXIT_CODES, max_term_width = 80)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

commands! {
    Serve(serve::Serve),
    Demo(demo::Demo),
    Check(check::Check),
    Doctor(doctor::Doctor),
    Health(health::HealthCommand),
    CallbackUrl(callback_url::CallbackUrl),
    Replay(replay::Replay),
    Sign(sign::Sign),
    Verify(verify::Verify),
    Sink(sink::SinkCommand),
    List(list::List),
    Show(show::Show),
    Status(status::Status),
    Export(export::Export),
    Requeue(requeue::Requeue),
    Dismiss(dismiss::Dismiss),
    Erase(erase::Erase),
    Audit(audit::Audit),
    Reconcile(reconcile::Reconcile),
    Replan(replan::Replan),
    Report(report::ReportCommand),
    Backup(backup::Backup),
    Migrate(migrate::Migrate),
    Completions(completions::Completions),
    Man(man::ManCommand),
}

impl Cli {
    /// Runs the command and prints its error, if any, as one line on stderr.
    pub fn run(self) -> ExitCode {
        let exit = match self.command.run() {
            Ok(exit) => exit,
            Err(CliError::Usage(why)) => {
                why.lines().for_each(print_error);
                Exit::Usage
            }
            Err(CliError::Failed(why)) if is_broken_pipe(&why) => Exit::Done,
            Err(why) => {
                print_error(&why.to_string());
                Exit::Failed
            }
        };
        ExitCode::from(exit as u8)
    }
}

/// Whether the reader of stdout closed it, as `head` does: that is not a failure.
fn is_broken_pipe(why: &anyhow::Error) -> bool {
    why.downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::output::COLUMNS;

    const PROGRAM: &str = "twilio-acquire-bridge ";

    #[test]
    fn the_command_line_is_well_formed() {
        super::Cli::command().debug_assert();
    }

    #[test]
    fn each_help_fits_a_terminal_and_its_examples_are_valid_command_lines() {
        let mut program = super::Cli::command();
        program.build();
        help_is_well_formed(&mut program);
        program.get_subcommands_mut().for_each(help_is_well_formed);
    }

    fn help_is_well_formed(command: &mut clap::Command) {
        let name = command.get_name().to_owned();
        let about = command.get_about().expect("a summary").to_string();
        assert!(about.chars().count() <= 70, "{name}: {about}");
        let help = command.render_long_help().to_string();
        assert!(!help.contains("\\\""), "{name}: an escaped quote");
        for line in help.lines() {
            assert!(line.chars().count() <= COLUMNS, "{name}: {line}");
        }
        let notes = command.get_after_help().map(ToString::to_string);
        for line in notes.unwrap_or_default().lines() {
            let is_whole = help
                .lines()
                .any(|shown| shown.trim_end() == line.trim_end());
            assert!(is_whole, "{name}: wrapped: {line}");
        }
        for example in examples(&help) {
            let parsed = super::Cli::try_parse_from(words(&example));
            assert!(parsed.is_ok(), "{name}: {example}: {:?}", parsed.err());
        }
    }

    /// Commands that run until they are stopped, or print what only a person or a shell reads.
    const WITHOUT_DATA: [&str; 5] = ["serve", "demo", "sink", "completions", "man"];

    #[test]
    fn each_command_that_prints_data_has_json() {
        let program = super::Cli::command();
        let has_json = |command: &clap::Command| {
            let mut names = command.get_arguments().filter_map(clap::Arg::get_long);
            names.any(|name| name == "json")
        };
        for command in program.get_subcommands() {
            let name = command.get_name();
            assert_ne!(has_json(command), WITHOUT_DATA.contains(&name), "{name}");
        }
    }

    /// The command lines in a help text, with their continuation lines and up to a pipe or a file.
    fn examples(help: &str) -> Vec<String> {
        let joined = help.replace("\\\n", "").replace("$(date +%F)", "today");
        let lines = joined.lines().filter(|line| line.starts_with("  "));
        let command = |line: &str| {
            let command = &line[line.rfind(PROGRAM)?..];
            let end = command.find(" | ").or(command.find(" > "));
            Some(command[..end.unwrap_or(command.len())].to_owned())
        };
        lines.filter_map(command).collect()
    }

    /// Splits a command line as a shell does, as far as the examples need it.
    fn words(line: &str) -> Vec<String> {
        let parts = line.split('\'').enumerate();
        let words = parts.flat_map(|(place, part)| match place % 2 {
            0 => part.split_whitespace().collect(),
            _ => vec![part],
        });
        words.map(str::to_owned).collect()
    }
}
