//! What stands for each number, SID and word: the first, second, third made-up one of its form.
//!
//! Counted, not computed from the original: nothing of it can be found again by trying.

use std::collections::{HashMap, HashSet};

/// What is known so far.
#[derive(Default)]
pub(super) struct Atoms {
    /// No made-up value may be one of these.
    originals: HashSet<String>,
    /// What stands for each original, in lower case where case tells nothing.
    made_up: HashMap<String, String>,
    /// How many of each form were made up.
    counts: HashMap<String, u64>,
}

/// Tries at a made-up value that is no original; forms of one or two characters have few.
const TRIES: u64 = 10_000;

/// A NANP number without its country code, in digits.
const NANP_DIGITS: usize = 10;

impl Atoms {
    /// Makes sure that nothing made up is `original`.
    pub fn avoid(&mut self, original: &str) {
        self.originals.insert(original.to_lowercase());
        if let Some((_, key)) = nanp(original) {
            self.originals.insert(key.to_owned());
        }
    }

    /// Two letters and a count in 32 hexadecimal digits.
    pub fn sid(&mut self, sid: &str) -> String {
        let prefix = &sid[..2];
        self.one(sid, prefix, |n| format!("{prefix}{:032x}", n + 1))
    }

    /// Digits for digits. North American numbers become fictional ones (555-01xx), all others begin
    /// with 999, which no country has (ITU-T E.164).
    pub fn number(&mut self, digits: &str, plus: Plus) -> String {
        let known = self.made_up.get(digits).cloned();
        match nanp(digits).filter(|_| known.is_none()) {
            Some((code, key)) if plus == Plus::None || !code.is_empty() => {
                let national = self.one(key, "nanp", nanp_number);
                format!("{code}{national}")
            }
            _ => {
                let width = digits.len().saturating_sub(3);
                let form = format!("number {width}");
                self.one(digits, &form, |n| {
                    let space = 10_u64.saturating_pow(u32::try_from(width).unwrap_or(u32::MAX));
                    format!("999{:0width$}", n % space)
                })
            }
        }
    }

    /// Letters for letters, digits for digits, bytes for bytes.
    pub fn word(&mut self, word: &str) -> String {
        let lower = word.to_lowercase();
        let is_alike = lower.len() == word.len() && lower.chars().count() == word.chars().count();
        let key = if is_alike { lower.as_str() } else { word };
        let form: String = key.chars().map(|c| Class::of(c).letter()).collect();
        let classes: Vec<Class> = key.chars().map(Class::of).collect();
        let made_up = self.one(key, &form, |n| spell(&classes, n));
        let cased = word.chars().zip(made_up.chars()).map(|(old, new)| {
            let upper = new.to_uppercase().next();
            upper
                .filter(|upper| old.is_uppercase() && upper.len_utf8() == old.len_utf8())
                .unwrap_or(new)
        });
        cased.collect()
    }

    fn one(&mut self, key: &str, form: &str, make: impl Fn(u64) -> String) -> String {
        if let Some(known) = self.made_up.get(key) {
            return known.clone();
        }
        let count = self.counts.entry(form.to_owned()).or_default();
        let mut made_up = make(*count);
        for _ in 0..TRIES {
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
pub(super) enum Plus {
    None,
    Leading,
}

/// Country code, if written, and the ten digits of a North American number.
fn nanp(digits: &str) -> Option<(&str, &str)> {
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (code, national) = digits.split_at(digits.len().checked_sub(NANP_DIGITS)?);
    let begins_well = national.bytes().next().is_some_and(|first| first >= b'2');
    (["", "1"].contains(&code) && begins_well).then_some((code, national))
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
    /// Of this many bytes.
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

    /// What stands in this place: consonants and vowels in turn, so that words can be spoken.
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

/// The `n`th word of a form: the first letter changes first, as words are told apart by that.
fn spell(classes: &[Class], mut n: u64) -> String {
    let spelled = classes.iter().enumerate().map(|(place, class)| {
        let choices = class.choices(place);
        let many = choices.len() as u64;
        let chosen = choices[usize::try_from(n % many).unwrap_or_default()];
        n /= many;
        chosen
    });
    spelled.collect()
}
