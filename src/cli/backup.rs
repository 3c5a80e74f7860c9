//! `backup`: a copy of the store as it is at one moment.

use std::path::PathBuf;

use super::{CliError, ConfigArgs, Exit};
use crate::store;

/// Copy the store, whether a bridge runs or not.
///
/// The copy is of one moment, complete and on disk before its name appears. To restore it, stop
/// the bridge, let store.url name the copy (or put it there, without the -wal and -shm files that
/// belong to the old one), and start. What Acquire took after the copy was made is sent again.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  twilio-acquire-bridge backup /var/backups/bridge-$(date +%F).db")]
pub struct Backup {
    #[command(flatten)]
    config: ConfigArgs,
    /// Where to; nothing may be there yet.
    path: PathBuf,
}

impl Backup {
    pub fn run(self) -> Result<Exit, CliError> {
        let (url, _) = self.config.load_for_reading()?;
        store::open_to_read(&url)?.back_up(&self.path)?;
        eprintln!("copied {url} to {}", self.path.display());
        Ok(Exit::Done)
    }
}
