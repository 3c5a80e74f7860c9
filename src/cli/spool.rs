//! The spool of this machine: what waits in it for a database that may be away.

use std::fmt;
use std::path::Path;

use super::CliError;
use crate::clock::Millis;
use crate::config::{SpoolSettings, StoreUrl};
use crate::domain::plural::counted;
use crate::store::{ListFilter, OpenError, ReadStore as _, SqliteReader};

/// What is in a spool.
pub enum SpoolContents {
    NoFile,
    Nothing,
    Calls {
        count: usize,
        /// When the first of them was told of.
        since: Millis,
    },
}

/// Follows the file's name in a sentence.
impl fmt::Display for SpoolContents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFile => f.write_str("is not there yet; serve will make it"),
            Self::Nothing => f.write_str("has nothing that waits for the database"),
            Self::Calls { count, since } => {
                let calls = counted(*count, "call");
                write!(f, "has kept {calls} for the database since {since}")
            }
        }
    }
}

/// The file of the spool; a store that is a file itself has none.
pub fn path<'a>(url: &StoreUrl, spool: &'a SpoolSettings) -> Option<&'a Path> {
    match (url, spool) {
        (StoreUrl::Postgres(_), SpoolSettings::At(path)) => Some(path),
        _ => None,
    }
}

/// What is in the spool at `path`, which a bridge may use meanwhile.
pub fn look(path: &Path) -> Result<SpoolContents, CliError> {
    if !path.exists() {
        return Ok(SpoolContents::NoFile);
    }
    let (mut count, mut since) = (0, None::<Millis>);
    let all = ListFilter {
        state: None,
        limit: usize::MAX,
    };
    SqliteReader::open_read_only(path)?.find(all, &mut |call| {
        count += 1;
        let told = call.first_received;
        since = Some(since.map_or(told, |first| first.min(told)));
        Ok(false)
    })?;
    Ok(
        since.map_or(SpoolContents::Nothing, |since| SpoolContents::Calls {
            count,
            since,
        }),
    )
}

/// Why the store cannot be looked into, and what of it is in the spool meanwhile.
pub fn with_spooled(why: OpenError, url: &StoreUrl, spool: &SpoolSettings) -> CliError {
    let Some(path) = path(url, spool) else {
        return why.into();
    };
    let shown = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let shown = shown.display();
    CliError::Failed(match look(path) {
        Ok(spooled @ SpoolContents::Calls { .. }) => {
            anyhow::anyhow!("{why}; {shown} (store.spool) {spooled}: show CALLSID looks there too")
        }
        Ok(spooled) => anyhow::anyhow!("{why}; {shown} (store.spool) {spooled}"),
        Err(_) => anyhow::anyhow!("{why}; {shown} (store.spool) cannot be read either"),
    })
}
