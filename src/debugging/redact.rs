//! Removes personal data from requests: numbers, SIDs, names and e-mails are replaced by made-up values
//! of the same form and length. Equal values get equal replacements, however they are written.
//!
//! Pure and deterministic. Only the words of the protocol stay (`vocabulary`); everything else is
//! replaced, because it may be personal data. The redactor learns all texts before it replaces any,
//! so that no made-up value equals an original one.

mod atoms;
mod escapes;
mod vocabulary;

use serde_json::Value;

use self::atoms::Atoms;
use self::escapes::{EscapedText, Plus};
use crate::domain::directory::is_email;
use crate::twilio::callback::CallbackKind;

/// The fields of a row of Twilio's list that say nothing about a person.
const ROW_FIELDS: [&str; 13] = [
    "answered_by",
    "api_version",
    "channels",
    "date_created",
    "date_updated",
    "direction",
    "duration",
    "end_time",
    "price_unit",
    "queue_time",
    "source",
    "start_time",
    "status",
];

/// The base of a redacted callback URL.
const BASE: &str = "https://bridge.example.com";

/// The parts of a recording URL of Twilio that stay.
const API: &str = "https://api.twilio.com/2010-04-01/Accounts/";
const API_WORDS: [&str; 3] = ["Recordings", "Calls", "Conferences"];
const FORMATS: [&str; 3] = [".mp3", ".wav", ".json"];

/// How many times escaped text is unescaped, for escapes inside escapes.
const MAX_ESCAPE_DEPTH: usize = 4;

/// Characters between the digits of a formatted phone number.
const SEPARATORS: &[u8] = b" -.()";
/// Digits of a phone number: fewer are an extension, more are not a number (ITU-T E.164).
const NUMBER_DIGITS: std::ops::RangeInclusive<usize> = 7..=15;

/// Hexadecimal digits of a SID, after two letters.
const SID_DIGITS: usize = 32;

/// First learns the original values, then replaces them.
#[derive(Default)]
pub struct Redactor {
    atoms: Atoms,
    stage: Stage,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    /// Texts are read and returned unchanged.
    #[default]
    Learning,
    Replacing,
}

impl Redactor {
    /// Redacts all that `redact` redacts: the first time it learns, the second time it replaces.
    pub fn redact<T>(redact: impl Fn(&mut Self) -> T) -> T {
        let mut redactor = Self::default();
        redact(&mut redactor);
        redactor.stage = Stage::Replacing;
        redact(&mut redactor)
    }

    /// A raw form or query; each byte stays escaped or unescaped as it was.
    pub fn form(&mut self, form: &[u8]) -> Vec<u8> {
        let fields = form.split(|byte| *byte == b'&').map(|field| {
            let mut parts = field.splitn(2, |byte| *byte == b'=');
            let name = EscapedText::read(parts.next().unwrap_or_default(), b'%', Plus::Space);
            let mut written = name.write(&self.name(&name.bytes));
            if let Some(value) = parts.next() {
                let value = EscapedText::read(value, b'%', Plus::Space);
                written.push(b'=');
                written.extend(value.write(&self.value(&name.bytes, &value.bytes)));
            }
            written
        });
        fields.collect::<Vec<_>>().join(&b'&')
    }

    /// The URL of a callback: another host, no prefix, the same path, and the query redacted.
    pub fn url(&mut self, url: &str) -> String {
        let path = CallbackKind::of_url(url).path();
        match url.split_once('?') {
            Some((_, query)) => {
                let query = self.form(query.as_bytes());
                format!("{BASE}{path}?{}", String::from_utf8_lossy(&query))
            }
            None => format!("{BASE}{path}"),
        }
    }

    /// A request to Acquire; its members are named as Twilio's fields are.
    pub fn json(&mut self, value: &Value) -> Value {
        match value {
            Value::Object(members) => {
                let members = members.iter().map(|(name, value)| {
                    let value = match value {
                        Value::String(text) => Value::String(self.field(name, text)),
                        other => self.json(other),
                    };
                    (name.clone(), value)
                });
                Value::Object(members.collect())
            }
            Value::Array(all) => all.iter().map(|value| self.json(value)).collect(),
            Value::String(text) => Value::String(self.text(text)),
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        }
    }

    /// A row of Twilio's list: statuses, times and durations stay.
    pub fn row(&mut self, row: &[u8]) -> Vec<u8> {
        let Ok(Value::Object(members)) = serde_json::from_slice(row) else {
            return self.bytes(row);
        };
        let members = members.into_iter().map(|(name, value)| {
            let value = if ROW_FIELDS.contains(&name.as_str()) {
                value
            } else {
                self.json(&value)
            };
            (name, value)
        });
        Value::Object(members.collect()).to_string().into_bytes()
    }

    /// Any text: addresses, e-mails, SIDs, prose.
    pub fn text(&mut self, text: &str) -> String {
        self.text_within(text, MAX_ESCAPE_DEPTH)
    }

    fn name(&mut self, name: &[u8]) -> Vec<u8> {
        match std::str::from_utf8(name) {
            Ok(name) if vocabulary::is_name(name) => name.as_bytes().to_vec(),
            _ => match name.strip_prefix(b"SipHeader_") {
                Some(rest) => [&b"SipHeader_"[..], &self.bytes(rest)].concat(),
                None => self.bytes(name),
            },
        }
    }

    fn value(&mut self, name: &[u8], value: &[u8]) -> Vec<u8> {
        match (std::str::from_utf8(name), std::str::from_utf8(value)) {
            (Ok(name), Ok(value)) => self.field(name, value).into_bytes(),
            _ => self.bytes(value),
        }
    }

    fn field(&mut self, name: &str, value: &str) -> String {
        if vocabulary::is_word(name, value) {
            return value.to_owned();
        }
        self.text(value)
    }

    /// Invalid UTF-8 becomes as many bytes 0xFF: it stays invalid, and its content is lost.
    fn bytes(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut written = Vec::with_capacity(bytes.len());
        for chunk in bytes.utf8_chunks() {
            written.extend(self.text(chunk.valid()).into_bytes());
            written.extend(chunk.invalid().iter().map(|_| 0xff));
        }
        written
    }

    /// The result has as many bytes as `text`.
    fn text_within(&mut self, text: &str, depth: usize) -> String {
        // Escapes come first, because they may hide each of the other forms.
        if let Some(redacted) = self.unescaped(text, b'%', depth, |_| true) {
            return redacted;
        }
        if let Some(rest) = text.strip_prefix(API) {
            let segments: Vec<String> = rest.split('/').map(|part| self.segment(part)).collect();
            return format!("{API}{}", segments.join("/"));
        }
        for scheme in ["client:", "sip:", "sips:", "https://", "http://"] {
            if let Some(rest) = text.strip_prefix(scheme) {
                return format!("{scheme}{}", self.identity(rest, depth));
            }
        }
        self.tokens(text)
    }

    /// An identity may be an e-mail with `@` and `.` written as `_40` and `_2E`.
    fn identity(&mut self, text: &str, depth: usize) -> String {
        let (user, host) = text.split_at(text.find(['@', ';']).unwrap_or(text.len()));
        let user = match self.unescaped(user, b'_', depth, is_email) {
            Some(redacted) => redacted,
            None => self.tokens(user),
        };
        user + &self.tokens(host)
    }

    /// Unescapes, redacts and escapes the text again, if it has escapes and the unescaped text is
    /// `wanted`.
    fn unescaped(
        &mut self,
        text: &str,
        escape: u8,
        depth: usize,
        wanted: impl Fn(&str) -> bool,
    ) -> Option<String> {
        let escaped = EscapedText::read(text.as_bytes(), escape, Plus::Itself);
        if depth == 0 || !escaped.has_escapes() {
            return None;
        }
        let inner = std::str::from_utf8(&escaped.bytes).ok();
        let inner = inner.filter(|inner| wanted(inner))?;
        let redacted = self.text_within(inner, depth - 1);
        String::from_utf8(escaped.write(redacted.as_bytes())).ok()
    }

    fn segment(&mut self, segment: &str) -> String {
        if API_WORDS.contains(&segment) {
            return segment.to_owned();
        }
        let format = FORMATS.iter().find(|format| segment.ends_with(**format));
        let format = format.copied().unwrap_or_default();
        let name = segment.strip_suffix(format).unwrap_or(segment);
        self.tokens(name) + format
    }

    fn tokens(&mut self, text: &str) -> String {
        let mut written = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let length = if is_of_word(first) || first == '+' {
                // Numbers come before words: a separator would split a number into words.
                if let Some(length) = number(rest) {
                    written.push_str(&self.number(&rest[..length]));
                    rest = &rest[length..];
                    continue;
                }
                rest.find(|c| !is_of_word(c)).unwrap_or(rest.len())
            } else {
                0
            };
            if length == 0 {
                written.push(first);
                rest = &rest[first.len_utf8()..];
                continue;
            }
            written.push_str(&self.word(&rest[..length]));
            rest = &rest[length..];
        }
        written
    }

    fn word(&mut self, word: &str) -> String {
        if self.stage == Stage::Learning {
            self.atoms.avoid(word);
            word.to_owned()
        } else if is_sid(word) {
            self.atoms.sid(word)
        } else {
            self.atoms.word(word)
        }
    }

    /// Replaces the digits and keeps the characters between them.
    fn number(&mut self, written: &str) -> String {
        let digits: String = written.chars().filter(char::is_ascii_digit).collect();
        if self.stage == Stage::Learning {
            self.atoms.avoid(&digits);
            return written.to_owned();
        }
        let plus = match written.strip_prefix('+') {
            Some(_) => atoms::PlusMeaning::Leading,
            None => atoms::PlusMeaning::None,
        };
        let made_up = self.atoms.number(&digits, plus);
        let mut made_up = made_up.chars();
        written
            .chars()
            .map(|c| match c {
                '0'..='9' => made_up.next().unwrap_or('0'),
                c => c,
            })
            .collect()
    }
}

/// A non-ASCII character may be a letter of some script.
fn is_of_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || !c.is_ascii()
}

fn is_sid(word: &str) -> bool {
    word.len() == SID_DIGITS + 2
        && word.bytes().take(2).all(|byte| byte.is_ascii_uppercase())
        && word.bytes().skip(2).all(|byte| byte.is_ascii_hexdigit())
}

/// The length of the phone number at the start of `text`, if there is one.
fn number(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let (mut at, mut digits, mut end) = (usize::from(text.starts_with('+')), 0, 0);
    let mut separators = 0;
    while let Some(byte) = bytes.get(at) {
        if byte.is_ascii_digit() {
            digits += 1;
            separators = 0;
            end = at + 1;
        } else if SEPARATORS.contains(byte) && digits > 0 && separators < 2 {
            separators += 1;
        } else {
            break;
        }
        at += 1;
    }
    let is_whole = text[end..].chars().next().is_none_or(|c| !is_of_word(c));
    (NUMBER_DIGITS.contains(&digits) && is_whole).then_some(end)
}

#[cfg(test)]
mod tests;
