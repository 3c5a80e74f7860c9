//! `backup`: copies the store as it is at one moment.

use std::path::PathBuf;

use serde_json::json;

use super::output::{OutputArgs, OutputFormat, note, print_json};
use super::{CliError, ConfigArgs, Exit};
use crate::config::partial;
use crate::store;

/// Copy the store; a bridge may be running.
///
/// The copy is complete and on disk before its name appears. To restore it, stop the bridge, set
/// store.url to the copy (or move it to that path and delete the old -wal and -shm files), and
/// start. Calls that Acquire accepted after the copy was made are sent again.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  twilio-acquire-bridge backup /var/backups/bridge-$(date +%F).db")]
pub struct Backup {
    #[command(flatten)]
    config: ConfigArgs,
    /// File to create; it must not exist.
    path: PathBuf,
    #[command(flatten)]
    output: OutputArgs,
}

impl Backup {
    pub fn run(self) -> Result<Exit, CliError> {
        let (url, _) = self.config.load_part(partial::store_and_rules)?;
        store::open_to_read(&url)?.back_up(&self.path)?;
        match self.output.format() {
            OutputFormat::Json => {
                let bytes = std::fs::metadata(&self.path)?.len();
                let (store, copy) = (url.to_string(), self.path.display().to_string());
                print_json(&json!({ "store": store, "copy": copy, "bytes": bytes }))?;
            }
            OutputFormat::Text => note!("copied {url} to {}", self.path.display()),
        }
        Ok(Exit::Done)
    }
}
