//! Takes people out of requests: numbers, SIDs, names and e-mails become made-up ones of the same
//! form and length, the same one always the same, wherever and however it is written.
//!
//! Pure, and the same at every run. Only the protocol's own words stay (`vocabulary`); what is not
//! known to tell of nobody is replaced. Everything is to be learned before anything is replaced, so
//! that nothing made up is by chance the original of something else.

mod atoms;
mod escapes;
mod vocabulary;

use serde_json::Value;

use self::atoms::Atoms;
use self::escapes::{EscapedText, Plus};
use crate::domain::directory::is_email;
use crate::twilio::callback::CallbackKind;

/// The base of a redacted callback URL.
const BASE: &str = "https://bridge.example.com";

/// Twilio's URL of a recording: what of it stays as it is.
const API: &str = "https://api.twilio.com/2010-04-01/Accounts/";
const API_WORDS: [&str; 3] = ["Recordings", "Calls", "Conferences"];
const FORMATS: [&str; 3] = [".mp3", ".wav", ".json"];

/// Text may be escaped within escaped text, but hardly deeper.
const DEPTH: usize = 4;

/// Between the digits of a number that a person wrote.
const FILLERS: &[u8] = b" -.()";
/// A shorter one is an extension, a longer one no number (ITU-T E.164).
const NUMBER_DIGITS: std::ops::RangeInclusive<usize> = 7..=15;

/// A SID: two letters and this many hexadecimal digits.
const SID_DIGITS: usize = 32;

/// Learns, then replaces.
#[derive(Default)]
pub struct Redactor {
    atoms: Atoms,
    stage: Stage,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    /// Texts are only looked at.
    #[default]
    Learning,
    Replacing,
}

impl Redactor {
    /// What is given from now on comes back redacted.
    #[must_use]
    pub fn replacing(mut self) -> Self {
        self.stage = Stage::Replacing;
        self
    }

    /// A raw form or query, escaped as it was.
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

    /// Any text: addresses, e-mails, SIDs, prose.
    pub fn text(&mut self, text: &str) -> String {
        self.text_within(text, DEPTH)
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

    /// What is not UTF-8 stays that, and no more of it.
    fn bytes(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut written = Vec::with_capacity(bytes.len());
        for chunk in bytes.utf8_chunks() {
            written.extend(self.text(chunk.valid()).into_bytes());
            written.extend(chunk.invalid().iter().map(|_| 0xff));
        }
        written
    }

    /// As many bytes as `text` has.
    fn text_within(&mut self, text: &str, depth: usize) -> String {
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

    /// An identity may be an e-mail whose signs are written as `_40` and `_2E`.
    fn identity(&mut self, text: &str, depth: usize) -> String {
        let (user, host) = text.split_at(text.find(['@', ';']).unwrap_or(text.len()));
        let user = match self.unescaped(user, b'_', depth, is_email) {
            Some(redacted) => redacted,
            None => self.tokens(user),
        };
        user + &self.tokens(host)
    }

    /// The text behind the escapes redacted and escaped again, if there are some and it is `wanted`.
    fn unescaped(
        &mut self,
        text: &str,
        escape: u8,
        depth: usize,
        wanted: impl Fn(&str) -> bool,
    ) -> Option<String> {
        let spelled = EscapedText::read(text.as_bytes(), escape, Plus::Itself);
        if depth == 0 || !spelled.has_escapes() {
            return None;
        }
        let inner = std::str::from_utf8(&spelled.bytes).ok();
        let inner = inner.filter(|inner| wanted(inner))?;
        let redacted = self.text_within(inner, depth - 1);
        String::from_utf8(spelled.write(redacted.as_bytes())).ok()
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

    /// The digits replaced, what stands between them kept.
    fn number(&mut self, written: &str) -> String {
        let digits: String = written.chars().filter(char::is_ascii_digit).collect();
        if self.stage == Stage::Learning {
            self.atoms.avoid(&digits);
            return written.to_owned();
        }
        let plus = match written.strip_prefix('+') {
            Some(_) => atoms::Plus::Leading,
            None => atoms::Plus::None,
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

/// What is not ASCII may be a letter of some script.
fn is_of_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || !c.is_ascii()
}

fn is_sid(word: &str) -> bool {
    word.len() == SID_DIGITS + 2
        && word.bytes().take(2).all(|byte| byte.is_ascii_uppercase())
        && word.bytes().skip(2).all(|byte| byte.is_ascii_hexdigit())
}

/// How long the telephone number is that `text` begins with.
fn number(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let (mut at, mut digits, mut end) = (usize::from(text.starts_with('+')), 0, 0);
    let mut fillers = 0;
    while let Some(byte) = bytes.get(at) {
        if byte.is_ascii_digit() {
            digits += 1;
            fillers = 0;
            end = at + 1;
        } else if FILLERS.contains(byte) && digits > 0 && fillers < 2 {
            fillers += 1;
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
