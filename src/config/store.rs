//! `[store]`: where calls are kept, and for how long.

use std::path::PathBuf;

use super::load::{days, minutes};
use super::postgres::PostgresUrl;
use super::reader::SettingsReader;
use super::{SpoolSettings, StoreSettings, StoreUrl};

/// Reads the whole section.
pub(super) fn read(reader: &mut SettingsReader) -> Option<StoreSettings> {
    let url = url(reader);
    let spool = spool(reader);
    let retention = reader.duration("store.retention", minutes(1)..=days(3650));
    let parked_retention = reader.duration("store.parked_retention", minutes(1)..=days(3650));
    let check_every = reader.duration("store.check_every", minutes(1)..=days(30));
    Some(StoreSettings {
        url: url?,
        spool: spool?,
        retention: retention?,
        parked_retention: parked_retention?,
        check_every: check_every?,
    })
}

/// Where the store is; a database's URL may hold a password, so it may stand in a file.
pub(super) fn url(reader: &mut SettingsReader) -> Option<StoreUrl> {
    reader.text_or_file("store.url", store_url)
}

/// Where callbacks are kept while the database is away, or that they are not.
pub(super) fn spool(reader: &mut SettingsReader) -> Option<SpoolSettings> {
    reader.text("store.spool", |text| match text {
        "" => Err("must name a file, such as spool.db, or be \"off\"".to_owned()),
        ":memory:" => Err("must name a file, since memory would lose callbacks".to_owned()),
        "off" => Ok(SpoolSettings::Off),
        _ if text.starts_with("sqlite:") => Err(format!(
            "must be a path alone; write \"{}\"",
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
        ":memory:" => Err("must name a file, since memory would lose calls".to_owned()),
        _ if path.starts_with("//") => Err(format!(
            "must have its path directly behind sqlite:; write \"sqlite:{}\"",
            path.trim_start_matches("//")
        )),
        _ => Ok(StoreUrl::Sqlite(PathBuf::from(path))),
    }
}
