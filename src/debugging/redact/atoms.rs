//! The replacement of each number, SID and word: the next made-up value of its form.
//!
//! Replacements are counted, not hashed, so that no one can recover an original by trying values.

use std::collections::{HashMap, HashSet};

/// The original values and their replacements.
#[derive(Default)]
pub(super) struct Atoms {
    /// No made-up value may equal one of these.
    originals: HashSet<String>,
    /// The replacement of each original; the key is in lower case if case can be restored.
    made_up: HashMap<String, String>,
    /// The number of made-up values per form.
    counts: HashMap<String, u64>,
}

/// Attempts to find a made-up value that is not an original; forms of one or two characters have few
/// values.
const MAX_TRIES: u64 = 10_000;

/// Digits of a North American (NANP) number without its country code.
const NANP_DIGITS: usize = 10;

impl Atoms {
    /// Ensures that no made-up value equals `original`.
    pub fn avoid(&mut self, original: &str) {
        self.originals.insert(original.to_lowercase());
        if let Some((_, key)) = nanp(original) {
            self.originals.insert(key.to_owned());
        }
    }

    /// Two letters and a count in 32 hexadecimal digits.
    pub fn sid(&mut self, sid: &str) -> String {
        let prefix = &sid[..2];
        self.replacement(sid, prefix, |n| format!("{prefix}{:032x}", n + 1))
    }

    /// As many digits. A North American number becomes a fictional one (555-01xx); another number gets
    /// the prefix 999, which no country has (ITU-T E.164).
    pub fn number(&mut self, digits: &str, plus: PlusMeaning) -> String {
        let known = self.made_up.get(digits).cloned();
        match nanp(digits).filter(|_| known.is_none()) {
            Some((code, key)) if plus == PlusMeaning::None || !code.is_empty() => {
                let national = self.replacement(key, "nanp", nanp_number);
                format!("{code}{national}")
            }
            _ => {
                let width = digits.len().saturating_sub(3);
                let form = format!("number {width}");
                self.replacement(digits, &form, |n| {
                    let space = 10_u64.saturating_pow(u32::try_from(width).unwrap_or(u32::MAX));
                    format!("999{:0width$}", n % space)
                })
            }
        }
    }

    /// Replaces letters by letters and digits by digits; the number of bytes stays.
    pub fn word(&mut self, word: &str) -> String {
        let lower = word.to_lowercase();
        let keeps_length =
            lower.len() == word.len() && lower.chars().count() == word.chars().count();
        let key = if keeps_length { lower.as_str() } else { word };
        let form: String = key.chars().map(|c| Class::of(c).letter()).collect();
        let classes: Vec<Class> = key.chars().map(Class::of).collect();
        let made_up = self.replacement(key, &form, |n| nth_word(&classes, n));
        let cased = word.chars().zip(made_up.chars()).map(|(old, new)| {
            let upper = new.to_uppercase().next();
            upper
                .filter(|upper| old.is_uppercase() && upper.len_utf8() == old.len_utf8())
                .unwrap_or(new)
        });
        cased.collect()
    }

    fn replacement(&mut self, key: &str, form: &str, make: impl Fn(u64) -> String) -> String {
        if let Some(known) = self.made_up.get(key) {
            return known.clone();
        }
        let count = self.counts.entry(form.to_owned()).or_default();
        let mut made_up = make(*count);
        for _ in 0..MAX_TRIES {
            *count += 1;
            if !self.originals.contains(&made_up.to_lowercase()) {
                break;
            }
            made_up = make(*count);
        }
        self.made_up.insert(key.to_owned(), made_up.clone());
        made_up
    }
}

/// Whether a number is written with its country code.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum PlusMeaning {
    None,
    Leading,
}

/// Country code, if written, and the ten digits of a North American number.
fn nanp(digits: &str) -> Option<(&str, &str)> {
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (code, national) = digits.split_at(digits.len().checked_sub(NANP_DIGITS)?);
    let has_area_code = national.bytes().next().is_some_and(|first| first >= b'2');
    (["", "1"].contains(&code) && has_area_code).then_some((code, national))
}

fn nanp_number(n: u64) -> String {
    let areas: Vec<u64> = (202..=999).filter(|area| area % 100 != 11).collect();
    let area = areas[usize::try_from(n / 100).unwrap_or_default() % areas.len()];
    format!("{area}55501{:02}", n % 100)
}

#[derive(Clone, Copy)]
enum Class {
    Digit,
    Letter,
    /// A non-ASCII character of this many bytes.
    Wide(usize),
}

impl Class {
    fn of(c: char) -> Self {
        match c {
            '0'..='9' => Self::Digit,
            c if c.is_ascii() => Self::Letter,
            c => Self::Wide(c.len_utf8()),
        }
    }

    fn letter(self) -> char {
        match self {
            Self::Digit => '0',
            Self::Letter => 'a',
            Self::Wide(2) => 'é',
            Self::Wide(3) => '一',
            Self::Wide(_) => '😀',
        }
    }

    /// The characters for this place: consonants and vowels alternate, so that words can be pronounced.
    fn choices(self, place: usize) -> Vec<char> {
        match self {
            Self::Digit => ('0'..='9').collect(),
            Self::Letter if place % 2 == 1 => "aeiou".chars().collect(),
            Self::Letter => "bdfghklmnprstvz".chars().collect(),
            Self::Wide(2) => ('à'..='ö').collect(),
            Self::Wide(3) => ('一'..='丿').collect(),
            Self::Wide(_) => ('😀'..='😿').collect(),
        }
    }
}

/// The `n`th word of a form. The first letter changes first, because readers distinguish words by it.
fn nth_word(classes: &[Class], mut n: u64) -> String {
    let letters = classes.iter().enumerate().map(|(place, class)| {
        let choices = class.choices(place);
        let many = choices.len() as u64;
        let chosen = choices[usize::try_from(n % many).unwrap_or_default()];
        n /= many;
        chosen
    });
    letters.collect()
}
