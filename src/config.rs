//! The configuration: reads defaults, file and environment, and checks every setting.
//!
//! Each section has a file, which contains its settings, their readers, and whether a change needs a
//! restart. Here is what concerns several sections. The manual of all keys is `config.default.toml`,
//! which is compiled in as the defaults. Nothing here acts on a setting.

mod accounts;
mod acquire;
mod admin;
mod calls;
mod delivery;
mod directory;
pub use crate::domain::duration;
mod files;
mod layers;
mod log;
mod notify;
mod operators;
pub mod partial;
pub mod postgres;
mod proxy;
mod reader;
mod reconcile;
mod recording;
mod refused;
pub mod reload;
mod report;
mod rules;
mod schema;
mod server;
mod setting;
mod store;
mod toml_value;
mod twilio;

use std::fmt;
use std::path::Path;
use std::time::Duration;

use secrecy::SecretString;

use self::layers::Layers;
use crate::domain::plan::Rules;
use crate::domain::retry::Jitter;
use crate::twilio::AccountSid;

pub use accounts::{Account, ApiKey, doubtful_secrets};
pub use acquire::{AcquirePaths, AcquireSettings};
pub use admin::AdminSettings;
pub use delivery::{DeliverySettings, MAX_RATE_LIMIT_WAIT};
pub use directory::DirectoryFile;
pub use files::FileWatch;
pub use layers::SettingOrigin;
pub use log::{LogFormat, LogSettings};
pub use notify::{MessageFormat, NotifyTarget};
pub use operators::{Operator, Role, SignInProxy};
pub use reader::SettingsReader;
pub use reconcile::ReconcileSettings;
pub use recording::PlaybackSettings;
pub use refused::RefusedSettings;
pub use report::ReportSettings;
pub use rules::to_toml;
pub use schema::schema;
pub use server::{ProxyProtocolSetting, ServerSettings};
pub use setting::Setting;
pub use store::{SpoolSettings, StoreSettings, StoreUrl};
pub use toml_value::MASK;
pub use twilio::TwilioSettings;

/// A configuration as commands show it, also if this user or this file lacks secrets.
#[derive(Debug)]
pub struct Explained {
    pub config: Config,
    /// Every setting, its value and its origin.
    pub settings: Vec<Setting>,
    pub gaps: Vec<SecretGap>,
}

/// A secret that is set, but not known to the command. Each has its sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretGap {
    /// `check` printed the configuration, with `***` for the secret.
    Masked(String),
    /// Its file cannot be read.
    Unreadable(String),
}

impl fmt::Display for SecretGap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Masked(sentence) | Self::Unreadable(sentence) => f.write_str(sentence),
        }
    }
}

/// All mistakes of a configuration, one sentence each.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct ConfigError(pub Vec<String>);

/// The whole configuration of a bridge.
#[derive(Clone, Debug)]
pub struct Config {
    pub server: ServerSettings,
    pub admin: AdminSettings,
    pub store: StoreSettings,
    pub refused: RefusedSettings,
    pub acquire: AcquireSettings,
    pub delivery: DeliverySettings,
    /// Set if Acquire receives links of the bridge.
    pub playback: Option<PlaybackSettings>,
    pub twilio: TwilioSettings,
    pub reconcile: ReconcileSettings,
    pub report: ReportSettings,
    /// The receivers of notifications, in the order of the file.
    pub notify: Vec<NotifyTarget>,
    /// Requested every minute while all is well.
    pub heartbeat: Option<SecretString>,
    /// At least one.
    pub accounts: Vec<Account>,
    /// The rules at the start; `directory_file` can change their directory.
    pub rules: Rules,
    pub directory_file: Option<DirectoryFile>,
    pub log: LogSettings,
    /// Every setting, for the comparison after a reload.
    pub settings: Vec<Setting>,
}

impl Config {
    /// Warnings about settings that are valid but probably wrong, one sentence each.
    pub fn doubts(&self) -> Vec<String> {
        let mut doubts = doubtful_secrets(&self.accounts);
        doubts.extend(self.reconcile.doubt(&self.store));
        doubts
    }

    /// The longest time that a call waits for its next request, with a minute for the difference
    /// between the clocks of two nodes.
    pub fn longest_wait(&self) -> Duration {
        let policy = &self.delivery.policy;
        let longest = policy.schedule.iter().max().copied().unwrap_or_default();
        let waits = [
            longest.mul_f64(1.0 + Jitter::MAX),
            policy.retry_after_max,
            self.delivery.probe_max,
            self.rules.legs.wait + self.rules.legs.settle,
            self.rules.recordings.wait,
        ];
        waits.into_iter().max().unwrap_or_default() + Duration::from_secs(60)
    }

    /// The account of this `AccountSid`, or the only account, which accepts every SID.
    pub fn account(&self, sid: &AccountSid) -> Option<&Account> {
        let has_sid = |account: &&Account| account.twilio_account_sid.as_ref() == Some(sid);
        let has_any = |account: &&Account| account.twilio_account_sid.is_none();
        self.accounts
            .iter()
            .find(has_sid)
            .or_else(|| self.accounts.iter().find(has_any))
    }
}

/// Reads the defaults, then `file`, then the environment. A later layer overrides an earlier one.
pub fn load(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Config, ConfigError> {
    let (mut reader, config) = read_layers(file, environment)?;
    reader.refuse_gaps();
    let explained = reader.finish(config).map_err(ConfigError)?;
    Ok(Config {
        settings: explained.settings,
        ..explained.config
    })
}

/// As [`load`], with every setting, its value and its origin. A secret that cannot be read is no mistake.
pub fn explain(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Explained, ConfigError> {
    let (reader, config) = read_layers(file, environment)?;
    reader.finish(config).map_err(ConfigError)
}

fn read_layers(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<(SettingsReader, Option<Config>), ConfigError> {
    let layers = Layers::read(file, environment).map_err(|why| ConfigError(vec![why]))?;
    let entries = layers.accounts;
    let mut reader = SettingsReader::new(layers);
    let config = read(&mut reader, entries);
    Ok((reader, config))
}

/// Reads a part of the configuration with one of the functions in [`partial`]. Other settings are
/// not checked. A secret that this user cannot read is as if it were not set: the command may not need it.
pub fn load_part<T>(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
    read: impl FnOnce(&mut SettingsReader) -> Option<T>,
) -> Result<T, ConfigError> {
    let layers = Layers::read(file, environment).map_err(|why| ConfigError(vec![why]))?;
    let mut reader = SettingsReader::new(layers);
    let part = read(&mut reader);
    reader.finish_part(part).map_err(ConfigError)
}

/// Reads each section before the first `?`, so that all mistakes are found at once.
fn read(reader: &mut SettingsReader, entries: usize) -> Option<Config> {
    let server = server::read(reader);
    let admin = admin::read(reader);
    let store = store::read(reader);
    let refused = refused::read(reader);
    let acquire = acquire::read(reader);
    let delivery = delivery::read(reader);
    let accounts = accounts::read(reader, entries);
    let twilio = twilio::read(reader);
    let public_urls = server
        .as_ref()
        .map_or(&[][..], |server| &server.public_urls);
    let (links, playback) = recording::links(reader, public_urls, twilio.as_ref()).unzip();
    let reconcile = reconcile::read(reader);
    let report = report::read(reader);
    let notify = notify::read(reader);
    let heartbeat = notify::heartbeat(reader);
    let rules = rules::read(reader, links);
    let log = log::read(reader);

    if let (Some(acquire), Some(accounts)) = (&acquire, &accounts) {
        acquire::require_https_for_keys(reader, acquire, accounts);
    }
    if let (Some(acquire), Some((rules, _))) = (&acquire, &rules) {
        acquire::require_end_path(reader, acquire, &rules.events);
    }
    if let (Some(Some(_)), Some(accounts)) = (&playback, &accounts) {
        recording::require_api_keys(reader, accounts);
    }
    if let (Some(reconcile), Some(accounts)) = (&reconcile, &accounts) {
        reconcile::require_keys(reader, reconcile, accounts);
    }
    if let (Some(twilio), Some(accounts)) = (&twilio, &accounts) {
        twilio::require_https_for_keys(reader, twilio, accounts);
    }
    let (rules, directory_file) = rules?;
    Some(Config {
        server: server?,
        admin: admin?,
        store: store?,
        refused: refused?,
        acquire: acquire?,
        delivery: delivery?,
        playback: playback?,
        twilio: twilio?,
        reconcile: reconcile?,
        report: report?,
        notify,
        heartbeat,
        accounts: accounts?,
        rules,
        directory_file,
        log: log?,
        settings: Vec::new(),
    })
}
