//! Parses the addresses that Twilio reports, as far as finding an entry of the directory needs.
//!
//! It is no validator: an address of an unknown form matches no entry.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// The number of digits of the longest phone number (ITU-T E.164).
const E164_DIGITS: usize = 15;

/// Separators that are common between the digits of a number.
const FILLERS: [char; 5] = [' ', '-', '.', '(', ')'];

/// The characters of a name or a link around an e-mail address (`Jane <jane@example.com>`, `mailto:`).
const NOT_IN_EMAIL: [char; 9] = ['<', '>', '(', ')', '[', ']', '"', ':', '\\'];

/// An address in its normalized form.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Address {
    /// `+` and digits, `client:NAME`, `sip:USER@HOST`, `whatsapp:` and a number, or the text itself.
    pub whole: String,
    /// The identity behind `client:`, the user part of a SIP address, or the number behind `whatsapp:`.
    pub user: Option<String>,
}

impl Address {
    pub fn parse(text: &str) -> Self {
        let (scheme, rest) = text.split_once(':').unwrap_or(("", text));
        match scheme.to_ascii_lowercase().as_str() {
            "client" => Self {
                whole: format!("client:{rest}"),
                user: Some(rest.to_owned()),
            },
            "sip" | "sips" => sip(rest),
            // `whatsapp:+12025550123` (Twilio docs, WhatsApp Business Calling), and others like it.
            scheme => match phone_number(rest).filter(|_| !scheme.is_empty()) {
                Some(number) => Self {
                    whole: format!("{scheme}:{number}"),
                    user: Some(number),
                },
                None => Self {
                    whole: phone_number(text).unwrap_or_else(|| text.to_owned()),
                    user: None,
                },
            },
        }
    }
}

/// The host of a `sip:` or `sips:` address in lower case, an IPv6 address with its brackets.
pub fn sip_host(address: &str) -> Option<String> {
    let whole = Address::parse(address).whole;
    let (_, host) = whole.strip_prefix("sip:")?.rsplit_once('@')?;
    Some(host.to_owned())
}

/// `user[:password]@host[:port][;parameters][?headers]` (RFC 3261, section 19.1.1). The user may
/// hold an unescaped `@`, as some phones write it.
fn sip(rest: &str) -> Address {
    // A user may contain `;` and `?`, so parameters are cut only after the first @, if there is one.
    let first_at = rest.find('@').unwrap_or_default();
    let end = rest[first_at..]
        .find([';', '?'])
        .map_or(rest.len(), |at| first_at + at);
    let (user, host) = rest[..end].rsplit_once('@').unwrap_or(("", &rest[..end]));
    let user = user.split([':', ';']).next().unwrap_or(user);
    let user = percent_decode_str(user)
        .decode_utf8()
        .unwrap_or(Cow::Borrowed(user));
    let host = without_port(host).to_ascii_lowercase();
    Address {
        whole: format!("sip:{user}@{host}"),
        user: Some(user.into_owned()),
    }
}

fn without_port(host: &str) -> &str {
    let end = match host.find(']') {
        Some(bracket) => bracket + 1,
        None => host.find(':').unwrap_or(host.len()),
    };
    &host[..end]
}

/// A number as `+` and digits alone.
pub(super) fn phone_number(text: &str) -> Option<String> {
    let digits: String = text
        .strip_prefix('+')?
        .chars()
        .filter(|c| !FILLERS.contains(c))
        .collect();
    let is_number = (1..=E164_DIGITS).contains(&digits.len())
        && digits.bytes().all(|digit| digit.is_ascii_digit());
    is_number.then(|| format!("+{digits}"))
}

/// The e-mail address that a user is: as it is, escaped as in a URL, or with bytes escaped as `_` and
/// two hexadecimal digits, because identities allow little else.
pub(super) fn own_email(user: &str) -> Option<String> {
    if user.contains('@') {
        return is_email(user).then(|| user.to_owned());
    }
    [b'%', b'_']
        .iter()
        .filter_map(|escape| unescaped(user, *escape))
        .find(|text| is_email(text))
}

/// An escape sign without two hexadecimal digits after it is itself.
fn unescaped(text: &str, escape: u8) -> Option<String> {
    let mut rest = text.as_bytes();
    let mut bytes = Vec::with_capacity(rest.len());
    while let [first, after @ ..] = rest {
        let escaped = match after {
            [high, low, ..] if *first == escape => hex(*high).zip(hex(*low)),
            _ => None,
        };
        if let Some((high, low)) = escaped {
            bytes.push(high << 4 | low);
            rest = &after[2..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

/// Whether a text is one e-mail address.
pub fn is_email(text: &str) -> bool {
    email_fault(text).is_none()
}

/// Why a text is not one e-mail address, as the end of a sentence. Only the form is checked, not whether
/// mail arrives.
pub fn email_fault(text: &str) -> Option<&'static str> {
    if text.contains(char::is_whitespace) {
        return Some("contains a space");
    }
    if text.contains(char::is_control) {
        return Some("contains a control character");
    }
    let Some((name, host)) = text.split_once('@') else {
        return Some("has no @");
    };
    if host.contains('@') || text.contains([',', ';']) {
        return Some("is more than one address");
    }
    if name.is_empty() || host.is_empty() {
        return Some("has nothing before or after the @");
    }
    if text.contains(NOT_IN_EMAIL) {
        return Some("has more than the address itself");
    }
    // A host can have letters of any script.
    let is_of_host = |c: char| !c.is_ascii() || c.is_ascii_alphanumeric() || "-._".contains(c);
    if host.split('.').any(str::is_empty) || !host.chars().all(is_of_host) {
        return Some("has an invalid host");
    }
    None
}
