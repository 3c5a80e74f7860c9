//! `[twilio]`: the path to Twilio's API, which the bridge fetches recordings from.
//!
//! The API keys belong to the accounts (`accounts.rs`).

use std::path::PathBuf;

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
    /// Authorities (PEM) that are trusted in addition to the system's.
    pub ca_file: Option<PathBuf>,
    pub proxy: Option<Proxy>,
}

/// Reads the section.
pub(super) fn read(reader: &mut SettingsReader) -> Option<TwilioSettings> {
    let api_url = reader.text(restart("twilio.api_url"), |text| {
        HttpUrl::parse(text)?;
        Ok(text.trim_end_matches('/').to_owned())
    });
    let ca_file = reader.text(restart("twilio.ca_file"), readable_file);
    let proxy = proxy::read(reader, restart("twilio.proxy"));
    Some(TwilioSettings {
        api_url: api_url?,
        ca_file,
        proxy,
    })
}

/// Refuses an API URL that would send API keys unencrypted.
pub(super) fn require_https(reader: &mut SettingsReader, twilio: &TwilioSettings) {
    let proxy = twilio.proxy.as_ref();
    if HttpUrl::parse(&twilio.api_url).is_ok_and(|url| url.is_clear_beyond_loopback(proxy)) {
        let name = reader.name("twilio.api_url");
        reader.mistake(format!(
            "{name} = \"{}\" must start with https://, because http:// would send the Twilio API \
             keys unencrypted",
            twilio.api_url
        ));
    }
}
