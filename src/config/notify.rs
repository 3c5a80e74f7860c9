//! `[[notify]]` and `[heartbeat]`: who is notified when something needs an operator.

use secrecy::SecretString;

use super::reader::SettingsReader;
use crate::domain::condition::ConditionKind;
use crate::domain::webhook::WebhookSecret;
use crate::net::OutboundUrl;

/// A receiver of messages. Its URL may contain a token, so it is a secret.
#[derive(Clone, Debug)]
pub struct NotifyTarget {
    pub url: SecretString,
    pub format: MessageFormat,
    /// It gets messages about these.
    pub events: Vec<ConditionKind>,
}

/// The form of a message.
#[derive(Clone, Debug)]
pub enum MessageFormat {
    /// JSON, signed as Standard Webhooks says.
    Json(WebhookSecret),
    /// For an incoming webhook of Slack.
    Slack,
}

impl MessageFormat {
    /// The value of the setting and of a metric's label.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Json(_) => "json",
            Self::Slack => "slack",
        }
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Json,
    Slack,
}

/// Reads the receivers.
pub(super) fn read(reader: &mut SettingsReader) -> Vec<NotifyTarget> {
    (1..=reader.notify)
        .filter_map(|number| entry(reader, number))
        .collect()
}

/// The URL that is requested while the bridge works.
pub(super) fn heartbeat(reader: &mut SettingsReader) -> Option<SecretString> {
    url(reader, "heartbeat.url")
}

fn entry(reader: &mut SettingsReader, number: usize) -> Option<NotifyTarget> {
    let key = |name: &str| format!("notify[{number}].{name}");
    let is_set = |reader: &mut SettingsReader, name| {
        reader.is_set(&key(name)) || reader.is_set(&format!("{}_file", key(name)))
    };
    if !is_set(reader, "url") {
        reader.mistake(format!("{} is not set", key("url")));
    }
    let url = url(reader, &key("url"));
    let kinds = [("json", Kind::Json), ("slack", Kind::Slack)];
    let is_kind_set = reader.is_set(&key("kind"));
    let kind = reader.choice(&key("kind"), &kinds);
    let kind = if is_kind_set { kind? } else { Kind::Json };
    let has_secret = is_set(reader, "secret");
    let secret = reader.secret(&key("secret"));
    let secret = secret.map(|text| WebhookSecret::parse(&text));
    let format = match (kind, secret) {
        (Kind::Slack, None) => Some(MessageFormat::Slack),
        (Kind::Json, Some(Some(secret))) => Some(MessageFormat::Json(secret)),
        (Kind::Slack, Some(_)) => {
            reader.mistake(format!(
                "{} is only for kind = \"json\"; Slack checks no signature",
                key("secret")
            ));
            None
        }
        (Kind::Json, Some(None)) => {
            reader.mistake(format!(
                "{} (a secret, not shown) must be whsec_ and 24 to 64 bytes in Base64; \
                 `openssl rand -base64 32` makes one",
                key("secret")
            ));
            None
        }
        // A file that cannot be read is a mistake already.
        (Kind::Json, None) if has_secret => None,
        (Kind::Json, None) => {
            reader.mistake(format!(
                "{} is not set: it signs the messages of kind = \"json\"",
                key("secret")
            ));
            None
        }
    };
    let events = reader.list(&key("events"), event);
    let events = events.unwrap_or_else(|| ConditionKind::NOTIFIED.to_vec());
    let (url, format) = (url?, format?);
    Some(NotifyTarget {
        url,
        format,
        events,
    })
}

fn event(text: &str) -> Result<ConditionKind, String> {
    let found = ConditionKind::NOTIFIED
        .into_iter()
        .find(|kind| kind.as_str() == text);
    found.ok_or_else(|| {
        let names = ConditionKind::NOTIFIED.map(ConditionKind::as_str);
        format!("must be one of {}", names.join(", "))
    })
}

fn url(reader: &mut SettingsReader, key: &str) -> Option<SecretString> {
    let text = reader.secret(key)?;
    let is_http = text.starts_with("https://") || text.starts_with("http://");
    if !is_http || OutboundUrl::of(&text).is_none() {
        reader.mistake(format!(
            "{key} (a secret, not shown) must be a URL that starts with https:// or http://"
        ));
        return None;
    }
    Some(text.into())
}
