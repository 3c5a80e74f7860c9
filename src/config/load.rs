//! From defaults, file and environment to a checked [`Config`], section by section.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use secrecy::SecretString;

use super::files::{pair, readable_file};
use super::layers::{Layers, SettingOrigin};
use super::reader::SettingsReader;
use super::{
    AcquirePaths, AcquireSettings, AdminSettings, Config, ConfigError, DeliverySettings, LogFormat,
    LogSettings, ProxyProtocolSetting, RefusedSettings, ServerSettings, Success, accounts, proxy,
    recording, rules, store,
};
use crate::domain::plan::{Forward, Rules};
use crate::domain::retry::Policy;
use crate::net::http_url::HttpUrl;
use crate::twilio::signature::PublicUrl;

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// The longest schedule that is still one to read.
const MAX_WAITS: usize = 100;

/// One setting as an operator may see it: never a secret's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// `section.key`
    pub key: String,
    /// In TOML, or how many secrets or entries; `None` where it is not set.
    pub value: Option<String>,
    pub origin: SettingOrigin,
    /// Where a secret was read from, if not from the layer itself.
    pub file: Option<PathBuf>,
    /// Tells one value from another, secrets included, within this process; 0 where it is not set.
    pub(super) trace: u64,
}

/// Reads the defaults, then `file`, then the environment, each over the one before.
pub fn load(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Config, ConfigError> {
    explain(file, environment).map(|(mut config, settings)| {
        config.settings = settings;
        config
    })
}

/// As [`load`], with every setting as it counts and where it came from.
pub fn explain(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<(Config, Vec<Setting>), ConfigError> {
    let layers = Layers::read(file, environment).map_err(|why| ConfigError(vec![why]))?;
    let entries = layers.accounts;
    let mut reader = SettingsReader::new(layers);

    let server = server(&mut reader);
    let admin = admin(&mut reader);
    let store = store::read(&mut reader);
    let refused = refused(&mut reader);
    let acquire = acquire(&mut reader);
    let delivery = delivery(&mut reader);
    let accounts = accounts::read(&mut reader, entries);
    let public_urls = server
        .as_ref()
        .map_or(&[][..], |server| &server.public_urls);
    let (links, playing) = recording::with_secrets(&mut reader, public_urls).unzip();
    let rules = rules::read(&mut reader, links);
    let log = log(&mut reader);

    if let (Some(acquire), Some(accounts)) = (&acquire, &accounts) {
        keep_keys_out_of_the_clear(&mut reader, acquire, accounts);
    }
    if let (Some(acquire), Some((rules, _))) = (&acquire, &rules) {
        keep_answered_and_ended_apart(&mut reader, acquire, rules);
    }
    if let (Some(Some(playing)), Some(accounts)) = (&playing, &accounts) {
        recording::judge(&mut reader, playing, accounts);
    }
    let config = || {
        let (rules, directory_file) = rules?;
        Some(Config {
            server: server?,
            admin: admin?,
            store: store?,
            refused: refused?,
            acquire: acquire?,
            delivery: delivery?,
            playing: playing?,
            accounts: accounts?,
            rules,
            directory_file,
            log: log?,
            settings: Vec::new(),
        })
    };
    reader.finish(config())
}

pub(super) fn public_urls(reader: &mut SettingsReader) -> Option<Vec<PublicUrl>> {
    reader.list("server.public_url", |text| {
        PublicUrl::parse(text).map_err(|why| why.to_string())
    })
}

fn server(reader: &mut SettingsReader) -> Option<ServerSettings> {
    let listen = reader.text("server.listen", address);
    let public_urls = public_urls(reader);
    if !reader.is_set("server.public_url") {
        reader.mistake(
            "server.public_url is not set: it must be the URL that Twilio was told, such as https://bridge.example.com (or set BRIDGE__SERVER__PUBLIC_URL)",
        );
    }
    let max_connections = reader.number("server.max_connections", 1..=1_000_000);
    let request_timeout = reader.duration("server.request_timeout", millis(100)..=seconds(15));
    let drain = reader.duration("server.drain", millis(0)..=minutes(10));
    let stop_timeout = reader.duration("server.stop_timeout", millis(100)..=minutes(10));
    let tls = pair(
        reader,
        ["server.tls_cert_file", "server.tls_key_file"],
        "TLS",
    );
    let proxy_protocol = reader.choice(
        "server.proxy_protocol",
        &[
            ("off", ProxyProtocolSetting::Off),
            ("required", ProxyProtocolSetting::Required),
        ],
    );
    let trusted_proxies = reader.list("server.trusted_proxies", network);
    if proxy_protocol == Some(ProxyProtocolSetting::Required)
        && !reader.is_set("server.trusted_proxies")
    {
        let name = reader.name("server.proxy_protocol");
        reader.mistake(format!(
            "{name} = \"required\" lets nobody in without server.trusted_proxies: set it to the addresses of the balancers that send the header"
        ));
    }
    Some(ServerSettings {
        listen: listen?,
        public_urls: public_urls?,
        max_connections: max_connections?,
        request_timeout: request_timeout?,
        drain: drain?,
        stop_timeout: stop_timeout?,
        tls,
        trusted_proxies: trusted_proxies.unwrap_or_default(),
        proxy_protocol: proxy_protocol?,
    })
}

pub(super) fn admin(reader: &mut SettingsReader) -> Option<AdminSettings> {
    let listen = reader.text("admin.listen", address);
    let token_is_set = reader.is_set("admin.token") || reader.is_set("admin.token_file");
    let token = reader.secret("admin.token").map(SecretString::from);
    let listen = listen?;
    if !listen.ip().is_loopback() && !token_is_set {
        let name = reader.name("admin.listen");
        reader.mistake(format!(
            "{name} = \"{listen}\" is beyond loopback, which is allowed only with admin.token or admin.token_file"
        ));
    }
    Some(AdminSettings { listen, token })
}

fn refused(reader: &mut SettingsReader) -> Option<RefusedSettings> {
    let keep = reader.number("refused.keep", 0..=10_000);
    let retention = reader.duration("refused.retention", minutes(1)..=days(365));
    Some(RefusedSettings {
        keep: keep?,
        retention: retention?,
    })
}

fn acquire(reader: &mut SettingsReader) -> Option<AcquireSettings> {
    let base_url = reader.text("acquire.base_url", |text| {
        HttpUrl::parse(text).map(|_| text.trim_end_matches('/').to_owned())
    });
    let call_in_queue = reader.text("acquire.call_in_queue_path", request_path);
    let call_ringing = reader.text("acquire.call_ringing_path", request_path);
    let call_answered = reader.text("acquire.call_answered_path", request_path);
    let call_end = reader.text("acquire.call_end_path", request_path);
    let ca_file = reader.text("acquire.ca_file", readable_file);
    let keys = ["acquire.client_cert_file", "acquire.client_key_file"];
    let client_certificate = pair(reader, keys, "a client certificate");
    let proxy = proxy::read(reader, "acquire.proxy");
    let success = reader.choice(
        "acquire.success",
        &[("body", Success::Body), ("any-2xx", Success::Any2xx)],
    );
    Some(AcquireSettings {
        base_url: base_url?,
        paths: AcquirePaths {
            call_in_queue: call_in_queue?,
            call_ringing: call_ringing?,
            call_answered: call_answered?,
            call_end: call_end?,
        },
        ca_file,
        client_certificate,
        proxy,
        success: success?,
    })
}

fn delivery(reader: &mut SettingsReader) -> Option<DeliverySettings> {
    let timeout = reader.duration("delivery.timeout", millis(100)..=minutes(5));
    let concurrency = reader.number("delivery.concurrency", 1..=1024);
    let max_rate = reader.number("delivery.max_rate", 1..=100_000);
    let lease = reader.duration("delivery.lease", seconds(1)..=hours(1));
    let schedule = reader.durations("delivery.schedule", millis(1)..=days(30));
    let retry_after_max = reader.duration("delivery.retry_after_max", seconds(1)..=days(1));
    let probe_max = reader.duration("delivery.probe_max", seconds(1)..=hours(1));
    let unclear_tries = reader.number("acquire.unclear_tries", 1..=100);

    let (timeout, lease, schedule) = (timeout?, lease?, schedule?);
    if lease <= timeout {
        let (lease_name, timeout_name) = (
            reader.name("delivery.lease"),
            reader.name("delivery.timeout"),
        );
        reader.mistake(format!(
            "{lease_name} = \"{}\" must be longer than {timeout_name} = \"{}\", or a call that is still being sent could be sent twice",
            super::duration::show(lease),
            super::duration::show(timeout)
        ));
    }
    if max_rate.is_some() && lease > timeout && lease <= timeout + super::MAX_RATE_LIMIT_WAIT {
        let lease_name = reader.name("delivery.lease");
        reader.mistake(format!(
            "{lease_name} = \"{}\" must be longer than delivery.timeout by more than {} where delivery.max_rate is set, since calls wait for their turn so long",
            super::duration::show(lease),
            super::duration::show(super::MAX_RATE_LIMIT_WAIT)
        ));
    }
    if schedule.len() > MAX_WAITS {
        let name = reader.name("delivery.schedule");
        reader.mistake(format!(
            "{name} has {} waits; at most {MAX_WAITS} are allowed",
            schedule.len()
        ));
    }
    Some(DeliverySettings {
        timeout,
        concurrency: concurrency?,
        max_rate,
        lease,
        probe_max: probe_max?,
        policy: Policy {
            schedule,
            retry_after_max: retry_after_max?,
            unclear_tries: unclear_tries?,
        },
    })
}

fn log(reader: &mut SettingsReader) -> Option<LogSettings> {
    let format = reader.choice(
        "log.format",
        &[("text", LogFormat::Text), ("json", LogFormat::Json)],
    );
    let level = reader.text("log.level", log_level);
    Some(LogSettings {
        format: format?,
        level: level?,
    })
}

fn keep_keys_out_of_the_clear(
    reader: &mut SettingsReader,
    acquire: &AcquireSettings,
    accounts: &[super::Account],
) {
    let has_key = accounts
        .iter()
        .any(|account| account.acquire_api_key.is_some());
    let proxy = acquire.proxy.as_ref();
    let clear =
        HttpUrl::parse(&acquire.base_url).is_ok_and(|url| url.is_clear_beyond_loopback(proxy));
    if has_key && clear {
        let name = reader.name("acquire.base_url");
        reader.mistake(format!(
            "{name} = \"{}\" must begin with https://, because an API key is set, which http:// would send in the clear",
            acquire.base_url
        ));
    }
}

fn keep_answered_and_ended_apart(
    reader: &mut SettingsReader,
    acquire: &AcquireSettings,
    rules: &Rules,
) {
    let paths = &acquire.paths;
    if rules.events.answered == Forward::On && paths.call_answered == paths.call_end {
        let names = ["acquire.call_answered_path", "acquire.call_end_path"];
        let [answered, end] = names.map(|key| reader.name(key));
        reader.mistake(format!(
            "{answered} and {end} are both \"{}\", so Acquire could not tell an answered call from an ended one: set {end} = \"/api/v1/voip/call-end\", as the vendor's later page says, or leave \"answered\" out of acquire.events",
            paths.call_end
        ));
    }
}

pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "must be IP:PORT, such as 127.0.0.1:9090 or [::1]:9090".to_owned())
}

fn network(text: &str) -> Result<IpNet, String> {
    let address = |_| text.parse::<std::net::IpAddr>().map(IpNet::from);
    text.parse().or_else(address).map_err(|_| {
        "must be an IP address or a network, such as 10.0.0.7 or 10.0.0.0/24".to_owned()
    })
}

fn request_path(text: &str) -> Result<String, String> {
    if text.starts_with('/') && text.bytes().all(|b| b.is_ascii_graphic() && b != b'#') {
        Ok(text.to_owned())
    } else {
        Err("must be a path that begins with /, without spaces or #".to_owned())
    }
}

fn log_level(text: &str) -> Result<String, String> {
    let known = |part: &str| {
        let level = part.split_once('=').map_or(part, |(_, level)| level);
        LEVELS.contains(&level.trim())
    };
    if text.split(',').all(known) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "must be {}, or such words by part of the program, such as info,actix_web=debug",
            LEVELS.join(", ")
        ))
    }
}

pub(super) const fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

pub(super) const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

pub(super) const fn minutes(count: u64) -> Duration {
    Duration::from_secs(count * 60)
}

pub(super) const fn hours(count: u64) -> Duration {
    Duration::from_secs(count * 3_600)
}

pub(super) const fn days(count: u64) -> Duration {
    Duration::from_secs(count * 86_400)
}
