//! Finds out why a signature is invalid, by trying the mistakes that usually cause it.
//!
//! The input is a request that plain verification has refused. A [`Diagnosis`] is for the operator:
//! it never makes the request valid, and it never contains an expected signature.

mod candidates;
mod difference;
mod fields;
mod input;
mod origin;
mod path_and_query;
mod signature_text;

use secrecy::ExposeSecret as _;

use super::signature::SigningKey;
use candidates::{Candidate, CandidateSearch};
pub use candidates::{MAX_BYTES, MAX_TRIES};
pub use difference::{Diagnosis, Difference};
pub use input::{BodyFormat, DiagnosisInput, KeyRole, KeySet, UrlBase};

/// The most differences in one URL.
const MAX_URL_DIFFERENCES: u8 = 2;

/// Whether [`DiagnosisInput`] uses a header.
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

/// Why `signature` is invalid for the request; `None` where the header is missing.
pub fn diagnose(
    input: &DiagnosisInput<'_>,
    key_sets: &[KeySet],
    signature: Option<&str>,
) -> Diagnosis {
    let Some(signature) = signature.filter(|text| !text.is_empty()) else {
        return Diagnosis::of(Difference::NoSignature);
    };
    search(input, key_sets, signature).run().unwrap_or_else(|| {
        Diagnosis::of(if input.body.is_empty() {
            Difference::BodyLost
        } else {
            Difference::NoMatch
        })
    })
}

fn search<'a>(
    input: &DiagnosisInput<'_>,
    key_sets: &[KeySet],
    signature: &'a str,
) -> CandidateSearch<'a> {
    let urls = input.bases.iter().flat_map(|base| urls(base, input));
    CandidateSearch::new(
        signature,
        input.body_format,
        keys(input, key_sets),
        urls.collect(),
        fields::texts(input),
    )
}

/// Every URL to try for one public URL.
fn urls(base: &UrlBase, input: &DiagnosisInput<'_>) -> Vec<Candidate> {
    let (path, query) = match input.target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (input.target, None),
    };
    let (path, fragment) = path
        .split_once('#')
        .map_or((path, None), |(p, f)| (p, Some(f)));
    let origins = origin::origins(&base.origin, input);
    let paths = path_and_query::paths(path, &base.prefix, input);
    let queries = path_and_query::queries(query, input);
    let mut found = Vec::new();
    for origin in &origins {
        // Three differences at once are tried in scheme, host and port only.
        let most = MAX_URL_DIFFERENCES.max(origin.cost);
        for path in paths.iter().filter(|path| origin.cost + path.cost <= most) {
            let cost = origin.cost + path.cost;
            for query in queries.iter().filter(|query| cost + query.cost <= most) {
                let parts = [origin, path, query];
                let differences = parts.iter().flat_map(|part| part.differences.clone());
                let differences = differences.chain(fragment.map(|_| Difference::Leftover));
                let text = parts.map(|part| part.text.as_str()).concat();
                found.push(Candidate::new(text, differences).with_cost(cost + query.cost));
            }
        }
    }
    found
}

/// Every key to try, each with the hash of its kind and with the other one.
fn keys(input: &DiagnosisInput<'_>, key_sets: &[KeySet]) -> Vec<(SigningKey, Candidate)> {
    let settings = input.header("x-twilio-webhooks-signature-settings").next();
    let mut found = Vec::new();
    for set in key_sets {
        let other = match set.role {
            KeyRole::Configured => None,
            KeyRole::OtherAccount => Some(Difference::OtherAccount(set.setting.clone())),
            KeyRole::Spare => Some(Difference::SpareToken),
        };
        let mut add = |key: SigningKey, more: Option<Difference>| {
            let differences = other.iter().cloned().chain(more);
            found.push((key, Candidate::new(String::new(), differences)));
        };
        let sha1 = settings.map(|_| Difference::Sha1);
        let sha256 = settings.is_none().then_some(Difference::Sha256);
        for token in &set.auth_tokens {
            let token = token.expose_secret();
            add(SigningKey::auth_token(token), sha1.clone());
            add(SigningKey::shared_key(token), Some(Difference::Sha256));
            for text in intended(token) {
                let difference = Difference::TokenText(set.setting.clone());
                add(SigningKey::auth_token(&text), Some(difference));
            }
        }
        for (_, secret) in &set.shared_keys {
            let secret = secret.expose_secret();
            add(SigningKey::shared_key(secret), sha256.clone());
            add(SigningKey::auth_token(secret), Some(Difference::Sha1));
        }
    }
    found
}

/// The tokens that a badly copied one may have been: without quotes, and in lower case.
fn intended(token: &str) -> Vec<String> {
    let is_quote = |c: char| c.is_whitespace() || "\"'`".contains(c);
    let bare = token.trim_matches(is_quote);
    let mut intended = vec![bare.to_owned(), bare.to_ascii_lowercase()];
    intended.dedup();
    intended.retain(|text| text != token && !text.is_empty());
    intended
}

#[cfg(test)]
mod tests;
