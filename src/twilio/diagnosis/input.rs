//! The input of a diagnosis: the request as it arrived, and the keys that may have signed it.
//!
//! Nothing here tries a signature.

use secrecy::SecretString;

use super::super::public_url::{PublicUrl, SERVED};
use super::super::raw_url::RawUrl;

/// How the bridge read a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFormat {
    Form,
    Json,
}

/// A request with an invalid signature, as it arrived.
#[derive(Debug)]
pub struct DiagnosisInput<'a> {
    /// The public URLs for which it was verified.
    pub bases: &'a [UrlBase],
    /// The raw request target: path and query.
    pub target: &'a str,
    /// With names in lower case.
    pub headers: &'a [(String, String)],
    pub body: &'a [u8],
    pub body_format: BodyFormat,
    /// Queries that the URL at Twilio may have, without `?`.
    pub queries: &'a [String],
    /// The accounts that the bridge serves.
    pub account_sids: &'a [String],
}

/// Scheme, host, port and path prefix of a URL that was entered at Twilio.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlBase {
    pub(super) origin: String,
    pub(super) prefix: String,
}

impl UrlBase {
    pub fn of(url: &PublicUrl) -> Self {
        let (base, prefix) = (url.to_string(), url.prefix().to_owned());
        let origin = base[..base.len() - prefix.len()].to_owned();
        Self { origin, prefix }
    }

    /// A whole URL as its base and the target that a client would request.
    pub fn split(url: &str) -> (Self, &str) {
        let url = RawUrl::of(url);
        let prefix = url.path.find(SERVED).unwrap_or_default();
        let (prefix, target) = url.from_path().split_at(prefix);
        let base = Self {
            origin: url.before_path().to_owned(),
            prefix: prefix.to_owned(),
        };
        (base, target)
    }
}

/// Keys that may have signed.
#[derive(Clone, Debug)]
pub struct KeySet {
    /// The setting that has the keys.
    pub setting: String,
    pub role: KeyRole,
    pub auth_tokens: Vec<SecretString>,
    /// By their id.
    pub shared_keys: Vec<(String, SecretString)>,
}

/// How keys relate to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyRole {
    /// Verification used them.
    Configured,
    /// They belong to another account.
    OtherAccount,
    /// They were given for the diagnosis only.
    Spare,
}

impl<'a> DiagnosisInput<'a> {
    /// The values of each header named `name`.
    pub(super) fn header<'b>(&'b self, name: &'b str) -> impl Iterator<Item = &'a str> {
        let named = move |(other, _): &&(String, String)| other == name;
        self.headers
            .iter()
            .filter(named)
            .map(|(_, value)| value.as_str())
    }

    /// The values of `key` in `Forwarded` (RFC 7239).
    pub(super) fn forwarded(&self, key: &str) -> Vec<String> {
        self.header("forwarded")
            .flat_map(|value| value.split([',', ';']))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(|(name, _)| name.eq_ignore_ascii_case(key))
            .map(|(_, value)| value.trim_matches('"').to_owned())
            .collect()
    }

    /// The request targets that a proxy reports in the headers `names`.
    pub(super) fn original_targets(&self, names: &[&str]) -> Vec<String> {
        let reported = names.iter().flat_map(|name| self.header(name));
        reported
            .map(|text| match UrlBase::split(text) {
                (base, target) if text.contains("://") => format!("{}{target}", base.prefix),
                _ => text.to_owned(),
            })
            .filter(|text| text.starts_with('/'))
            .collect()
    }
}
