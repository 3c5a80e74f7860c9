//! The option `--config`: each command loads the part of the configuration that it needs.

use std::ffi::OsString;
use std::path::Path;

use clap::Args;
use clap::builder::OsStringValueParser;

use super::spool::is_missing;
use super::{CliError, spool};
use crate::config::{self, Config, ConfigError, Explained, SettingsReader, StoreUrl, partial};
use crate::domain::plan::Rules;
use crate::store::{self, ReadStore, SqliteReader};

/// Where a command finds its configuration if none is given: the first that exists.
const FILES: [&str; 2] = ["bridge.toml", "/etc/twilio-acquire-bridge/bridge.toml"];

/// Where the configuration is read from.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// Configuration file (TOML). Without it ./bridge.toml, or else
    /// /etc/twilio-acquire-bridge/bridge.toml, if there is one.
    #[arg(long, value_name = "FILE", env = "BRIDGE_CONFIG", value_parser = OsStringValueParser::new())]
    config: Option<OsString>,
}

impl ConfigArgs {
    /// The configuration file, if there is one. An empty variable is ignored.
    pub fn file(&self) -> Option<&Path> {
        let given = self.config.as_ref().filter(|given| !given.is_empty());
        match given {
            Some(given) => Some(Path::new(given)),
            // One in a folder that this user may not enter is an error, not a missing file.
            None => FILES.iter().map(Path::new).find(|file| !is_missing(file)),
        }
    }

    pub fn load(&self) -> Result<Config, ConfigError> {
        config::load(self.file(), environment())
    }

    /// The configuration, and each setting with its origin.
    pub fn explain(&self) -> Result<Explained, ConfigError> {
        config::explain(self.file(), environment())
    }

    /// A part of the configuration, read by a function of [`config::partial`]; no other secret has to be set.
    pub fn load_part<T>(
        &self,
        read: impl FnOnce(&mut SettingsReader) -> Option<T>,
    ) -> Result<T, ConfigError> {
        config::load_part(self.file(), environment(), read)
    }

    /// Opens the spool of this machine for reading, if there is one.
    pub fn open_spool(&self) -> Result<Option<SqliteReader>, CliError> {
        let (url, spool) = (
            self.load_part(partial::store_and_rules)?.0,
            self.load_part(partial::spool)?,
        );
        let path = spool::path(&url, &spool).filter(|path| !is_missing(path));
        Ok(path.map(SqliteReader::open_read_only).transpose()?)
    }

    /// Opens the store for reading, and loads the rules by which its calls are planned.
    pub fn open_to_read(&self) -> Result<(Box<dyn ReadStore>, Rules), CliError> {
        let (url, rules) = self.load_part(partial::store_and_rules)?;
        if let StoreUrl::Sqlite(path) = &url
            && is_missing(path)
        {
            let advice = match self.file() {
                _ if path.is_relative() => {
                    "A relative path is resolved from the current directory: run from the bridge's \
                     working directory, or set an absolute path"
                        .to_owned()
                }
                Some(file) => format!("serve creates it; the configuration is {}", file.display()),
                None => "serve creates it".to_owned(),
            };
            return Err(CliError::Failed(anyhow::anyhow!(
                "no store at {} (store.url). {advice}",
                path.display()
            )));
        }
        match store::open_to_read(&url) {
            Ok(reader) => Ok((reader, rules)),
            Err(why) => Err(spool::with_spooled(
                why,
                &url,
                &self.load_part(partial::spool)?,
            )),
        }
    }
}

/// The Unix user as the environment claims it, for the audit log.
pub fn unix_user() -> String {
    let names = ["SUDO_USER", "USER", "LOGNAME"];
    let set: Vec<(String, String)> = environment().collect();
    let of = |name: &str| {
        set.iter()
            .find(|(key, value)| key == name && !value.is_empty())
    };
    let user = names.into_iter().find_map(of);
    user.map_or_else(|| "unknown".to_owned(), |(_, user)| user.clone())
}

/// The environment. A variable that is not UTF-8 is kept in readable form, so that the setting that it
/// breaks is named.
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
