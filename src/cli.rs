//! The commands. Data goes to stdout, everything else to stderr.

mod admin_client;
mod backup;
mod call_filter;
mod callback_url;
mod check;
mod demo;
mod doctor;
mod ephemeral_bridge;
mod export;
mod health;
mod list;
mod migrate;
mod output;
mod refused;
mod replan;
mod replay;
mod requeue;
mod serve;
mod show;
mod sign;
mod signing_keys;
mod sink;
mod spool;
mod verify;

use std::io::{IsTerminal as _, Write as _, stderr};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::app::AppError;
use crate::config::{self, Config, ConfigError, SpoolSettings, StoreUrl, partial};
use crate::domain::plan::Rules;
use crate::store::{self, OpenError, ReadStore, StoreError};
use crate::twilio::signature::PublicUrl;

/// How a command ended; a contract with scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All was done.
    Done = 0,
    /// It failed, or what was to be verified is invalid.
    Failed = 1,
    /// The command line or the configuration is wrong.
    Usage = 2,
    /// Some items did not succeed.
    Partial = 3,
}

/// Why a command could not be done, in one sentence for a person.
#[derive(Debug)]
pub enum CliError {
    /// Ends with [`Exit::Usage`].
    Usage(String),
    /// Ends with [`Exit::Failed`].
    Failed(anyhow::Error),
}

impl From<anyhow::Error> for CliError {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

macro_rules! failed {
    ($($error:ty),*) => {$(
        impl From<$error> for CliError {
            fn from(error: $error) -> Self {
                Self::Failed(error.into())
            }
        }
    )*};
}

failed!(
    std::io::Error,
    serde_json::Error,
    AppError,
    OpenError,
    StoreError
);

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        Self::Usage(error.to_string())
    }
}

const EXIT_CODES: &str = "Exit codes:
  0  done
  1  failed, (verify) invalid, or (doctor, callback-url) with findings
  2  wrong usage or configuration
  3  some items did not succeed";

/// Carries ended Twilio Voice calls to Acquire, and never loses one.
#[derive(Debug, Parser)]
#[command(version, about, after_help = EXIT_CODES, max_term_width = 80)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
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
    Export(export::Export),
    Requeue(requeue::Requeue),
    Replan(replan::Replan),
    Backup(backup::Backup),
    Migrate(migrate::Migrate),
}

/// Where the configuration is read from.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// The configuration (TOML); without one, defaults and environment alone count.
    #[arg(long, value_name = "FILE", env = "BRIDGE_CONFIG")]
    config: Option<PathBuf>,
}

impl ConfigArgs {
    fn load(&self) -> Result<Config, ConfigError> {
        config::load(self.config.as_deref(), environment())
    }

    /// What `replay` needs: no account has to be set up.
    fn load_for_dry_run(&self) -> Result<(Option<PublicUrl>, Rules), ConfigError> {
        let (urls, rules) = config::load_part(
            self.config.as_deref(),
            environment(),
            partial::urls_and_rules,
        )?;
        Ok((urls.into_iter().next(), rules))
    }

    /// What `list` and `show` need: no secret is read.
    fn load_for_reading(&self) -> Result<(StoreUrl, Rules), ConfigError> {
        config::load_part(
            self.config.as_deref(),
            environment(),
            partial::store_and_rules,
        )
    }

    fn load_spool(&self) -> Result<SpoolSettings, ConfigError> {
        config::load_part(self.config.as_deref(), environment(), partial::spool)
    }

    /// The store to look into, and the rules that its calls are planned by.
    fn open_to_read(&self) -> Result<(Box<dyn ReadStore>, Rules), CliError> {
        let (url, rules) = self.load_for_reading()?;
        if let StoreUrl::Sqlite(path) = &url
            && !path.exists()
        {
            return Err(CliError::Failed(anyhow::anyhow!(
                "there is no {} (store.url); a relative path counts from this folder, and \
                 --config names the configuration of the bridge",
                path.display()
            )));
        }
        match store::open_to_read(&url) {
            Ok(reader) => Ok((reader, rules)),
            Err(why) => Err(spool::with_spooled(why, &url, &self.load_spool()?)),
        }
    }
}

/// How a command prints its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OutputFormat {
    Text,
    Json,
}

/// Prints one line of data; whoever reads it may have gone (`list | head`).
fn print_line(line: impl std::fmt::Display) -> std::io::Result<()> {
    writeln!(std::io::stdout().lock(), "{line}")
}

/// Of a terminal; what cannot be broken, such as a URL, may be longer.
const COLUMNS: usize = 80;

/// A text in lines of at most [`COLUMNS`], all but the first behind `indent` spaces.
fn wrapped(text: &str, indent: usize) -> String {
    let mut lines = String::new();
    let mut width = indent;
    for word in text.split(' ') {
        let length = word.chars().count();
        if width > indent && width + 1 + length > COLUMNS {
            lines.push('\n');
            lines.push_str(&" ".repeat(indent));
            width = indent;
        } else if width > indent {
            lines.push(' ');
            width += 1;
        }
        lines.push_str(word);
        width += length;
    }
    lines
}

/// Tells what went wrong: in one line, which only a terminal gets broken between words.
fn print_error(why: &str) {
    if stderr().is_terminal() {
        eprintln!("error: {}", wrapped(why, 7));
    } else {
        eprintln!("error: {why}");
    }
}

/// The environment; what is no UTF-8 is shown as such where a setting is wrong, not passed over.
#[expect(
    clippy::disallowed_methods,
    reason = "the command line is where the environment comes in"
)]
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().map(|(name, value)| {
        let lossy = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        (lossy(name), lossy(value))
    })
}

impl Cli {
    /// Runs the command; what went wrong is told in one line on stderr.
    #[must_use]
    pub fn run(self) -> ExitCode {
        let end = match self.command {
            Command::Serve(command) => command.run(),
            Command::Demo(command) => command.run(),
            Command::Check(command) => command.run(),
            Command::Doctor(command) => command.run(),
            Command::Health(command) => command.run(),
            Command::CallbackUrl(command) => command.run(),
            Command::Replay(command) => command.run(),
            Command::Sign(command) => command.run(),
            Command::Verify(command) => command.run(),
            Command::Sink(command) => command.run(),
            Command::List(command) => command.run(),
            Command::Show(command) => command.run(),
            Command::Export(command) => command.run(),
            Command::Requeue(command) => command.run(),
            Command::Replan(command) => command.run(),
            Command::Backup(command) => command.run(),
            Command::Migrate(command) => command.run(),
        };
        let exit = match end {
            Ok(exit) => exit,
            Err(CliError::Usage(why)) => {
                why.lines().for_each(print_error);
                Exit::Usage
            }
            Err(CliError::Failed(why)) if nobody_reads(&why) => Exit::Done,
            Err(CliError::Failed(why)) => {
                print_error(&format!("{why:#}"));
                Exit::Failed
            }
        };
        ExitCode::from(exit as u8)
    }
}

/// The reader of stdout has seen enough and closed it.
fn nobody_reads(why: &anyhow::Error) -> bool {
    why.downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_well_formed() {
        super::Cli::command().debug_assert();
    }
}
