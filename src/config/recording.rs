//! The links of `[recording]`, and Twilio's API, which recordings are fetched from.

use std::time::Duration;

use super::files::readable_file;
use super::load::{days, millis, minutes};
use super::reader::SettingsReader;
use super::{Account, PlaybackSettings, proxy};
use crate::domain::recording_link::{LinkKey, LinkSigner, RecordingLinks};
use crate::net::http_url::HttpUrl;
use crate::twilio::signature::PublicUrl;

/// As long as the output of the hash that it keys (RFC 2104, section 3).
const SHORTEST_SECRET: usize = 32;

#[derive(Clone, Copy)]
enum Link {
    Twilio,
    Bridge,
}

/// What stands in `[recording]` about links, secrets aside.
struct Recording {
    link: Link,
    ttl: Duration,
    format: &'static str,
}

/// Reads all that a mere look needs: no secret.
fn read(reader: &mut SettingsReader) -> Option<Recording> {
    let link = reader.choice(
        "recording.link",
        &[("twilio", Link::Twilio), ("bridge", Link::Bridge)],
    );
    let ttl = reader.duration("recording.link_ttl", minutes(1)..=days(3_650));
    // An empty text counts as unset.
    let format = if reader.is_set("recording.format") {
        let formats = [("", ""), (".mp3", ".mp3"), (".wav", ".wav")];
        reader.choice("recording.format", &formats)
    } else {
        Some("")
    };
    Some(Recording {
        link: link?,
        ttl: ttl?,
        format: format?,
    })
}

/// How links look, without what makes them valid.
pub(super) fn to_show(
    reader: &mut SettingsReader,
    public_urls: &[PublicUrl],
) -> Option<RecordingLinks> {
    Some(read(reader)?.links(public_urls, Vec::new()))
}

impl Recording {
    fn links(&self, public_urls: &[PublicUrl], keys: Vec<LinkKey>) -> RecordingLinks {
        match self.link {
            Link::Twilio => RecordingLinks::Twilio {
                format: self.format,
            },
            Link::Bridge => {
                let base = public_urls.first().map(ToString::to_string);
                RecordingLinks::Bridge(LinkSigner::new(base.unwrap_or_default(), self.ttl, keys))
            }
        }
    }
}

/// The links that are sent, and how they are played if the bridge serves them.
pub(super) fn with_secrets(
    reader: &mut SettingsReader,
    public_urls: &[PublicUrl],
) -> Option<(RecordingLinks, Option<PlaybackSettings>)> {
    let recording = read(reader);
    let secrets = reader.secrets("recording.link_secret");
    let api_url = reader.text("twilio.api_url", |text| {
        HttpUrl::parse(text)?;
        Ok(text.trim_end_matches('/').to_owned())
    });
    let ca_file = reader.text("twilio.ca_file", readable_file);
    let proxy = proxy::read(reader, "twilio.proxy");
    let timeout = reader.duration("recording.timeout", millis(100)..=minutes(5));
    let concurrency = reader.number("recording.concurrency", 1..=1_024);
    let recording = recording?;
    if matches!(recording.link, Link::Twilio) {
        return Some((recording.links(public_urls, Vec::new()), None));
    }
    let name = reader.name("recording.link");
    let secrets = match secrets {
        None => {
            reader.mistake(format!(
                "recording.link_secret is not set, which {name} = \"bridge\" needs: make one with openssl rand -hex 32"
            ));
            Vec::new()
        }
        Some(secrets) => {
            if secrets.iter().any(|secret| secret.len() < SHORTEST_SECRET) {
                reader.mistake(format!(
                    "recording.link_secret (a secret, not shown) must have at least {SHORTEST_SECRET} characters: make one with openssl rand -hex 32"
                ));
            }
            secrets
        }
    };
    let keys = secrets.iter().map(|secret| LinkKey::new(secret)).collect();
    let links = recording.links(public_urls, keys);
    let RecordingLinks::Bridge(linker) = &links else {
        return Some((links, None));
    };
    let playing = PlaybackSettings {
        linker: linker.clone(),
        api_url: api_url?,
        ca_file,
        proxy,
        format: recording.format,
        timeout: timeout?,
        concurrency: concurrency?,
    };
    Some((links, Some(playing)))
}

/// What playing asks of the accounts and of the way to Twilio.
pub(super) fn judge(reader: &mut SettingsReader, playing: &PlaybackSettings, accounts: &[Account]) {
    for (number, account) in (1..).zip(accounts) {
        if account.twilio_api_key.is_some() {
            continue;
        }
        let (whose, key) = match &account.twilio_account_sid {
            Some(_) => {
                let entry = format!("accounts[{number}]");
                (entry.clone(), format!("{entry}.twilio_api_key"))
            }
            None => ("the account".to_owned(), "twilio.api_key".to_owned()),
        };
        // One that is set and wrong was told already.
        if !reader.is_set(&format!("{key}_sid")) {
            let name = reader.name("recording.link");
            reader.mistake(format!(
                "{whose} has no API key of Twilio, which {name} = \"bridge\" needs to fetch recordings: set {key}_sid and {key}_secret"
            ));
        }
    }
    let proxy = playing.proxy.as_ref();
    let clear =
        HttpUrl::parse(&playing.api_url).is_ok_and(|url| url.is_clear_beyond_loopback(proxy));
    if clear {
        let name = reader.name("twilio.api_url");
        reader.mistake(format!(
            "{name} = \"{}\" must begin with https://, because API keys are sent there, which http:// would send in the clear",
            playing.api_url
        ));
    }
}
