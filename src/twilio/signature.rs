//! `X-Twilio-Signature`: pure signing and verifying.
//!
//! It does no I/O, knows no account, and does not read the fields of a callback.
//!
//! The rules are those of the Twilio docs, "Webhooks security", and of Twilio's libraries (PyPI
//! twilio 9.13.0, npm twilio 6.2.0):
//!
//! - The signed text is the URL as entered at Twilio, followed by every form field: name and value
//!   without any delimiter, sorted by name in byte order. A repeated name contributes each of its
//!   distinct values, in byte order.
//! - The key is an auth token with HMAC-SHA1, or a `SharedKey` with HMAC-SHA256.
//! - The base64 **text** is compared, in constant time. Decoding it first would accept base64 that
//!   both libraries reject.
//! - A JSON body is not part of the text. The URL's `bodySHA256` is its SHA-256 in lower-case hex.
//!
//! Where the two libraries disagree, the bridge chooses:
//!
//! | kind | choice | why |
//! | --- | --- | --- |
//! | query re-encoding, URL normalisation | Python: the bytes as received | Twilio signs the URL as entered; each further variant is one more text that a forger may use |
//! | port removal with user info or IPv6 | Node: only the port is cut | Python cuts at the first `:`, and so reads `https://real:443@evil:8443` as `https://real` |
//! | empty `?`, `#`, `;`, letter case of the scheme | Node: kept as received | as above; a scheme in lower case is tried too, because both libraries accept it |
//! | a port that is empty, `0`, no number, or has leading zeros | Node: it is cut as any other; never rewritten | the text after `:` is a port, whatever it contains |
//! | order of astral characters and U+E000..U+FFFF | Python: code points, which is UTF-8 byte order | documented as "Unix-style case-sensitive"; no Twilio name has either |
//! | empty JSON body | Python: its hash is that of no bytes | Node hashes `{}`, which was not sent |
//! | JSON without `bodySHA256` | Python: refused unless the body is empty | nothing would protect the body |
//! | form with `bodySHA256` in the URL | Python: the fields are signed | the media type decides what a body is, not a word in the URL |
//!
//! No choice accepts a request that both libraries reject, also where a request has two of these
//! kinds: if Python's rules for the body may differ from Node's, the bridge tries only the URL
//! variants that Python tries.

pub(crate) mod settings;
mod url_variants;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

pub use super::form::{Form, fields};
pub use super::public_url::{PublicUrl, PublicUrlError};
pub use super::signature::settings::{SignatureSettings, SignatureSettingsError};

use super::raw_url::RawUrl;
use url_variants::{LibraryRules, UrlVariants};

/// The key of a signature, which decides the hash.
#[derive(Clone)]
pub enum SigningKey {
    /// HMAC-SHA1; the default at Twilio.
    AuthToken(Box<Hmac<Sha1>>),
    /// HMAC-SHA256, when `X-Twilio-Webhooks-Signature-Settings` names a `SharedKey`
    /// (Twilio docs, "Webhook shared keys", public beta).
    SharedKey(Box<Hmac<Sha256>>),
}

impl SigningKey {
    pub fn auth_token(token: &str) -> Self {
        let mac = Hmac::new_from_slice(token.as_bytes());
        Self::AuthToken(Box::new(mac.expect("HMAC accepts a key of any length")))
    }

    pub fn shared_key(secret: &str) -> Self {
        let mac = Hmac::new_from_slice(secret.as_bytes());
        Self::SharedKey(Box::new(mac.expect("HMAC accepts a key of any length")))
    }

    /// Signs the parts of a URL, and the fields as [`canonical`] writes them.
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

/// The body of a signed request.
#[derive(Clone, Copy, Debug)]
pub enum Body<'a> {
    /// The decoded fields of a form, in any order.
    Form(&'a Form),
    /// The raw bytes of a JSON body.
    Json(&'a [u8]),
}

/// Signs as Twilio does for the URL exactly as given.
pub fn sign(key: &SigningKey, url: &str, body: Body<'_>) -> String {
    key.sign(&[url], &canonical(body))
}

/// Whether `signature` is that of any of `keys` for `url` and `body`.
///
/// The URL is tried as given, without its port, and with the default port of its scheme if it has
/// none. The Twilio docs say that voice over HTTPS is signed without the port and everything else
/// with it, and Twilio's libraries accept both.
pub fn verify(keys: &[SigningKey], url: &str, body: Body<'_>, signature: &str) -> bool {
    signer(keys, url, body, signature).is_some()
}

/// As [`verify`], with the index of the key that signed.
pub fn signer(keys: &[SigningKey], url: &str, body: Body<'_>, signature: &str) -> Option<usize> {
    if let Body::Json(bytes) = body
        && !hash_matches(url, bytes)
    {
        return None;
    }
    let fields = canonical(body);
    let variants = UrlVariants::of(url, library_rules(url, body, &fields));
    keys.iter().position(|key| {
        variants.each().any(|variant| {
            let expected = key.sign(&variant, &fields);
            // In constant time, so that response times reveal nothing of the expected text.
            bool::from(expected.as_bytes().ct_eq(signature.as_bytes()))
        })
    })
}

/// Python's alone where its rules for the body differ from Node's and the bridge follows Python's.
fn library_rules(url: &str, body: Body<'_>, fields: &str) -> LibraryRules {
    // Node sorts by UTF-16 units, in which astral characters come before U+E000..U+FFFF.
    let orders_differ = fields.contains(|character| character > '\u{ffff}')
        && fields.contains(|character| ('\u{e000}'..='\u{ffff}').contains(&character));
    if matches!(body, Body::Json(_)) || url.contains("bodySHA256") || orders_differ {
        LibraryRules::Python
    } else {
        LibraryRules::Either
    }
}

/// The fields as they are signed: names in byte order, distinct values in byte order, joined bare.
pub(in crate::twilio) fn canonical(body: Body<'_>) -> String {
    let Body::Form(fields) = body else {
        return String::new();
    };
    let mut sorted: Vec<(&str, &str)> = fields.iter().collect();
    sorted.sort_unstable();
    sorted.dedup();
    let length = sorted.iter().map(|(name, value)| name.len() + value.len());
    let mut text = String::with_capacity(length.sum());
    for (name, value) in sorted {
        text.push_str(name);
        text.push_str(value);
    }
    text
}

/// Whether the first filled `bodySHA256` of the URL's query is the body's hash in lower-case hex.
fn hash_matches(url: &str, body: &[u8]) -> bool {
    let query = RawUrl::of(url).query.unwrap_or_default();
    let query = fields(query.as_bytes());
    let stated = query.values("bodySHA256").find(|value| !value.is_empty());
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

#[cfg(test)]
mod tests;
