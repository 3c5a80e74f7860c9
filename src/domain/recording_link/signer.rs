//! Signs the links that the bridge serves, and checks them.
//!
//! It does not know which recordings get a link.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::PATH;
use crate::clock::Millis;
use crate::twilio::{AccountSid, RawUrl, RecordingSid};

/// Separates these signatures from any other use of the same secret.
const SIGNED_AS: &str = "twilio-acquire-bridge recording link 1";

/// Signs links and checks them.
#[derive(Clone, Debug)]
pub struct LinkSigner {
    base: String,
    ttl: Duration,
    pub(super) keys: Vec<LinkKey>,
    /// The host of `twilio.api_url`, which recordings are fetched from.
    pub(super) api_host: Option<String>,
}

/// The key made of `recording.link_secret`.
#[derive(Clone)]
pub struct LinkKey(Hmac<Sha256>);

impl LinkKey {
    pub fn new(secret: &str) -> Self {
        Self(Hmac::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length"))
    }

    fn over(&self, account: &AccountSid, recording: &RecordingSid, expires: i64) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        mac.update(format!("{SIGNED_AS}\n{account}\n{recording}\n{expires}").as_bytes());
        mac
    }
}

impl fmt::Debug for LinkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkKey")
    }
}

/// Why a link is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordingLinkError {
    #[error("this is not a link that this bridge made")]
    Forged,
    #[error("this link has expired")]
    Expired,
}

impl LinkSigner {
    /// `base` is the public URL, without `/` at its end. The first of `keys` signs, all are accepted.
    /// Without keys, as in a dry run, the links have no signature.
    pub fn new(base: String, ttl: Duration, keys: Vec<LinkKey>) -> Self {
        Self {
            base,
            ttl,
            keys,
            api_host: None,
        }
    }

    /// Treats the host of `api_url` as Twilio's, like those of twilio.com.
    pub fn with_api_url(self, api_url: &str) -> Self {
        let api_host = Some(RawUrl::of(api_url).host.to_ascii_lowercase());
        Self { api_host, ..self }
    }

    /// The link to a recording, valid for the set time after `arrived`.
    ///
    /// If half of that time or more has passed at `now`, the link is valid longer by as many halves: a
    /// link that is sent works for at least half of the set time. Within each half the link is the same.
    pub fn link(
        &self,
        account: &AccountSid,
        recording: &RecordingSid,
        arrived: Millis,
        now: Millis,
    ) -> String {
        let url = format!("{}{PATH}{recording}", self.base);
        let Some(key) = self.keys.first() else {
            return url;
        };
        let half = self.ttl / 2;
        let halves = now.since(arrived).as_millis() / half.as_millis().max(1);
        let halves = u32::try_from(halves).unwrap_or(u32::MAX);
        let valid = self.ttl.saturating_add(half.saturating_mul(halves));
        let expires = arrived.plus(valid).0.div_euclid(1_000);
        let signature = key.over(account, recording, expires).finalize();
        let signature = URL_SAFE_NO_PAD.encode(signature.into_bytes());
        format!("{url}?account={account}&expires={expires}&signature={signature}")
    }

    /// The account of `recording`, if a link with this query is valid at `now`. The signature is
    /// compared in constant time and checked before the expiry, which a forged link must not reveal.
    ///
    /// # Errors
    /// The link is forged or has expired.
    pub fn verify(
        &self,
        recording: &RecordingSid,
        query: &str,
        now: Millis,
    ) -> Result<AccountSid, RecordingLinkError> {
        let link = LinkQuery::parse(query).ok_or(RecordingLinkError::Forged)?;
        let is_valid = |key: &LinkKey| {
            key.over(&link.account, recording, link.expires)
                .verify_slice(&link.signature)
                .is_ok()
        };
        if !self.keys.iter().any(is_valid) {
            return Err(RecordingLinkError::Forged);
        }
        if link.has_expired(now) {
            return Err(RecordingLinkError::Expired);
        }
        Ok(link.account)
    }
}

/// The query of a link.
pub(super) struct LinkQuery {
    pub(super) account: AccountSid,
    /// Seconds since the Unix epoch.
    expires: i64,
    signature: Vec<u8>,
}

impl LinkQuery {
    pub(super) fn has_expired(&self, now: Millis) -> bool {
        now.0.div_euclid(1_000) >= self.expires
    }

    /// Accepts only the three keys in the order in which a link has them.
    pub(super) fn parse(query: &str) -> Option<Self> {
        let rest = query.strip_prefix("account=")?;
        let (account, rest) = rest.split_once("&expires=")?;
        let (expires, signature) = rest.split_once("&signature=")?;
        let expires_at: i64 = expires.parse().ok()?;
        // A link has one form: `+5` and `05` are rejected.
        if expires != expires_at.to_string() {
            return None;
        }
        Some(Self {
            account: AccountSid::parse(account).ok()?,
            expires: expires_at,
            signature: URL_SAFE_NO_PAD.decode(signature).ok()?,
        })
    }
}

#[cfg(test)]
mod tests;
