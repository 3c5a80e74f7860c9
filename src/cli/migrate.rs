//! `migrate`: updates the schema of the store to this version.
//!
//! The migrations are run by the store.

use serde_json::json;

use super::output::{OutputArgs, OutputFormat, note, print_json};
use super::{CliError, ConfigArgs, Exit};
use crate::config::partial;
use crate::store;

/// Update the store to the schema of this version.
///
/// `serve` does the same when it first opens its store. A SQLite file must not be in use. On
/// PostgreSQL, nodes of the previous version keep working.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  twilio-acquire-bridge migrate")]
pub struct Migrate {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    output: OutputArgs,
}

impl Migrate {
    pub fn run(self) -> Result<Exit, CliError> {
        let (url, _) = self.config.load_part(partial::store_and_rules)?;
        let store::Migrated { from, to } = store::migrate(&url)?;
        if self.output.format() == OutputFormat::Json {
            print_json(&json!({ "store": url.to_string(), "from": from, "to": to }))?;
            return Ok(Exit::Done);
        }
        match from {
            0 => note!("created {url} with schema version {to}"),
            _ if from == to => {
                note!("{url} already has schema version {to}; nothing was changed");
            }
            _ => note!("updated {url} from schema version {from} to {to}"),
        }
        Ok(Exit::Done)
    }
}
