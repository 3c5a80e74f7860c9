//! The subject of an erasure or an access request, and every spelling by which stored data may have it.
//!
//! It searches the data itself and not an index: a number may be in any field.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::call_addresses::{AddressHash, AddressHasher, TypedAddress};
use super::directory::is_email;
use crate::twilio::CallSid;

/// The fewest digits of a number in full, with its country code. Fewer would also be found in others.
const MIN_DIGITS: usize = 7;

/// So often a value may be percent-encoded: a SIP address in a form is, twice.
const MAX_ESCAPES: usize = 3;

/// Signs that may separate the digits of a number.
const SEPARATORS: &[u8] = b" -.()/";

/// The most separators between two digits.
const MAX_SEPARATORS: usize = 3;

/// What names a call in the forms, the requests and the records of the store, but not in the audit log,
/// which keeps the SIDs of calls that were requeued or dismissed.
const SID_FIELDS: [&str; 3] = ["callsid=", "\"callid\":\"", "\"sid\":\""];

/// A person or a call.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// The digits of a number with its country code, without `+`.
    Number(String),
    /// In lower case.
    Email(String),
    /// The SIDs of a call and its legs.
    Call(Vec<String>),
}

/// Why a text is no [`Subject`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubjectError {
    #[error("choose one subject: number, email or call")]
    Missing,
    #[error("the number must be in full, with + and the country code: +12025550123")]
    Number,
    #[error("the e-mail must be one address: ann@example.com")]
    Email,
    #[error("a CallSid is CA and 32 hexadecimal digits")]
    Call,
}

impl Subject {
    /// Reads the value of the key `number`, `email` or `call`.
    pub fn parse(key: &str, value: &str) -> Result<Self, SubjectError> {
        match key {
            "number" => match TypedAddress::parse(value) {
                Ok(TypedAddress::Term(term)) => match term.strip_prefix('+') {
                    Some(digits) if digits.len() >= MIN_DIGITS => {
                        Ok(Self::Number(digits.to_owned()))
                    }
                    _ => Err(SubjectError::Number),
                },
                _ => Err(SubjectError::Number),
            },
            "email" => {
                let email = value.trim().to_lowercase();
                is_email(&email)
                    .then_some(Self::Email(email))
                    .ok_or(SubjectError::Email)
            }
            "call" => CallSid::parse(value.trim())
                .map(|sid| Self::Call(vec![sid.to_string()]))
                .map_err(|_| SubjectError::Call),
            _ => Err(SubjectError::Missing),
        }
    }

    /// Reads a number, an e-mail or a `CallSid`, as its form shows.
    pub fn parse_any(value: &str) -> Result<Self, SubjectError> {
        let value = value.trim();
        let key = match value {
            "" => return Err(SubjectError::Missing),
            value if value.contains('@') => "email",
            value if value.starts_with("CA") => "call",
            _ => "number",
        };
        Self::parse(key, value)
    }

    /// The keyed hash by which receipts and the audit log name it: that of a search for it.
    pub fn hash(&self, hasher: &AddressHasher) -> AddressHash {
        match self {
            Self::Number(digits) => hasher.hash(&format!("+{digits}")),
            Self::Email(email) => hasher.hash(email),
            Self::Call(sids) => hasher.hash(sids.first().map_or("", String::as_str)),
        }
    }

    /// In words without the value: `number 0123456789abcdef`.
    pub fn words(&self, hasher: &AddressHasher) -> String {
        let kind = match self {
            Self::Number(_) => "number",
            Self::Email(_) => "email",
            Self::Call(_) => "call",
        };
        format!("{kind}:{:016x}", self.hash(hasher).0)
    }

    /// Whether a form or a URL has it.
    pub fn is_in_form(&self, form: &[u8]) -> bool {
        let spaced: Vec<u8> = form
            .iter()
            .map(|byte| if *byte == b'+' { b' ' } else { *byte })
            .collect();
        self.is_in(&spaced)
    }

    /// Whether a text has it.
    pub fn is_in(&self, text: &[u8]) -> bool {
        is_spelled_in(text, |text| match self {
            Self::Number(digits) => has_number(text, digits.as_bytes()),
            // An identity of a client has the bytes of an e-mail as `_40`.
            Self::Email(email) => {
                has_email(text, email.as_bytes())
                    || text.contains(&b'_') && has_email(&unescaped(text, b'_'), email.as_bytes())
            }
            Self::Call(sids) => sids
                .iter()
                .any(|sid| has(text, sid.to_ascii_lowercase().as_bytes())),
        })
    }

    /// Whether a part of a file of the store has it.
    pub fn is_in_file(&self, part: &[u8]) -> bool {
        let Self::Call(sids) = self else {
            return self.is_in(part);
        };
        is_spelled_in(part, |text| {
            let mut fields = SID_FIELDS.iter().flat_map(|field| {
                let field = sids.iter().map(move |sid| format!("{field}{sid}"));
                field.map(|field| field.to_ascii_lowercase())
            });
            fields.any(|field| has(text, field.as_bytes()))
        })
    }
}

/// No log shows the value.
impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Subject")
    }
}

/// Whether `is_found` in the text as it is, or without its escapes.
fn is_spelled_in(text: &[u8], is_found: impl Fn(&[u8]) -> bool) -> bool {
    let mut text = text.to_ascii_lowercase();
    for _ in 0..MAX_ESCAPES {
        if is_found(&text) {
            return true;
        }
        if !text.contains(&b'%') {
            return false;
        }
        text = unescaped(&text, b'%');
    }
    is_found(&text)
}

/// In lower case, with the escape sign and two hexadecimal digits as the byte.
fn unescaped(text: &[u8], escape: u8) -> Vec<u8> {
    let hex = |digit: u8| char::from(digit).to_digit(16);
    let mut rest = text;
    let mut bytes = Vec::with_capacity(text.len());
    while let [first, after @ ..] = rest {
        let byte = match after {
            [high, low, ..] if *first == escape => hex(*high).zip(hex(*low)),
            _ => None,
        };
        let byte = byte.and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
        bytes.push(byte.unwrap_or(*first).to_ascii_lowercase());
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    bytes
}

fn has(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// Whether a text has these digits as a whole number, also with separators.
fn has_number(text: &[u8], digits: &[u8]) -> bool {
    (0..text.len()).any(|start| {
        text.get(start) == digits.first()
            && has_digits_at(&text[start..], digits)
            && !is_in_number(&text[..start])
    })
}

fn has_digits_at(text: &[u8], digits: &[u8]) -> bool {
    let mut rest = text;
    for (n, digit) in digits.iter().enumerate() {
        let separators = rest.iter().take(MAX_SEPARATORS);
        let separators = separators.take_while(|byte| n > 0 && SEPARATORS.contains(byte));
        rest = &rest[separators.count()..];
        let Some((first, after)) = rest.split_first() else {
            return false;
        };
        if first != digit {
            return false;
        }
        rest = after;
    }
    !rest.first().is_some_and(u8::is_ascii_digit)
}

/// Whether a text ends within a number: with a digit, or with `+`, digits and separators.
fn is_in_number(text: &[u8]) -> bool {
    if text.last().is_some_and(u8::is_ascii_digit) {
        return true;
    }
    let is_part = |byte: &u8| byte.is_ascii_digit() || SEPARATORS.contains(byte);
    let run = text.iter().rev().take_while(|byte| is_part(byte)).count();
    let (before, run) = text.split_at(text.len() - run);
    before.last() == Some(&b'+') && run.iter().any(u8::is_ascii_digit)
}

/// Whether a text has an address that is not part of a longer one.
fn has_email(text: &[u8], email: &[u8]) -> bool {
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b".+-_%'".contains(byte);
    let is_host = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
    let mut places = text.windows(email.len()).enumerate();
    places.any(|(at, window)| {
        window == email && !text[..at].last().is_some_and(is_name) && {
            let after = &text[at + email.len()..];
            match after {
                [b'.', next, ..] | [next, ..] => !is_host(next),
                [] => true,
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number() -> Subject {
        Subject::parse("number", "+1 (202) 555-0123").expect("a number")
    }

    #[test]
    fn a_number_is_found_in_each_spelling_and_in_no_longer_number() {
        for form in [
            "From=%2B12025550123&To=x",
            "From=+12025550123",
            "From=12025550123",
            "To=sip%3A%252B12025550123%40pbx.example.com",
            "CallerName=%31%32025550123",
            "Note=call+1+202+555+0123+now",
            "Note=%2B1%20(202)%20555-0123.",
            "To=client%3A12025550123",
            "Note=5+12025550123",
        ] {
            assert!(number().is_in_form(form.as_bytes()), "{form}");
        }
        for text in [
            "{\"From\":\"+12025550123\"}",
            "+1 202.555.0123",
            "\0+12025550123\u{1}",
        ] {
            assert!(number().is_in(text.as_bytes()), "{text}");
        }
        for form in [
            "From=%2B120255501234",
            "From=%2B4912025550123",
            "From=%2B49%2012025550123",
            "From=%2B12025550124",
            "From=2025550123",
            "From=%2B1202555&To=0123",
            "From=1202555____0123",
        ] {
            assert!(!number().is_in_form(form.as_bytes()), "{form}");
        }
    }

    #[test]
    fn an_email_is_found_in_each_spelling_and_in_no_longer_address() {
        let subject = Subject::parse("email", " Ann@Example.com ").expect("an e-mail");
        for form in [
            "email=ann%40example.com",
            "email=ANN@EXAMPLE.COM&x=1",
            "To=client%3Aann_40example_2ecom",
            "To=client:ann_40example.com",
            "To=sip%3Aann%2540example.com",
            "Note=mail+ann@example.com.",
            "Note=%3Cann%40example.com%3E",
        ] {
            assert!(subject.is_in_form(form.as_bytes()), "{form}");
        }
        assert!(subject.is_in(b"{\"email\":\"ann@example.com\"}"));
        for form in [
            "email=joann%40example.com",
            "email=x%2Bann%40example.com",
            "email=ann%40example.com.au",
            "email=ann%40example.community",
            "email=ann%40example.org",
        ] {
            assert!(!subject.is_in_form(form.as_bytes()), "{form}");
        }
    }

    #[test]
    fn a_call_is_found_in_forms_but_not_in_the_file_of_the_audit_log() {
        let sid = "CA0000000000000000000000000000000b";
        let subject = Subject::parse_any(sid).expect("a call");
        for text in [
            format!("CallSid={sid}&x=1"),
            format!("ParentCallSid={sid}"),
            format!("{{\"CallId\":\"{sid}\"}}"),
        ] {
            assert!(subject.is_in_form(text.as_bytes()), "{text}");
            assert!(subject.is_in_file(text.as_bytes()), "{text}");
        }
        let audit = format!("{{\"target\":\"{sid}\"}}");
        assert!(subject.is_in(audit.as_bytes()) && !subject.is_in_file(audit.as_bytes()));
    }

    #[test]
    fn a_subject_is_given_in_full_and_shown_as_a_hash() {
        for (key, value, why) in [
            ("number", "5550123", SubjectError::Number),
            ("number", "+12025", SubjectError::Number),
            ("number", "ann", SubjectError::Number),
            ("email", "ann", SubjectError::Email),
            ("call", "CA1", SubjectError::Call),
            ("state", "parked", SubjectError::Missing),
        ] {
            assert_eq!(Subject::parse(key, value), Err(why), "{key} {value}");
        }
        assert_eq!(Subject::parse_any("0012025550123"), Ok(number()));
        let hasher = AddressHasher::new(b"made up");
        let words = number().words(&hasher);
        let searched = TypedAddress::parse("+12025550123").expect("a number");
        assert_eq!(words, format!("number:{}", searched.hashed(&hasher)));
        assert!(!format!("{:?}", number()).contains("0123"));
    }
}
