//! `[acquire]`: where Acquire's API is, which events it receives, and which responses mean success.
//!
//! The API key belongs to the accounts (`accounts.rs`).

use std::path::PathBuf;

use super::accounts::Account;
use super::files::{pair, readable_file};
use super::proxy;
use super::reader::SettingsReader;
use crate::acquire::response::SuccessRule;
use crate::domain::plan::{EventRules, Forward};
use crate::net::http_url::HttpUrl;
use crate::net::proxy::Proxy;
use crate::net::tls::CertificatePair;

/// Placeholder in `acquire.base_url` for the account's name.
const ACCOUNT_ID: &str = "{account_id}";

const EVENTS: [&str; 4] = ["in-queue", "ringing", "answered", "ended"];

/// How to reach Acquire, and when a request counts as accepted.
#[derive(Clone, Debug)]
pub struct AcquireSettings {
    /// May contain `{account_id}`; does not end with `/`. See [`AcquireSettings::base_url_of`].
    pub base_url: String,
    pub paths: AcquirePaths,
    /// Authorities (PEM) that are trusted in addition to the system's.
    pub ca_file: Option<PathBuf>,
    /// Presented to a server that requests a client certificate.
    pub client_certificate: Option<CertificatePair>,
    pub proxy: Option<Proxy>,
    pub success: SuccessRule,
}

/// The path of each request, appended to the base URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcquirePaths {
    pub call_in_queue: String,
    pub call_ringing: String,
    pub call_answered: String,
    pub call_end: String,
}

impl AcquireSettings {
    /// The base URL for the requests of an account.
    pub fn base_url_of(&self, account: &Account) -> String {
        self.base_url
            .replace(ACCOUNT_ID, &account.acquire_account_id)
    }
}

/// Reads the section.
pub(super) fn read(reader: &mut SettingsReader) -> Option<AcquireSettings> {
    let base_url = reader.text("acquire.base_url", base_url);
    let call_in_queue = reader.text("acquire.call_in_queue_path", request_path);
    let call_ringing = reader.text("acquire.call_ringing_path", request_path);
    let call_answered = reader.text("acquire.call_answered_path", request_path);
    let call_end = reader.text("acquire.call_end_path", request_path);
    let ca_file = reader.text("acquire.ca_file", readable_file);
    let keys = ["acquire.client_cert_file", "acquire.client_key_file"];
    let client_certificate = pair(reader, keys, "a client certificate");
    let proxy = proxy::read(reader, "acquire.proxy");
    let success = reader.choice("acquire.success", &SuccessRule::WORDS);
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

/// How often a 2xx response that does not confirm the call is tried.
pub(super) fn unclear_tries(reader: &mut SettingsReader) -> Option<usize> {
    reader.number("acquire.unclear_tries", 1..=100)
}

/// The events that are sent before the end of a call.
pub(super) fn events(reader: &mut SettingsReader) -> Option<EventRules> {
    let events = reader.list("acquire.events", |word| {
        if EVENTS.contains(&word) {
            Ok(word.to_owned())
        } else {
            Err(format!("must be one of {}", EVENTS.join(", ")))
        }
    })?;
    let is_listed = |event: &str| events.iter().any(|other| other == event);
    if !is_listed("ended") {
        let name = reader.name("acquire.events");
        reader.mistake(format!("{name} must include ended"));
    }
    let forward = |event: &str| {
        if is_listed(event) {
            Forward::On
        } else {
            Forward::Off
        }
    };
    Some(EventRules {
        in_queue: forward("in-queue"),
        ringing: forward("ringing"),
        answered: forward("answered"),
    })
}

/// The value of `acquire.events` for these rules.
pub(super) fn event_names(rules: &EventRules) -> Vec<&'static str> {
    let forwarded = [rules.in_queue, rules.ringing, rules.answered, Forward::On];
    let events = EVENTS.into_iter().zip(forwarded);
    events
        .filter(|(_, forward)| *forward == Forward::On)
        .map(|(event, _)| event)
        .collect()
}

/// Refuses one path for answered calls and ended calls, because Acquire distinguishes them by it.
pub(super) fn require_end_path(
    reader: &mut SettingsReader,
    acquire: &AcquireSettings,
    events: &EventRules,
) {
    let paths = &acquire.paths;
    if events.answered == Forward::On && paths.call_answered == paths.call_end {
        let names = ["acquire.call_answered_path", "acquire.call_end_path"];
        let [answered, end] = names.map(|key| reader.name(key));
        reader.mistake(format!(
            "{answered} and {end} are both \"{}\", so Acquire could not distinguish an answered \
             call from an ended one: set {end} = \"/api/v1/voip/call-end\", as a later revision \
             of Acquire's documentation says, or remove \"answered\" from acquire.events",
            paths.call_end
        ));
    }
}

/// Refuses API keys together with a base URL that would send them unencrypted.
pub(super) fn require_https_for_keys(
    reader: &mut SettingsReader,
    acquire: &AcquireSettings,
    accounts: &[Account],
) {
    let proxy = acquire.proxy.as_ref();
    let sends_key_in_clear = |account: &Account| {
        account.acquire_api_key.is_some()
            && HttpUrl::parse(&acquire.base_url_of(account))
                .is_ok_and(|url| url.is_clear_beyond_loopback(proxy))
    };
    if accounts.iter().any(sends_key_in_clear) {
        let name = reader.name("acquire.base_url");
        reader.mistake(format!(
            "{name} = \"{}\" must start with https://, because an API key is set, and http:// \
             would send it unencrypted",
            acquire.base_url
        ));
    }
}

/// Checks the URL with a made-up account name in place of [`ACCOUNT_ID`], because braces are not
/// allowed in a URL.
fn base_url(text: &str) -> Result<String, String> {
    HttpUrl::parse(&text.replace(ACCOUNT_ID, "name")).map_err(|why| {
        if text.contains(['{', '}']) {
            format!("{why}; {ACCOUNT_ID} is the only placeholder")
        } else {
            why
        }
    })?;
    Ok(text.trim_end_matches('/').to_owned())
}

fn request_path(text: &str) -> Result<String, String> {
    if text.starts_with('/') && text.bytes().all(|b| b.is_ascii_graphic() && b != b'#') {
        Ok(text.to_owned())
    } else {
        Err("must be a path that starts with /, without spaces or #".to_owned())
    }
}
