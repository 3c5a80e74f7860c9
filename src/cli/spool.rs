//! The spool of this machine: the calls that wait in it for the database.

use std::fmt;
use std::path::Path;

use super::CliError;
use crate::clock::Millis;
use crate::config::{SpoolSettings, StoreUrl};
use crate::domain::plural::counted;
use crate::store::{ListFilter, OpenError, ReadStore as _, SqliteReader};

/// The contents of a spool.
pub enum SpoolContents {
    NoFile,
    Nothing,
    Calls {
        count: usize,
        /// When the first callback of them arrived.
        since: Millis,
    },
}

/// A predicate; the subject of the sentence is the file.
impl fmt::Display for SpoolContents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFile => f.write_str("does not exist yet; serve will create it"),
            Self::Nothing => f.write_str("is empty"),
            Self::Calls { count, since } => {
                let calls = counted(*count, "call");
                write!(f, "holds {calls} for the database since {since}")
            }
        }
    }
}

/// Whether there is no such file. One in a folder that this user may not enter is not missing: opening it
/// gives the right error.
pub fn is_missing(path: &Path) -> bool {
    matches!(path.try_exists(), Ok(false))
}

/// The file of the spool; only a PostgreSQL store has one.
pub fn path<'a>(url: &StoreUrl, spool: &'a SpoolSettings) -> Option<&'a Path> {
    match (url, spool) {
        (StoreUrl::Postgres(_), SpoolSettings::At(path)) => Some(path),
        _ => None,
    }
}

/// Reads the spool at `path`; a bridge may be using it.
pub fn read(path: &Path) -> Result<SpoolContents, CliError> {
    if is_missing(path) {
        return Ok(SpoolContents::NoFile);
    }
    let (mut count, mut since) = (0, None::<Millis>);
    SqliteReader::open_read_only(path)?.find(ListFilter::ALL, &mut |call| {
        count += 1;
        let received = call.first_received;
        since = Some(since.map_or(received, |first| first.min(received)));
        Ok(false)
    })?;
    Ok(
        since.map_or(SpoolContents::Nothing, |since| SpoolContents::Calls {
            count,
            since,
        }),
    )
}

/// An error for a store that cannot be opened, with the contents of the spool.
pub fn with_spooled(why: OpenError, url: &StoreUrl, spool: &SpoolSettings) -> CliError {
    let Some(path) = path(url, spool) else {
        return why.into();
    };
    let shown = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let shown = shown.display();
    CliError::Failed(match read(path) {
        Ok(spooled @ SpoolContents::Calls { .. }) => {
            anyhow::anyhow!(
                "{why}; {shown} (store.spool) {spooled}; show CALLSID also reads the spool"
            )
        }
        Ok(spooled) => anyhow::anyhow!("{why}; {shown} (store.spool) {spooled}"),
        Err(_) => anyhow::anyhow!("{why}; {shown} (store.spool) cannot be read either"),
    })
}
