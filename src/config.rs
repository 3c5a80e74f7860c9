//! Every setting, checked: what the rest of the program may rely on.
//!
//! The defaults and the meaning of each key stand in `config.default.toml`, which is compiled in.

mod accounts;
mod directory;
pub mod duration;
mod files;
mod layers;
mod load;
mod partial;
pub mod postgres;
mod proxy;
mod reader;
mod recording;
mod reload;
mod rules;
mod store;
mod toml_value;
pub mod watched;
mod written;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use secrecy::SecretString;

use crate::acquire::response::Success;
use crate::domain::directory::DirectoryEntries;
use crate::domain::plan::Rules;
use crate::domain::recording_link::LinkSigner;
use crate::domain::retry::Policy;
use crate::net::http_url::ACCOUNT_ID;
use crate::net::proxy::Proxy;
use crate::net::tls::CertificatePair;
use crate::twilio::AccountSid;
use crate::twilio::signature::PublicUrl;

use self::postgres::PostgresUrl;

pub use layers::SettingOrigin;
pub use load::{Setting, explain, load};
pub use partial::{load_admin, load_admin_listen, load_for_dry_run, load_for_reading, load_spool};
pub use reload::ReloadDiff;
pub use written::to_toml;

/// All mistakes of a configuration, one sentence each.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct ConfigError(pub Vec<String>);

/// The longest that a claimed call waits for its turn where `delivery.max_rate` is set; its lease
/// runs meanwhile.
pub const MAX_RATE_LIMIT_WAIT: Duration = Duration::from_secs(5);

/// The whole configuration of a bridge.
#[derive(Clone, Debug)]
pub struct Config {
    pub server: ServerSettings,
    pub admin: AdminSettings,
    pub store: StoreSettings,
    pub refused: RefusedSettings,
    pub acquire: AcquireSettings,
    pub delivery: DeliverySettings,
    /// Where recordings are played, if links of the bridge are sent.
    pub playing: Option<PlaybackSettings>,
    /// At least one.
    pub accounts: Vec<Account>,
    /// As they stand at the start; `directory_file` may change them.
    pub rules: Rules,
    pub directory_file: Option<DirectoryFile>,
    pub log: LogSettings,
    /// As they were given, to tell what changed.
    pub settings: Vec<Setting>,
}

/// Twilio's side.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    pub listen: SocketAddr,
    /// At least one: the URLs that Twilio was told, without the served path.
    pub public_urls: Vec<PublicUrl>,
    /// The most connections open at once.
    pub max_connections: usize,
    /// How long a request may take to arrive, its body included.
    pub request_timeout: Duration,
    /// How long all goes on, with `/readyz` red, between the order to stop and the stopping.
    pub drain: Duration,
    /// How long what is in flight may take to finish when stopping.
    pub stop_timeout: Duration,
    /// Served with HTTPS, where there is one.
    pub tls: Option<CertificatePair>,
    /// Whose word on who the client is goes into the log.
    pub trusted_proxies: Vec<IpNet>,
    pub proxy_protocol: ProxyProtocolSetting,
}

/// Whether connections begin with a PROXY protocol header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyProtocolSetting {
    /// None does.
    Off,
    /// Each does, version 1 or 2, and comes from one of the trusted proxies: there is at least one.
    Required,
}

/// The operator's side.
#[derive(Clone, Debug)]
pub struct AdminSettings {
    pub listen: SocketAddr,
    /// Always there when `listen` is beyond loopback.
    pub token: Option<SecretString>,
}

#[derive(Clone, Debug)]
pub struct StoreSettings {
    pub url: StoreUrl,
    pub spool: SpoolSettings,
    pub retention: Duration,
    pub parked_retention: Duration,
    /// Between two checks that count every row.
    pub check_every: Duration,
}

/// Requests that were refused.
#[derive(Clone, Copy, Debug)]
pub struct RefusedSettings {
    /// The most that are kept.
    pub keep: usize,
    pub retention: Duration,
}

/// Where callbacks are kept while a shared database is away (`store.spool`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpoolSettings {
    Off,
    At(PathBuf),
}

/// `store.url`; shown without a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreUrl {
    Sqlite(PathBuf),
    Postgres(Box<PostgresUrl>),
}

impl std::fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(url) => url.fmt(f),
        }
    }
}

/// Acquire's side.
#[derive(Clone, Debug)]
pub struct AcquireSettings {
    /// With [`ACCOUNT_ID`] where the account's name goes; does not end with `/`.
    pub base_url: String,
    pub paths: AcquirePaths,
    /// Trusted beside the system's roots (PEM).
    pub ca_file: Option<PathBuf>,
    /// Shown to Acquire's side, if it asks for one.
    pub client_certificate: Option<CertificatePair>,
    pub proxy: Option<Proxy>,
    pub success: Success,
}

/// What is appended to the base URL for each message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcquirePaths {
    pub call_in_queue: String,
    pub call_ringing: String,
    pub call_answered: String,
    pub call_end: String,
}

#[derive(Clone, Debug)]
pub struct DeliverySettings {
    /// For one attempt, from connecting to the end of the answer.
    pub timeout: Duration,
    pub concurrency: usize,
    /// The most requests in a second.
    pub max_rate: Option<usize>,
    /// Longer than `timeout`.
    pub lease: Duration,
    /// The longest wait between two probes while Acquire is away.
    pub probe_max: Duration,
    pub policy: Policy,
}

/// How recordings are played (`recording.link = "bridge"`).
#[derive(Clone, Debug)]
pub struct PlaybackSettings {
    pub linker: LinkSigner,
    /// Where Twilio's API is; does not end with `/`.
    pub api_url: String,
    /// `twilio.ca_file`
    pub ca_file: Option<PathBuf>,
    /// `twilio.proxy`
    pub proxy: Option<Proxy>,
    /// Put behind the path of a recording (`recording.format`).
    pub format: &'static str,
    /// For Twilio's answer, for each piece of it, and for the listener to take the piece.
    pub timeout: Duration,
    /// Recordings played at once.
    pub concurrency: usize,
}

/// An API key of a Twilio account.
#[derive(Clone, Debug)]
pub struct ApiKey {
    pub sid: String,
    pub secret: SecretString,
}

/// One Twilio account and the Acquire account its calls go to.
#[derive(Clone, Debug)]
pub struct Account {
    /// `None` where one account serves whatever `AccountSid` its token signs.
    pub twilio_account_sid: Option<AccountSid>,
    /// HMAC-SHA1 keys, all active; with `shared_keys` at least one.
    pub auth_tokens: Vec<SecretString>,
    /// HMAC-SHA256 keys with the ids that Twilio names them by.
    pub shared_keys: Vec<(String, SecretString)>,
    /// Fetches recordings; always there with [`Config::playing`].
    pub twilio_api_key: Option<ApiKey>,
    pub acquire_account_id: String,
    pub acquire_api_key: Option<SecretString>,
}

/// `directory.file`, which is read again when it changes.
#[derive(Clone, Debug)]
pub struct DirectoryFile {
    pub path: PathBuf,
    /// What stands in the configuration itself.
    pub beside: DirectoryEntries,
}

#[derive(Clone, Debug)]
pub struct LogSettings {
    pub format: LogFormat,
    /// A `tracing` filter, such as `info` or `twilio_acquire_bridge=debug`.
    pub level: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

impl AcquireSettings {
    /// Where an account's requests go.
    #[must_use]
    pub fn base_url_of(&self, account: &Account) -> String {
        self.base_url
            .replace(ACCOUNT_ID, &account.acquire_account_id)
    }
}

impl Config {
    /// The account whose `AccountSid` a callback names, if it is configured here.
    #[must_use]
    pub fn account(&self, sid: &AccountSid) -> Option<&Account> {
        let named = |account: &&Account| account.twilio_account_sid.as_ref() == Some(sid);
        let any = |account: &&Account| account.twilio_account_sid.is_none();
        self.accounts
            .iter()
            .find(named)
            .or_else(|| self.accounts.iter().find(any))
    }
}
