//! Makes the URL of a recording that Acquire gets: Twilio's own, or a signed link of the bridge.
//!
//! It does no I/O. The bridge signs links only of recordings that it sends to Acquire, so a valid
//! signature is enough to play a recording.

mod presigned;
mod signer;

use crate::clock::Millis;
use crate::twilio::{AccountSid, RawUrl, RecordingSid};
use signer::LinkQuery;
pub use signer::{LinkKey, LinkSigner, RecordingLinkError};

/// The served path, before the `RecordingSid`.
pub const PATH: &str = "/recordings/";

/// The domain of the hosts that store recordings at Twilio, one for each region.
const TWILIO_DOMAIN: &str = "twilio.com";

/// The kind of URL that Acquire gets (`recording.link`).
#[derive(Clone, Debug)]
pub enum RecordingLinks {
    /// Twilio's own URL; `format` is appended to it (`recording.format`).
    Twilio { format: &'static str },
    /// A link that the bridge serves.
    Bridge(LinkSigner),
}

impl Default for RecordingLinks {
    fn default() -> Self {
        Self::Twilio { format: "" }
    }
}

impl RecordingLinks {
    /// The URL of a recording at `now`, from a callback with `reported_url` that arrived at `arrived`; or
    /// why there is none. It always works at `now`.
    pub fn url(
        &self,
        account: &AccountSid,
        recording: Option<&RecordingSid>,
        reported_url: &str,
        arrived: Millis,
        now: Millis,
    ) -> Result<String, &'static str> {
        match self {
            _ if self.is_elsewhere(reported_url) => own_url(reported_url, now),
            Self::Twilio { format } => Ok(with_format(reported_url, format)),
            Self::Bridge(signer) => recording
                .map(|recording| signer.link(account, recording, arrived, now))
                .ok_or("the callback of the recording has no RecordingSid, which a link needs"),
        }
    }

    /// Whether links of the bridge are sent, and yet this recording's own URL, because Twilio does not
    /// store the recording and the bridge cannot fetch it.
    pub fn leaves_alone(&self, reported_url: &str) -> bool {
        matches!(self, Self::Bridge(_)) && self.is_elsewhere(reported_url)
    }

    /// Whether a recording is stored outside Twilio, for example in a bucket of the customer (Twilio
    /// docs, Recordings, "External storage"). A text without a host is not.
    fn is_elsewhere(&self, url: &str) -> bool {
        let api_host = match self {
            Self::Twilio { .. } => None,
            Self::Bridge(signer) => signer.api_host.as_deref(),
        };
        let url = RawUrl::of(url);
        let host = url.host.to_ascii_lowercase();
        !url.scheme.is_empty()
            && host != TWILIO_DOMAIN
            && !host.ends_with(&format!(".{TWILIO_DOMAIN}"))
            && Some(host.as_str()) != api_host
    }

    /// Whether `url` is a link of a bridge, or a presigned URL, that does not work at `now`.
    pub fn is_dead(&self, url: &str, now: Millis) -> bool {
        let Some((recording, query)) = link_parts(url) else {
            return presigned::has_expired(url, now);
        };
        match self {
            // The bridge serves no links.
            Self::Twilio { .. } => LinkQuery::parse(query).is_some(),
            // Without keys, only the expiry can be checked.
            Self::Bridge(signer) if signer.keys.is_empty() => {
                LinkQuery::parse(query).is_some_and(|query| query.has_expired(now))
            }
            Self::Bridge(signer) => signer.verify(&recording, query, now).is_err(),
        }
    }
}

/// Whether two URLs are links to the same recording, with any expiry and secret.
pub fn is_same_link(one: &str, other: &str) -> bool {
    let target = |url: &str| {
        let (recording, query) = link_parts(url)?;
        let query = LinkQuery::parse(query)?;
        Some((recording, query.account))
    };
    target(one).is_some_and(|same| target(other) == Some(same))
}

/// The recording and the query of a link.
fn link_parts(url: &str) -> Option<(RecordingSid, &str)> {
    let (path, query) = url.split_once('?')?;
    let (_, recording) = path.rsplit_once(PATH)?;
    Some((RecordingSid::parse(recording).ok()?, query))
}

/// The URL of a recording outside Twilio, unchanged: it can be signed for its owner's storage.
fn own_url(url: &str, now: Millis) -> Result<String, &'static str> {
    let scheme = RawUrl::of(url).scheme.to_ascii_lowercase();
    let is_web = ["https", "http"].contains(&scheme.as_str());
    if !is_web {
        Err(
            "the recording is stored outside Twilio, and its RecordingUrl is not an https:// address",
        )
    } else if presigned::has_expired(url, now) {
        Err("the recording is stored outside Twilio, and its presigned RecordingUrl has expired")
    } else {
        Ok(url.to_owned())
    }
}

/// Twilio's URL with the extension of the format; one that already has an extension keeps it.
fn with_format(url: &str, format: &str) -> String {
    let name = url.rsplit('/').next().unwrap_or_default();
    if name.contains(['.', '?']) {
        return url.to_owned();
    }
    format!("{url}{format}")
}

#[cfg(test)]
mod tests;
