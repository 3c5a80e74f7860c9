//! `[twilio]`: the path to Twilio's API, for recordings and for Twilio's own records of calls.
//!
//! The API keys belong to the accounts (`accounts.rs`).

use std::path::PathBuf;

use super::accounts::Account;
use super::files::readable_file;
use super::proxy;
use super::reader::SettingsReader;
use super::setting::restart;
use crate::net::http_url::HttpUrl;
use crate::net::proxy::Proxy;

/// How to reach Twilio's API.
#[derive(Clone, Debug)]
pub struct TwilioSettings {
    /// Does not end with `/`.
    pub api_url: String,
    /// Of the API of alerts, which has its own host. Does not end with `/`.
    pub monitor_url: String,
    /// Authorities (PEM) that are trusted in addition to the system's.
    pub ca_file: Option<PathBuf>,
    pub proxy: Option<Proxy>,
}

/// Reads the section.
pub(super) fn read(reader: &mut SettingsReader) -> Option<TwilioSettings> {
    let base_url = |text: &str| {
        HttpUrl::parse(text)?;
        Ok(text.trim_end_matches('/').to_owned())
    };
    let api_url = reader.text(restart("twilio.api_url"), base_url);
    let monitor_url = reader.text(restart("twilio.monitor_url"), base_url);
    let ca_file = reader.text(restart("twilio.ca_file"), readable_file);
    let proxy = proxy::read(reader, restart("twilio.proxy"));
    Some(TwilioSettings {
        api_url: api_url?,
        monitor_url: monitor_url?,
        ca_file,
        proxy,
    })
}

/// Refuses an API URL that would send API keys unencrypted.
pub(super) fn require_https_for_keys(
    reader: &mut SettingsReader,
    twilio: &TwilioSettings,
    accounts: &[Account],
) {
    if accounts.iter().all(|of| of.twilio_api_key.is_none()) {
        return;
    }
    let proxy = twilio.proxy.as_ref();
    for (key, url) in [
        ("twilio.api_url", &twilio.api_url),
        ("twilio.monitor_url", &twilio.monitor_url),
    ] {
        if HttpUrl::parse(url).is_ok_and(|url| url.is_clear_beyond_loopback(proxy)) {
            let name = reader.name(key);
            reader.mistake(format!(
                "{name} = \"{url}\" must start with https://, because http:// would send the \
                 Twilio API keys unencrypted"
            ));
        }
    }
}
