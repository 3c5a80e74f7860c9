//! `backup`: copies the store as it is at one moment.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::output::{OutputArgs, OutputFormat, bytes_bar, note, print_json};
use super::watched::watched;
use super::{CliError, ConfigArgs, Exit};
use crate::config::{StoreUrl, partial};
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
    fn copy(&self, url: &StoreUrl) -> Result<(), CliError> {
        let (reader, _) = self.config.open_to_read()?;
        let size = |path: &Path| std::fs::metadata(path).map_or(0, |file| file.len());
        let bar = match url {
            StoreUrl::Sqlite(path) => bytes_bar(size(path)),
            StoreUrl::Postgres(_) => bytes_bar(0),
        };
        let partial = store::sqlite::partial_copy(&self.path);
        let growing = partial.clone();
        let stopped = move || {
            // If this fails, the name still says that the copy is not complete.
            let _ = std::fs::remove_file(&partial);
            "stopped; no copy was made".to_owned()
        };
        Ok(watched(
            &bar,
            move || size(&growing),
            stopped,
            || reader.back_up(&self.path),
        )??)
    }

    pub fn run(self) -> Result<Exit, CliError> {
        let (url, _) = self.config.load_part(partial::store_and_rules)?;
        self.copy(&url)?;
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
