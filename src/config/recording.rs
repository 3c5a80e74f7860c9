//! `[recording]`: which calls wait for a recording, and the links that Acquire receives.
//!
//! The links are signed in `domain/recording_link.rs` and served by `server/recordings`.

use std::time::Duration;

use super::accounts::Account;
use super::duration::{days, hours, millis, minutes};
use super::reader::SettingsReader;
use super::setting::restart;
use super::twilio::TwilioSettings;
use crate::domain::plan::{LateRecording, RecordingExpectation, RecordingRules};
use crate::domain::recording_link::{LinkKey, LinkSigner, RecordingLinks};
use crate::twilio::signature::PublicUrl;

/// The output size of the hash that the secret keys, in bytes (RFC 2104, section 3).
const MIN_SECRET_LENGTH: usize = 32;

/// How the bridge plays recordings (`recording.link = "bridge"`).
#[derive(Clone, Debug)]
pub struct PlaybackSettings {
    pub link_signer: LinkSigner,
    pub twilio: TwilioSettings,
    /// Appended to the path of a recording (`recording.format`).
    pub format: &'static str,
    /// For Twilio's response, for each part of it, and for the listener to receive the part.
    pub timeout: Duration,
    /// Limit of recordings that are played at the same time.
    pub concurrency: usize,
}

#[derive(Clone, Copy)]
enum LinkKind {
    Twilio,
    Bridge,
}

/// The settings of links, except their secret.
struct LinkSettings {
    kind: LinkKind,
    ttl: Duration,
    format: &'static str,
}

impl LinkSettings {
    fn read(reader: &mut SettingsReader) -> Option<Self> {
        let kinds = [("twilio", LinkKind::Twilio), ("bridge", LinkKind::Bridge)];
        let kind = reader.choice(restart("recording.link"), &kinds);
        let ttl = reader.duration(restart("recording.link_ttl"), minutes(1)..=days(3_650));
        // An empty variable is the same as none, so there may be no value to choose by.
        let format = if reader.is_set("recording.format") {
            let formats = [("", ""), (".mp3", ".mp3"), (".wav", ".wav")];
            reader.choice(restart("recording.format"), &formats)
        } else {
            Some("")
        };
        Some(Self {
            kind: kind?,
            ttl: ttl?,
            format: format?,
        })
    }

    fn links(
        &self,
        public_urls: &[PublicUrl],
        keys: Vec<LinkKey>,
        api_url: Option<&str>,
    ) -> RecordingLinks {
        match self.kind {
            LinkKind::Twilio => RecordingLinks::Twilio {
                format: self.format,
            },
            LinkKind::Bridge => {
                let base = public_urls.first().map(ToString::to_string);
                let signer = LinkSigner::new(base.unwrap_or_default(), self.ttl, keys);
                RecordingLinks::Bridge(signer.with_api_url(api_url.unwrap_or_default()))
            }
        }
    }
}

/// The links without a valid signature, for commands that only show requests.
pub(super) fn links_without_secrets(
    reader: &mut SettingsReader,
    public_urls: &[PublicUrl],
) -> Option<RecordingLinks> {
    let api_url = reader.text(restart("twilio.api_url"), |text| Ok(text.to_owned()));
    Some(LinkSettings::read(reader)?.links(public_urls, Vec::new(), api_url.as_deref()))
}

/// The links that Acquire receives, and how they are played if they are links of the bridge.
pub(super) fn links(
    reader: &mut SettingsReader,
    public_urls: &[PublicUrl],
    twilio: Option<&TwilioSettings>,
) -> Option<(RecordingLinks, Option<PlaybackSettings>)> {
    let settings = LinkSettings::read(reader);
    let secrets = reader.secrets(restart("recording.link_secret"));
    let timeout = reader.duration(restart("recording.timeout"), millis(100)..=minutes(5));
    let concurrency = reader.number(restart("recording.concurrency"), 1..=1_024);
    let settings = settings?;
    let keys = match settings.kind {
        LinkKind::Twilio => Vec::new(),
        LinkKind::Bridge => link_keys(reader, secrets),
    };
    let api_url = twilio.map(|twilio| twilio.api_url.as_str());
    let links = settings.links(public_urls, keys, api_url);
    let RecordingLinks::Bridge(link_signer) = &links else {
        return Some((links, None));
    };
    let playback = PlaybackSettings {
        link_signer: link_signer.clone(),
        twilio: twilio?.clone(),
        format: settings.format,
        timeout: timeout?,
        concurrency: concurrency?,
    };
    Some((links, Some(playback)))
}

fn link_keys(reader: &mut SettingsReader, secrets: Option<Vec<String>>) -> Vec<LinkKey> {
    let Some(secrets) = secrets else {
        let name = reader.name("recording.link");
        reader.mistake(format!(
            "{name} = \"bridge\" needs recording.link_secret: generate one with openssl rand \
             -hex 32"
        ));
        return Vec::new();
    };
    let is_short = |secret: &String| secret.len() < MIN_SECRET_LENGTH;
    if secrets.iter().any(is_short) {
        reader.mistake(format!(
            "recording.link_secret (a secret, not shown) must have at least {MIN_SECRET_LENGTH} \
             characters: generate one with openssl rand -hex 32"
        ));
    }
    secrets.iter().map(|secret| LinkKey::new(secret)).collect()
}

/// The rules of recordings, which contain the links that were read before.
pub(super) fn rules(
    reader: &mut SettingsReader,
    links: Option<RecordingLinks>,
) -> Option<RecordingRules> {
    let wait = reader.duration("recording.wait", millis(0)..=hours(24));
    let expect = reader.choice("recording.expect", &RecordingExpectation::WORDS);
    let late = reader.choice("recording.late", &LateRecording::WORDS);
    Some(RecordingRules {
        expect: expect?,
        wait: wait?,
        late: late?,
        links: links?,
    })
}

/// Refuses links of the bridge for an account without an API key, which fetches its recordings.
pub(super) fn require_api_keys(reader: &mut SettingsReader, accounts: &[Account]) {
    for (number, account) in (1..).zip(accounts) {
        if account.twilio_api_key.is_some() {
            continue;
        }
        let (account, key) = match &account.twilio_account_sid {
            Some(_) => {
                let entry = format!("accounts[{number}]");
                (entry.clone(), format!("{entry}.twilio_api_key"))
            }
            None => ("the account".to_owned(), "twilio.api_key".to_owned()),
        };
        // A key that is set and wrong has a mistake of its own.
        if !reader.is_set(&format!("{key}_sid")) {
            let name = reader.name("recording.link");
            reader.mistake(format!(
                "{account} has no Twilio API key, which {name} = \"bridge\" needs to fetch \
                 recordings: set {key}_sid and {key}_secret"
            ));
        }
    }
}
