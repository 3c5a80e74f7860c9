//! `X-Twilio-Signature`: pure signing and verifying.
//!
//! The rules (Twilio docs, "Webhooks security", and what Twilio's libraries do: Python 9.13.0,
//! Node 6.2.0):
//! the signed text is the URL as Twilio was given it, followed by every form field sorted by name in
//! byte order, name and value without any delimiter; a repeated name contributes each of its
//! distinct values in byte order. The key is an auth token with HMAC-SHA1, or a `SharedKey` with
//! HMAC-SHA256. The base64 **text** is compared, in constant time: decoding first would accept
//! spellings that both libraries refuse.
//!
//! A JSON body is not part of the text; its lower-case hex SHA-256 stands in the URL's `bodySHA256`.
//!
//! Where the two libraries disagree, these are the choices:
//!
//! | kind | choice | why |
//! | --- | --- | --- |
//! | query re-encoding, URL normalisation | Python: the bytes as received | Twilio signs what it was given; a second spelling doubles what a forger may aim at |
//! | port removal with user info or IPv6 | Node: only the port is cut | Python cuts at the first `:`, and so takes `https://real:443@evil:8443` for `https://real` |
//! | empty `?`, `#`, `;`, letter case of the scheme | Node: kept as received | as above; a scheme in lower case is tried too, since both take that |
//! | a port that is empty, `0`, no number, or has leading zeros | Node: it is cut as any other; never rewritten | the text after `:` is a port whatever it says |
//! | order of astral characters and U+E000..U+FFFF | Python: code points, which is UTF-8 byte order | documented as "Unix-style case-sensitive"; no Twilio name has either |
//! | empty JSON body | Python: its hash is that of no bytes | Node hashes `{}`, which was not sent |
//! | JSON without `bodySHA256` | Python: refused unless the body is empty | nothing would protect the body |
//! | form with `bodySHA256` in the URL | Python: the fields are signed | the media type decides what a body is, not a word in the URL |
//!
//! None accepts what both refuse. That holds for two kinds in one request too: where Python's rules
//! for the body may differ from Node's, only the spellings of the URL that Python tries count.

pub(crate) mod settings;
mod url_variants;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

pub use super::public_url::{PublicUrl, PublicUrlError};
pub use super::signature::settings::{SignatureSettings, SignatureSettingsError};

use super::raw_url::RawUrl;
use url_variants::UrlVariants;

/// What a signature is made with.
#[derive(Clone)]
pub enum Key {
    /// HMAC-SHA1; the default at Twilio.
    AuthToken(Box<Hmac<Sha1>>),
    /// HMAC-SHA256, when `X-Twilio-Webhooks-Signature-Settings` names a `SharedKey`
    /// (Twilio docs, "Webhook shared keys", public beta).
    SharedKey(Box<Hmac<Sha256>>),
}

impl Key {
    #[must_use]
    pub fn auth_token(token: &str) -> Self {
        let mac = Hmac::new_from_slice(token.as_bytes());
        Self::AuthToken(Box::new(mac.expect("HMAC takes a key of any length")))
    }

    #[must_use]
    pub fn shared_key(secret: &str) -> Self {
        let mac = Hmac::new_from_slice(secret.as_bytes());
        Self::SharedKey(Box::new(mac.expect("HMAC takes a key of any length")))
    }

    /// Over the parts of a URL and what [`canonical`] made of the body.
    pub(in crate::twilio) fn sign(&self, url: &[&str], fields: &str) -> String {
        fn finish<M: Mac + Clone>(mac: &M, url: &[&str], fields: &str) -> String {
            let mut mac = mac.clone();
            for part in url {
                mac.update(part.as_bytes());
            }
            mac.update(fields.as_bytes());
            STANDARD.encode(mac.finalize().into_bytes())
        }
        match self {
            Self::AuthToken(mac) => finish(mac.as_ref(), url, fields),
            Self::SharedKey(mac) => finish(mac.as_ref(), url, fields),
        }
    }
}

/// What is signed beside the URL.
#[derive(Clone, Copy, Debug)]
pub enum Body<'a> {
    /// The decoded fields of a form, in any order.
    Form(&'a [(String, String)]),
    /// The raw bytes of a JSON body.
    Json(&'a [u8]),
}

/// Signs as Twilio does for the URL exactly as given.
#[must_use]
pub fn sign(key: &Key, url: &str, body: Body<'_>) -> String {
    key.sign(&[url], &canonical(body))
}

/// Whether any of `keys` made `signature` for `url` and `body`.
///
/// The URL is tried as given, without its port, and with the default port of its scheme if it has
/// none, because Twilio is documented to leave the port out for voice over HTTPS and to keep it
/// elsewhere, and its libraries accept each.
#[must_use]
pub fn verify(keys: &[Key], url: &str, body: Body<'_>, signature: &str) -> bool {
    signer(keys, url, body, signature).is_some()
}

/// As [`verify`], with the index of the key that made it.
#[must_use]
pub fn signer(keys: &[Key], url: &str, body: Body<'_>, signature: &str) -> Option<usize> {
    if let Body::Json(bytes) = body
        && !hash_matches(url, bytes)
    {
        return None;
    }
    let fields = canonical(body);
    let spellings = UrlVariants::of(url, body, &fields);
    keys.iter().position(|key| {
        spellings.each().any(|spelling| {
            let expected = key.sign(&spelling, &fields);
            bool::from(expected.as_bytes().ct_eq(signature.as_bytes()))
        })
    })
}

/// The fields as they are signed: names in byte order, distinct values in byte order, joined bare.
pub(in crate::twilio) fn canonical(body: Body<'_>) -> String {
    let Body::Form(fields) = body else {
        return String::new();
    };
    let mut sorted: Vec<&(String, String)> = fields.iter().collect();
    sorted.sort_unstable();
    sorted.dedup();
    let mut text = String::with_capacity(
        sorted
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum(),
    );
    for (name, value) in sorted {
        text.push_str(name);
        text.push_str(value);
    }
    text
}

/// Whether the first filled `bodySHA256` of the URL's query is the body's hash in lower-case hex.
fn hash_matches(url: &str, body: &[u8]) -> bool {
    let query = RawUrl::of(url).query.unwrap_or_default();
    let stated = fields(query.as_bytes())
        .into_iter()
        .find_map(|(name, value)| (name == "bodySHA256" && !value.is_empty()).then_some(value));
    match stated {
        Some(stated) => stated.as_bytes().ct_eq(hex_sha256(body).as_bytes()).into(),
        None => body.is_empty(),
    }
}

fn hex_sha256(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(bytes)
        .iter()
        .fold(String::with_capacity(64), |mut hex, byte| {
            // Writing to a String cannot fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
}

/// The decoded fields of a form or query, in order and with repeats.
///
/// By the WHATWG rules, as Twilio's libraries read them: `+` is a space, a malformed `%` stays, and
/// bytes that are no UTF-8 become U+FFFD.
#[must_use]
pub fn fields(form: &[u8]) -> Vec<(String, String)> {
    // Reading pairs of strings from a form cannot fail.
    serde_urlencoded::from_bytes(form).unwrap_or_default()
}

#[cfg(test)]
mod tests;
