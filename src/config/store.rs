//! `[store]`: where calls and the spool are stored, and for how long.
//!
//! The store is opened in `store/open.rs`.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::duration::{days, minutes};
use super::postgres::PostgresUrl;
use super::reader::SettingsReader;
use super::setting::restart;

/// The store and its retention.
#[derive(Clone, Debug)]
pub struct StoreSettings {
    pub url: StoreUrl,
    pub spool: SpoolSettings,
    /// For delivered and skipped calls.
    pub retention: Duration,
    pub parked_retention: Duration,
    /// Interval of the consistency check, which counts every row.
    pub check_every: Duration,
}

impl StoreSettings {
    /// No call is removed earlier.
    pub fn shortest_retention(&self) -> Duration {
        self.retention.min(self.parked_retention)
    }
}

/// Where callbacks are kept while a shared database is unreachable (`store.spool`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpoolSettings {
    Off,
    At(PathBuf),
}

/// `store.url`; displayed without a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreUrl {
    Sqlite(PathBuf),
    Postgres(Box<PostgresUrl>),
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(url) => url.fmt(f),
        }
    }
}

/// Reads the section.
pub(super) fn read(reader: &mut SettingsReader) -> Option<StoreSettings> {
    let url = url(reader);
    let spool = spool(reader);
    let retention = reader.duration(restart("store.retention"), minutes(1)..=days(3650));
    let parked_retention =
        reader.duration(restart("store.parked_retention"), minutes(1)..=days(3650));
    let check_every = reader.duration(restart("store.check_every"), minutes(1)..=days(30));
    Some(StoreSettings {
        url: url?,
        spool: spool?,
        retention: retention?,
        parked_retention: parked_retention?,
        check_every: check_every?,
    })
}

/// The URL can be in a file of its own, because it may contain a password.
pub(super) fn url(reader: &mut SettingsReader) -> Option<StoreUrl> {
    reader.text_or_file(restart("store.url"), store_url)
}

pub(super) fn spool(reader: &mut SettingsReader) -> Option<SpoolSettings> {
    reader.text(restart("store.spool"), |text| match text {
        "" => Err("must name a file, such as spool.db, or be \"off\"".to_owned()),
        ":memory:" => Err("must name a file, because memory is lost with the process".to_owned()),
        "off" => Ok(SpoolSettings::Off),
        _ if text.starts_with("sqlite:") => Err(format!(
            "must be only a path; write \"{}\"",
            text.trim_start_matches("sqlite:")
        )),
        path => Ok(SpoolSettings::At(PathBuf::from(path))),
    })
}

fn store_url(text: &str) -> Result<StoreUrl, String> {
    let path = match text.split_once(':') {
        Some(("sqlite", path)) => path,
        Some(("postgres" | "postgresql", _)) => {
            let url = PostgresUrl::parse(text)?;
            return Ok(StoreUrl::Postgres(Box::new(url)));
        }
        _ => {
            return Err("must be sqlite:PATH, such as sqlite:bridge.db, or \
                        postgres://USER:PASSWORD@HOST/DATABASE"
                .to_owned());
        }
    };
    match path {
        "" => Err("must be sqlite:PATH, such as sqlite:bridge.db".to_owned()),
        ":memory:" => Err("must name a file, because memory is lost with the process".to_owned()),
        _ if path.starts_with("//") => Err(format!(
            "must have its path directly after sqlite:; write \"sqlite:{}\"",
            path.trim_start_matches("//")
        )),
        _ => Ok(StoreUrl::Sqlite(PathBuf::from(path))),
    }
}
