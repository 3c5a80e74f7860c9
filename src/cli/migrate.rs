//! `migrate`: brings the store to this version.

use super::{CliError, ConfigArgs, Exit};
use crate::store;

/// Bring the store to this version, and say what was done.
///
/// `serve` does the same when it first reaches its store. A SQLite file must not be in use; nodes
/// of the version before go on working on a PostgreSQL database.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  twilio-acquire-bridge migrate")]
pub struct Migrate {
    #[command(flatten)]
    config: ConfigArgs,
}

impl Migrate {
    pub fn run(self) -> Result<Exit, CliError> {
        let (url, _) = self.config.load_for_reading()?;
        let store::Migrated { from, to } = store::migrate(&url)?;
        match from {
            0 => eprintln!("made {url} with version {to}"),
            _ if from == to => eprintln!("{url} has version {to} already; nothing was done"),
            _ => eprintln!("brought {url} from version {from} to {to}"),
        }
        Ok(Exit::Done)
    }
}
