//! Finds calls by address: the terms of a call, and their keyed hashes for the index and URLs.
//!
//! A term is a number with `+`, an address with its scheme, an identity, an e-mail, or the last four
//! digits of a number. Hashes find candidates; the terms of the candidate decide.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::directory::{Directory, is_email, normal_address};
use crate::clock::Millis;
use crate::twilio::listed::{RequestSource, read_stored};
use crate::twilio::signature::fields;
use crate::twilio::{CallbackContent, StatusCallback};

/// The fields of a callback that have an address.
const FIELDS: [&str; 6] = [
    "From",
    "To",
    "Caller",
    "Called",
    "ForwardedFrom",
    "CalledVia",
];

/// The fewest digits of the end of a number that find it.
const MIN_DIGITS: usize = 4;

/// A number without `+` that is at least this long has its country code.
const FULL_DIGITS: usize = 11;

/// Separates the last digits of a number from an identity of the same digits.
const LAST_DIGITS: char = '…';

/// No page mentions a shorter lag of the index.
const USUAL_LAG: Duration = Duration::from_secs(30);

/// The terms by which a call is found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallTerms(BTreeSet<String>);

impl CallTerms {
    /// Adds the addresses of a stored request, and the e-mails of their agents.
    pub fn add_request(&mut self, url: &str, headers: &str, body: &[u8], directory: &Directory) {
        if RequestSource::of(headers) == RequestSource::Listed {
            if let Ok(read) = read_stored(url, headers, body)
                && let CallbackContent::Status(StatusCallback {
                    from, to, email, ..
                }) = read.kind
            {
                self.add_address(&from, directory);
                self.add_address(&to, directory);
                self.add_email(email.as_ref().map(|email| email.text.as_str()));
            }
            return;
        }
        for (name, value) in fields(body).iter() {
            if FIELDS.contains(&name) {
                self.add_address(value, directory);
            }
        }
        let query = url.split_once('?').map_or("", |(_, query)| query);
        let query = fields(query.as_bytes());
        query
            .values("email")
            .for_each(|email| self.add_email(Some(email)));
    }

    fn add_address(&mut self, address: &str, directory: &Directory) {
        if address.is_empty() {
            return;
        }
        self.add_email(directory.email_of(address).as_deref());
        let (whole, user) = normal_address(address);
        for term in [Some(whole), user].into_iter().flatten() {
            if let Some(digits) = digits_of(&term)
                && digits.len() >= MIN_DIGITS
            {
                self.0.insert(last_digits(digits, MIN_DIGITS));
            }
            self.0.insert(term);
        }
    }

    /// Adds the e-mail in the body of a request to Acquire.
    pub fn add_sent(&mut self, body: &str) {
        #[derive(serde::Deserialize)]
        struct Sent {
            email: Option<String>,
        }
        if let Ok(sent) = serde_json::from_str::<Sent>(body) {
            self.add_email(sent.email.as_deref());
        }
    }

    fn add_email(&mut self, email: Option<&str>) {
        let email = email.filter(|email| is_email(email));
        self.0.extend(email.map(str::to_lowercase));
    }

    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The digits of a number with or without `+`; None of any other text.
fn digits_of(term: &str) -> Option<&str> {
    let digits = term.strip_prefix('+').unwrap_or(term);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then_some(digits)
}

fn last_digits(digits: &str, count: usize) -> String {
    format!("{LAST_DIGITS}{}", &digits[digits.len() - count..])
}

/// An address to find, as its term, or the last digits of a number.
#[derive(Clone, PartialEq, Eq)]
pub enum TypedAddress {
    Term(String),
    LastDigits(String),
}

/// Why a text is no address to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TypedAddressError {
    #[error("is empty")]
    Empty,
    #[error(
        "has too few digits: enter the number in full, or at least its last {MIN_DIGITS} digits"
    )]
    TooFewDigits,
}

impl TypedAddress {
    /// Reads an address as an operator types it: a number in full with spaces, hyphens or brackets; the
    /// last digits of a number; `client:jane`, `jane`, a SIP address or an e-mail.
    pub fn parse(text: &str) -> Result<Self, TypedAddressError> {
        let text = text.trim();
        let text = text.strip_prefix("tel:").unwrap_or(text);
        if text.is_empty() {
            return Err(TypedAddressError::Empty);
        }
        let is_filler = |c: char| " -.()/".contains(c);
        let digits: String = text.chars().filter(|c| !is_filler(*c)).collect();
        if digits.starts_with('+') || digits_of(&digits).is_none() {
            let (whole, _) = normal_address(text);
            let is_number = digits.starts_with('+') && digits_of(&digits).is_some();
            return match digits_of(&digits) {
                Some(few) if few.len() < MIN_DIGITS => Err(TypedAddressError::TooFewDigits),
                _ if is_number => Ok(Self::Term(digits)),
                _ => Ok(Self::Term(whole)),
            };
        }
        let international = digits.strip_prefix("00").unwrap_or(&digits);
        if international.len() >= FULL_DIGITS {
            Ok(Self::Term(format!("+{international}")))
        } else if digits.len() < MIN_DIGITS {
            Err(TypedAddressError::TooFewDigits)
        } else {
            Ok(Self::LastDigits(digits))
        }
    }

    pub fn hashed(&self, hasher: &AddressHasher) -> HashedAddress {
        match self {
            Self::Term(term) => HashedAddress::Term(hasher.hash(term)),
            Self::LastDigits(digits) => HashedAddress::LastDigits {
                four: hasher.hash(&last_digits(digits, MIN_DIGITS)),
                all: hasher.hash(&last_digits(digits, digits.len())),
            },
        }
    }
}

/// No log shows the address.
impl fmt::Debug for TypedAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TypedAddress")
    }
}

/// The keyed hash of a term: 64 bits of HMAC-SHA256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressHash(pub i64);

/// An address to find, as the index and URLs have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashedAddress {
    Term(AddressHash),
    LastDigits {
        /// Of the last four digits, as the index has them.
        four: AddressHash,
        /// Of all digits typed.
        all: AddressHash,
    },
}

impl HashedAddress {
    /// Reads what [`fmt::Display`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        match text.split_once('-') {
            None => AddressHash::parse(text).map(Self::Term),
            Some((four, all)) => Some(Self::LastDigits {
                four: AddressHash::parse(four)?,
                all: AddressHash::parse(all)?,
            }),
        }
    }

    /// The entry of the index that has the candidates.
    pub fn indexed(&self) -> AddressHash {
        match self {
            Self::Term(hash) | Self::LastDigits { four: hash, .. } => *hash,
        }
    }

    /// The term of a call that this address is, or the last digits of its number.
    pub fn found_in(&self, terms: &CallTerms, hasher: &AddressHasher) -> Option<String> {
        match self {
            Self::Term(hash) => {
                let found = terms.iter().find(|term| hasher.hash(term) == *hash);
                found.map(str::to_owned)
            }
            Self::LastDigits { all, .. } => terms.iter().filter_map(digits_of).find_map(|digits| {
                let mut ends = (MIN_DIGITS..=digits.len()).map(|count| last_digits(digits, count));
                ends.find(|end| hasher.hash(end) == *all)
            }),
        }
    }
}

impl fmt::Display for HashedAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Term(AddressHash(hash)) => write!(f, "{hash:016x}"),
            Self::LastDigits { four, all } => write!(f, "{:016x}-{:016x}", four.0, all.0),
        }
    }
}

impl AddressHash {
    fn parse(text: &str) -> Option<Self> {
        let is_hash = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = is_hash.then(|| u64::from_str_radix(text, 16).ok())??;
        Some(Self(number.cast_signed()))
    }
}

/// Hashes terms with the key of the store. The key protects URLs and audit rows, not a stolen store.
#[derive(Clone)]
pub struct AddressHasher(Hmac<Sha256>);

impl AddressHasher {
    pub fn new(key: &[u8]) -> Self {
        Self(Hmac::new_from_slice(key).expect("HMAC takes keys of any length"))
    }

    pub fn hash(&self, term: &str) -> AddressHash {
        let mut mac = self.0.clone();
        mac.update(term.as_bytes());
        let full = <[u8; 32]>::from(mac.finalize().into_bytes());
        AddressHash(i64::from_be_bytes(
            full.first_chunk().copied().unwrap_or_default(),
        ))
    }

    /// The hashes of all terms of a call.
    pub fn hashes(&self, terms: &CallTerms) -> Vec<i64> {
        terms.iter().map(|term| self.hash(term).0).collect()
    }
}

impl fmt::Debug for AddressHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AddressHasher")
    }
}

/// Up to when the search index has all callbacks. One background task writes it, pages read it.
#[derive(Debug, Default)]
pub struct SearchProgress(AtomicI64);

impl SearchProgress {
    pub fn is_complete_to(&self, at: Millis) {
        self.0.store(at.0, Ordering::Relaxed);
    }

    /// Up to when the index is complete, if that is longer ago than usual.
    pub fn lags_at(&self, now: Millis) -> Option<Millis> {
        let complete_to = Millis(self.0.load(Ordering::Relaxed));
        (now.since(complete_to) > USUAL_LAG).then_some(complete_to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(body: &str) -> CallTerms {
        let mut terms = CallTerms::default();
        let url = "https://bridge.example.com/twilio/voice/status?email=Ann%40Example.com";
        terms.add_request(url, "", body.as_bytes(), &Directory::default());
        terms
    }

    fn finds(body: &str, typed: &str) -> bool {
        let hasher = AddressHasher::new(b"made up");
        let wanted = TypedAddress::parse(typed)
            .expect("an address")
            .hashed(&hasher);
        assert_eq!(HashedAddress::parse(&wanted.to_string()), Some(wanted));
        let terms = terms(body);
        let is_candidate = hasher.hashes(&terms).contains(&wanted.indexed().0);
        let is_match = wanted.found_in(&terms, &hasher).is_some();
        assert!(is_candidate || !is_match, "{typed} matches, unindexed");
        is_match
    }

    #[test]
    fn a_call_is_found_by_each_spelling_of_an_address() {
        let body = "From=%2B12025550123&To=client%3AJane&Called=sip%3A%252B14155550199%40PBX.example.com%3A5060\
                    &ForwardedFrom=1001";
        for typed in [
            "+12025550123",
            "+1 202 555 0123",
            "+1 (202) 555-0123",
            "+1-202.555/0123",
            "tel:+12025550123",
            "12025550123",
            "1 202 555 0123",
            "0012025550123",
            "(202) 555-0123",
            "5550123",
            "0123",
            "client:Jane",
            "client:jane",
            "jane",
            "sip:+14155550199@pbx.example.com",
            "SIP:+14155550199@PBX.example.com;transport=tls",
            "+14155550199",
            "0199",
            "1001",
            "ann@example.com",
            "ANN@example.com",
        ] {
            assert!(finds(body, typed), "{typed}");
        }
        for typed in [
            "+12025550124",
            "2025550124",
            "1555",
            "9995550123",
            "john",
            "client:0123",
            "bob@example.com",
            "sip:+14155550199@other.example.com",
        ] {
            assert!(!finds(body, typed), "{typed}");
        }
    }

    #[test]
    fn fewer_than_four_digits_are_refused() {
        for typed in ["123", "+12", "(1) 2-3"] {
            assert_eq!(
                TypedAddress::parse(typed),
                Err(TypedAddressError::TooFewDigits)
            );
        }
        assert_eq!(TypedAddress::parse("  "), Err(TypedAddressError::Empty));
    }

    #[test]
    fn a_hash_depends_on_the_key_and_shows_no_address() {
        let one = AddressHasher::new(b"one").hash("+12025550123");
        assert_ne!(one, AddressHasher::new(b"two").hash("+12025550123"));
        let typed = TypedAddress::parse("+12025550123").expect("a number");
        assert!(!format!("{typed:?}").contains("2025550123"));
        for text in ["", "12025550123", "+12025550123", "0123456789abcdeg"] {
            assert_eq!(HashedAddress::parse(text), None, "{text}");
        }
    }
}
