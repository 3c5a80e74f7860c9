//! `X-Twilio-Signature`: pure signing and verifying.
//!
//! The rules (Twilio docs, "Webhooks security", and what PyPI twilio 9.13.0 and npm twilio 6.2.0 do):
//! the signed text is the URL as Twilio was given it, followed by every form field sorted by name in
//! byte order, name and value without any delimiter; a repeated name contributes each of its
//! distinct values in byte order. The key is an auth token with HMAC-SHA1, or a `SharedKey` with
//! HMAC-SHA256. The base64 **text** is compared, in constant time: decoding first would accept
//! spellings that both libraries refuse.
//!
//! A JSON body is not part of the text; its lower-case hex SHA-256 stands in the URL's `bodySHA256`.
//!
//! Where the two libraries disagree, these are the choices; none accepts what both refuse:
//!
//! | kind | choice | why |
//! | --- | --- | --- |
//! | query re-encoding, URL normalisation | Python: the bytes as received | Twilio signs what it was given; a second spelling doubles what a forger may aim at |
//! | port removal with user info or IPv6 | Node: only the port is cut | Python cuts at the first `:`, and so takes `https://real:443@evil:8443` for `https://real` |
//! | empty `?`, `#`, `;`, letter case of the scheme | Node: kept as received | as above |
//! | a port that is empty, `0`, or has leading zeros | Node: it is cut as any other; never rewritten | the text after `:` is a port whatever it says |
//! | order of astral characters and U+E000..U+FFFF | Python: code points, which is UTF-8 byte order | documented as "Unix-style case-sensitive"; no Twilio name has either |
//! | empty JSON body | Python: its hash is that of no bytes | Node hashes `{}`, which was not sent |
//! | JSON without `bodySHA256` | Python: refused unless the body is empty | nothing would protect the body |
//! | form with `bodySHA256` in the URL | Python: the fields are signed | the media type decides what a body is, not a word in the URL |

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

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

    fn sign(&self, url: &[&str], fields: &str) -> String {
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
    if let Body::Json(bytes) = body
        && !hash_matches(url, bytes)
    {
        return false;
    }
    let fields = canonical(body);
    let forms = UrlForms::of(url);
    let mut valid = false;
    for key in keys {
        for form in forms.each() {
            let expected = key.sign(&form, &fields);
            valid |= bool::from(expected.as_bytes().ct_eq(signature.as_bytes()));
            if valid {
                return true;
            }
        }
    }
    valid
}

/// The fields as they are signed: names in byte order, distinct values in byte order, joined bare.
fn canonical(body: Body<'_>) -> String {
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

/// An absolute URL cut where its port stands or would stand.
struct UrlForms<'a> {
    before_port: &'a str,
    /// With its colon; empty if the URL has none.
    port: &'a str,
    after_port: &'a str,
    default_port: &'static str,
}

impl<'a> UrlForms<'a> {
    fn of(url: &'a str) -> Self {
        let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
        let authority_at = url.len() - rest.len();
        let authority_end = rest
            .find(['/', '?', '#'])
            .map_or(url.len(), |length| authority_at + length);
        let authority = &url[authority_at..authority_end];
        let host_at = authority.rfind('@').map_or(0, |at| at + 1);
        let host = &authority[host_at..];
        let port_at = match host.rfind(']') {
            Some(bracket) => host[bracket..].find(':').map(|colon| bracket + colon),
            None => host.rfind(':'),
        };
        let port_at = port_at.map_or(authority_end, |at| authority_at + host_at + at);
        Self {
            before_port: &url[..port_at],
            port: &url[port_at..authority_end],
            after_port: &url[authority_end..],
            default_port: if scheme.eq_ignore_ascii_case("https") {
                ":443"
            } else {
                ":80"
            },
        }
    }

    /// Without a port first: the usual form for voice over HTTPS.
    fn each(&self) -> [[&'a str; 3]; 2] {
        let port = if self.port.is_empty() {
            self.default_port
        } else {
            self.port
        };
        [
            [self.before_port, "", self.after_port],
            [self.before_port, port, self.after_port],
        ]
    }
}

/// Whether the first `bodySHA256` of the URL's query is the body's hash in lower-case hex.
fn hash_matches(url: &str, body: &[u8]) -> bool {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let query = query.split_once('#').map_or(query, |(query, _)| query);
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

/// `X-Twilio-Webhooks-Signature-Settings`: which `SharedKey` signed a request, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings<'a> {
    pub key: &'a str,
}

/// Why a settings header cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    #[error("the signing algorithm \"{0}\" is not known; HMAC_SHA256 is")]
    UnknownAlgorithm(String),
    #[error("the header must read key=<id>,algorithm=HMAC_SHA256")]
    Malformed,
}

impl<'a> Settings<'a> {
    /// Reads `key=<shared key id>,algorithm=HMAC_SHA256`.
    pub fn parse(header: &'a str) -> Result<Self, SettingsError> {
        let mut key = None;
        let mut algorithm = None;
        for part in header.split(',') {
            let slot = match part.trim().split_once('=') {
                Some(("key", value)) => (&mut key, value),
                Some(("algorithm", value)) => (&mut algorithm, value),
                _ => return Err(SettingsError::Malformed),
            };
            if slot.0.replace(slot.1).is_some() {
                return Err(SettingsError::Malformed);
            }
        }
        match (key, algorithm) {
            (Some(key), Some("HMAC_SHA256")) if !key.is_empty() => Ok(Self { key }),
            (_, Some(other)) if other != "HMAC_SHA256" => {
                Err(SettingsError::UnknownAlgorithm(other.to_owned()))
            }
            _ => Err(SettingsError::Malformed),
        }
    }
}

/// The scheme, host, port and optional path prefix of the URL that Twilio was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl {
    origin: String,
    /// Empty, or begins with `/` and does not end with one.
    prefix: String,
}

/// Why a text cannot be a public URL, with the corrected value where one is plain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublicUrlError {
    #[error("must begin with https:// or http://, followed by a host")]
    NotAUrl,
    #[error(
        "must not have a query, a fragment or user info, which Twilio's request target or signature leaves out; write \"{0}\""
    )]
    Superfluous(String),
    #[error("must not end in a path that the bridge serves; write \"{0}\"")]
    ServedPath(String),
}

/// Where the bridge's own paths begin; what stands before it in a public URL is the prefix.
const SERVED: &str = "/twilio/voice";

impl PublicUrl {
    pub fn parse(text: &str) -> Result<Self, PublicUrlError> {
        let text = text.trim();
        let (scheme, rest) = text.split_once("://").ok_or(PublicUrlError::NotAUrl)?;
        if !scheme.eq_ignore_ascii_case("https") && !scheme.eq_ignore_ascii_case("http") {
            return Err(PublicUrlError::NotAUrl);
        }
        let bare = rest.split(['?', '#']).next().unwrap_or(rest);
        let (authority, path) = bare.split_at(bare.find('/').unwrap_or(bare.len()));
        let host = authority
            .rsplit_once('@')
            .map_or(authority, |(_, host)| host);
        if host.is_empty() || host.starts_with(':') || text.contains(char::is_whitespace) {
            return Err(PublicUrlError::NotAUrl);
        }
        let origin = format!("{scheme}://{host}");
        let prefix = path
            .find(SERVED)
            .map_or(path, |at| &path[..at])
            .trim_end_matches('/');
        let corrected = format!("{origin}{prefix}");
        if bare != rest || host != authority {
            return Err(PublicUrlError::Superfluous(corrected));
        }
        if path.contains(SERVED) {
            return Err(PublicUrlError::ServedPath(corrected));
        }
        Ok(Self {
            origin,
            prefix: prefix.to_owned(),
        })
    }

    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The URL that Twilio signed, from the raw request target as it arrived: with the prefix, or
    /// without it where a proxy stripped it.
    #[must_use]
    pub fn signed_url(&self, target: &str) -> String {
        match target.strip_prefix(self.prefix.as_str()) {
            Some(rest) if rest.starts_with(SERVED) => format!("{}{target}", self.origin),
            _ => format!("{self}{target}"),
        }
    }
}

/// As it is configured: what Twilio was told, without the served path.
impl std::fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.origin, self.prefix)
    }
}
