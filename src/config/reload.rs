//! What a running bridge takes from a configuration that is read again, and what needs a restart.

use super::{Config, ProxyProtocolSetting, Setting};
use crate::domain::plan::{RecordingRules, Rules};

/// What a running bridge was built on: a new value counts from the next start on. With a dot at its
/// end, all of a section.
const FIXED: [&str; 17] = [
    "server.listen",
    "server.public_url",
    "server.max_connections",
    "server.request_timeout",
    "server.proxy_protocol",
    "server.drain",
    "server.stop_timeout",
    "admin.listen",
    "store.",
    "recording.link",
    "recording.link_secret",
    "recording.link_ttl",
    "recording.format",
    "recording.timeout",
    "recording.concurrency",
    "twilio.",
    "log.",
];

/// Read with the accounts, where there is one only.
const OF_THE_ACCOUNT: [&str; 2] = ["twilio.api_key_sid", "twilio.api_key_secret"];

const TLS: [&str; 2] = ["server.tls_cert_file", "server.tls_key_file"];

/// A configuration that was read again, for a bridge that runs.
#[derive(Debug)]
pub struct ReloadDiff {
    pub config: Config,
    /// Settings that changed, and count now.
    pub changed: Vec<String>,
    /// Settings that changed, and count from the next start on.
    pub waiting: Vec<String>,
}

impl Config {
    /// This configuration with all that can change while a bridge runs taken from `new`.
    #[must_use]
    pub fn renewed_by(&self, new: Self) -> ReloadDiff {
        let is_fixed = |key: &str| self.is_fixed(key, &new);
        let differing = differing(&self.settings, &new.settings);
        let (waiting, changed): (Vec<_>, Vec<_>) =
            differing.into_iter().partition(|key| is_fixed(key));
        let settings = new.settings.iter().filter(|of| !is_fixed(&of.key));
        let fixed = self.settings.iter().filter(|of| is_fixed(&of.key));
        let settings = settings.chain(fixed).cloned().collect();

        let mut server = self.server.clone();
        if !self.locks_out(&new) {
            server.trusted_proxies = new.server.trusted_proxies;
        }
        if server.tls.is_some() && new.server.tls.is_some() {
            server.tls = new.server.tls;
        }
        let mut admin = self.admin.clone();
        // Beyond loopback there must be one.
        admin.token = new.admin.token.or(admin.token);
        let config = Self {
            server,
            admin,
            acquire: new.acquire,
            delivery: new.delivery,
            accounts: new.accounts,
            rules: Rules {
                recordings: RecordingRules {
                    links: self.rules.recordings.links.clone(),
                    ..new.rules.recordings
                },
                ..new.rules
            },
            directory_file: new.directory_file,
            refused: new.refused,
            store: self.store.clone(),
            playing: self.playing.clone(),
            log: self.log.clone(),
            settings,
        };
        ReloadDiff {
            config,
            changed,
            waiting,
        }
    }

    /// Whether nobody could connect any more: the header of proxies is required, and none is trusted.
    fn locks_out(&self, new: &Self) -> bool {
        self.server.proxy_protocol == ProxyProtocolSetting::Required
            && new.server.trusted_proxies.is_empty()
    }

    fn is_fixed(&self, key: &str, new: &Self) -> bool {
        let is = |fixed: &&str| key == *fixed || (fixed.ends_with('.') && key.starts_with(*fixed));
        if TLS.contains(&key) {
            return self.server.tls.is_some() != new.server.tls.is_some();
        }
        if key == "server.trusted_proxies" {
            return self.locks_out(new);
        }
        if key == "admin.token" {
            return self.admin.token.is_some() && new.admin.token.is_none();
        }
        FIXED.iter().any(is) && !OF_THE_ACCOUNT.contains(&key)
    }
}

/// The keys whose values are not the same, or that only one of both has.
fn differing(old: &[Setting], new: &[Setting]) -> Vec<String> {
    let trace = |of: &[Setting], key: &str| {
        let setting = of.iter().find(|setting| setting.key == key);
        setting.map_or(0, |setting| setting.trace)
    };
    let mut keys: Vec<&String> = old.iter().chain(new).map(|setting| &setting.key).collect();
    keys.sort_unstable();
    keys.dedup();
    keys.into_iter()
        .filter(|key| trace(old, key) != trace(new, key))
        .cloned()
        .collect()
}
