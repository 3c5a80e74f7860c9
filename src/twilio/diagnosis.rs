//! Why a signature does not hold: the ways in which it usually goes wrong, tried one after another.
//!
//! This is for a request that plain verification has refused, and changes nothing about that: what
//! comes out is a [`Finding`] for a person, never a verified form, and never an expected signature.
//!
//! The work is bounded: at most [`MAX_TRIES`] signatures are made and [`MAX_BYTES`] hashed,
//! likely ways and single faults first, then two and three at once.

mod difference;
mod fields;
mod origin;
mod path_and_query;
mod signature_text;

use secrecy::{ExposeSecret as _, SecretString};

pub use difference::{Diagnosis, Difference};

use super::public_url::{PublicUrl, SERVED};
use super::raw_url::RawUrl;
use super::signature::Key;
use signature_text::{Match, SignatureText};

/// The most signatures that are made for one finding.
pub const MAX_TRIES: usize = 8192;

/// The most bytes that are hashed for one finding.
pub const MAX_BYTES: usize = 16 << 20;

/// The most differences at once.
const MAX_DIFFERENCES: u8 = 3;

/// The most of them in one URL.
const MAX_URL_DIFFERENCES: u8 = 2;

/// What a body was taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFormat {
    Form,
    Json,
}

/// A request whose signature did not hold, as it arrived.
#[derive(Debug)]
pub struct DiagnosisInput<'a> {
    /// The URLs that it was compared with, without their served path.
    pub bases: &'a [UrlBase],
    /// The raw request target: path and query.
    pub target: &'a str,
    /// With names in lower case.
    pub headers: &'a [(String, String)],
    pub body: &'a [u8],
    pub body_format: BodyFormat,
    /// Queries that Twilio may have been told, without `?`.
    pub queries: &'a [String],
    /// The accounts that are served.
    pub account_sids: &'a [String],
}

/// Scheme, host and port, and the path prefix, of a URL that Twilio was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlBase {
    origin: String,
    prefix: String,
}

impl UrlBase {
    #[must_use]
    pub fn of(url: &PublicUrl) -> Self {
        let (base, prefix) = (url.to_string(), url.prefix().to_owned());
        let origin = base[..base.len() - prefix.len()].to_owned();
        Self { origin, prefix }
    }

    /// A whole URL as its base and the target that would be requested.
    #[must_use]
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
    /// Where the keys stand in the configuration.
    pub setting: String,
    pub role: KeyRole,
    pub auth_tokens: Vec<SecretString>,
    /// By their id.
    pub shared_keys: Vec<(String, SecretString)>,
}

/// What keys have to do with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyRole {
    /// Those that it was judged by.
    Configured,
    /// Those of another account.
    OtherAccount,
    /// Given to be tried only.
    Spare,
}

impl<'a> DiagnosisInput<'a> {
    fn header<'b>(&'b self, name: &'b str) -> impl Iterator<Item = &'a str> {
        let named = move |(other, _): &&(String, String)| other == name;
        self.headers
            .iter()
            .filter(named)
            .map(|(_, value)| value.as_str())
    }

    /// What `Forwarded` (RFC 7239) says of `key`.
    fn forwarded(&self, key: &str) -> Vec<String> {
        self.header("forwarded")
            .flat_map(|value| value.split([',', ';']))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(|(name, _)| name.eq_ignore_ascii_case(key))
            .map(|(_, value)| value.trim_matches('"').to_owned())
            .collect()
    }

    /// The targets that proxies say they were asked for.
    fn original_targets(&self, names: &[&str]) -> Vec<String> {
        let told = names.iter().flat_map(|name| self.header(name));
        told.map(|text| match UrlBase::split(text) {
            (base, target) if text.contains("://") => format!("{}{target}", base.prefix),
            _ => text.to_owned(),
        })
        .filter(|text| text.starts_with('/'))
        .collect()
    }
}

/// Whether [`DiagnosisInput`] has use for a header.
#[must_use]
pub fn is_diagnostic_header(name: &str) -> bool {
    origin::HOST_HEADERS.contains(&name)
        || path_and_query::TARGET_HEADERS.contains(&name)
        || path_and_query::PREFIX_HEADERS.contains(&name)
        || [
            "forwarded",
            "x-forwarded-port",
            "x-twilio-webhooks-signature-settings",
        ]
        .contains(&name)
}

/// A part of what may have been signed, and how it differs from what was judged.
#[derive(Clone, Debug)]
struct Candidate {
    text: String,
    faults: Vec<Difference>,
    cost: u8,
}

impl Candidate {
    fn right(text: String) -> Self {
        Self::new(text, [])
    }

    fn new(text: String, faults: impl IntoIterator<Item = Difference>) -> Self {
        let faults: Vec<Difference> = faults.into_iter().collect();
        let cost = u8::try_from(faults.len()).unwrap_or(u8::MAX);
        Self { text, faults, cost }
    }

    /// What is unlikely is tried later, as if it were several faults.
    fn costs(self, cost: u8) -> Self {
        Self { cost, ..self }
    }
}

/// Why `signature` does not hold for what arrived; `None` where it is missing.
#[must_use]
pub fn diagnose(
    evidence: &DiagnosisInput<'_>,
    holders: &[KeySet],
    signature: Option<&str>,
) -> Diagnosis {
    let Some(signature) = signature.filter(|text| !text.is_empty()) else {
        return Diagnosis::of(Difference::NoSignature);
    };
    let found = CandidateSearch::of(evidence, holders, signature).run();
    found.unwrap_or_else(|| {
        Diagnosis::of(if evidence.body.is_empty() {
            Difference::BodyLost
        } else {
            Difference::NoMatch
        })
    })
}

struct CandidateSearch<'a> {
    claim: SignatureText<'a>,
    media: BodyFormat,
    keys: Vec<(Key, Candidate)>,
    urls: Vec<Candidate>,
    texts: Vec<Candidate>,
    tries: usize,
    bytes: usize,
}

impl<'a> CandidateSearch<'a> {
    fn of(evidence: &DiagnosisInput<'_>, holders: &[KeySet], signature: &'a str) -> Self {
        let mut urls: Vec<Candidate> = evidence
            .bases
            .iter()
            .flat_map(|base| urls(base, evidence))
            .collect();
        let mut texts = fields::texts(evidence);
        // Stable: within a cost the likelier one stays first.
        urls.sort_by_key(|candidate| candidate.cost);
        texts.sort_by_key(|candidate| candidate.cost);
        Self {
            claim: SignatureText::of(signature),
            media: evidence.body_format,
            keys: keys(evidence, holders),
            urls,
            texts,
            tries: 0,
            bytes: 0,
        }
    }

    fn run(mut self) -> Option<Diagnosis> {
        (0..=MAX_DIFFERENCES).find_map(|cost| self.tries_that_cost(cost))
    }

    fn tries_that_cost(&mut self, cost: u8) -> Option<Diagnosis> {
        let (urls, texts) = (
            std::mem::take(&mut self.urls),
            std::mem::take(&mut self.texts),
        );
        let keys = std::mem::take(&mut self.keys);
        let within = |candidates: &'_ [Candidate], most: u8| {
            candidates.partition_point(|candidate| candidate.cost <= most)
        };
        let mut found = None;
        'search: for (key, who) in keys.iter().filter(|(_, who)| who.cost <= cost) {
            let left = cost - who.cost;
            for text in &texts[..within(&texts, left)] {
                let left = left - text.cost;
                let exact = within(&urls, left);
                let cheaper = left.checked_sub(1).map_or(0, |less| within(&urls, less));
                for url in &urls[cheaper..exact] {
                    if self.is_used_up(url, text) {
                        break 'search;
                    }
                    found = self.try_one(key, [who, url, text]);
                    if found.is_some() {
                        break 'search;
                    }
                }
            }
        }
        (self.urls, self.texts, self.keys) = (urls, texts, keys);
        found
    }

    fn is_used_up(&mut self, url: &Candidate, text: &Candidate) -> bool {
        self.tries += 1;
        self.bytes += url.text.len() + text.text.len();
        self.tries > MAX_TRIES || self.bytes > MAX_BYTES
    }

    fn try_one(&self, key: &Key, [who, url, text]: [&Candidate; 3]) -> Option<Diagnosis> {
        let likeness = self.claim.compare(&key.sign(&[&url.text], &text.text));
        let mended = match likeness {
            Match::Different => return None,
            Match::Repaired => Some(Difference::SignatureText),
            Match::Same => None,
        };
        let parts = [url, who, text]
            .into_iter()
            .flat_map(|part| part.faults.clone());
        let mut faults: Vec<Difference> = parts.chain(mended).collect();
        if faults.is_empty() {
            // Plain verification asks for one thing more: the hash of a JSON body.
            if self.media != BodyFormat::Json {
                return None;
            }
            faults.push(Difference::BodyChanged);
        }
        Some(Diagnosis {
            differences: faults,
            url: Some(url.text.clone()),
        })
    }
}

/// Every URL to try for one public URL.
fn urls(base: &UrlBase, evidence: &DiagnosisInput<'_>) -> Vec<Candidate> {
    let (path, query) = match evidence.target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (evidence.target, None),
    };
    let (path, fragment) = path
        .split_once('#')
        .map_or((path, None), |(p, f)| (p, Some(f)));
    let origins = origin::origins(&base.origin, evidence);
    let paths = path_and_query::paths(path, &base.prefix, evidence);
    let queries = path_and_query::queries(query, evidence);
    let mut found = Vec::new();
    for origin in &origins {
        // Three at once are only looked for in scheme, host and port.
        let most = MAX_URL_DIFFERENCES.max(origin.cost);
        for path in paths.iter().filter(|path| origin.cost + path.cost <= most) {
            let cost = origin.cost + path.cost;
            for query in queries.iter().filter(|query| cost + query.cost <= most) {
                let parts = [origin, path, query];
                let faults = parts.iter().flat_map(|part| part.faults.clone());
                let faults = faults.chain(fragment.map(|_| Difference::Leftover));
                let text = parts.map(|part| part.text.as_str()).concat();
                found.push(Candidate::new(text, faults).costs(cost + query.cost));
            }
        }
    }
    found
}

/// Every key to try, those that judged first.
fn keys(evidence: &DiagnosisInput<'_>, holders: &[KeySet]) -> Vec<(Key, Candidate)> {
    let settings = evidence
        .header("x-twilio-webhooks-signature-settings")
        .next();
    let mut found = Vec::new();
    for holder in holders {
        let other = match holder.role {
            KeyRole::Configured => None,
            KeyRole::OtherAccount => Some(Difference::OtherAccount(holder.setting.clone())),
            KeyRole::Spare => Some(Difference::SpareToken),
        };
        let mut add = |key: Key, more: Option<Difference>| {
            let faults = other.iter().cloned().chain(more);
            found.push((key, Candidate::new(String::new(), faults)));
        };
        let sha1 = settings.map(|_| Difference::Sha1);
        let sha256 = settings.is_none().then_some(Difference::Sha256);
        for token in &holder.auth_tokens {
            let token = token.expose_secret();
            add(Key::auth_token(token), sha1.clone());
            add(Key::shared_key(token), Some(Difference::Sha256));
            for text in meant(token) {
                add(
                    Key::auth_token(&text),
                    Some(Difference::TokenText(holder.setting.clone())),
                );
            }
        }
        for (_, secret) in &holder.shared_keys {
            add(Key::shared_key(secret.expose_secret()), sha256.clone());
            add(
                Key::auth_token(secret.expose_secret()),
                Some(Difference::Sha1),
            );
        }
    }
    found.sort_by_key(|(_, who)| who.cost);
    found
}

/// What a token that was copied carelessly was meant to be.
fn meant(token: &str) -> Vec<String> {
    let is_quote = |c: char| c.is_whitespace() || "\"'`".contains(c);
    let bare = token.trim_matches(is_quote);
    let mut meant = vec![bare.to_owned(), bare.to_ascii_lowercase()];
    meant.dedup();
    meant.retain(|text| text != token && !text.is_empty());
    meant
}

#[cfg(test)]
mod tests;
