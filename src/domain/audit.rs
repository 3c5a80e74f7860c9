//! The audit log: who did what and why, in rows that a chain of hashes protects.
//!
//! Each row's hash covers the row and the hash before it, so that a changed or removed row is found. Only
//! a copy of the last hash, kept elsewhere, shows that the last rows were removed.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::clock::Millis;

words! {
    /// The act that a row records.
    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    pub enum Act {
        Requeue = "requeue",
        Dismiss = "dismiss",
        Erase = "erase",
        Reload = "reload",
        Expiry = "expiry",
        OperationMade = "operation-made",
        OperationPaused = "operation-paused",
        OperationResumed = "operation-resumed",
        OperationCancelled = "operation-cancelled",
        OperationFinished = "operation-finished",
    }
}

words! {
    /// How the bridge knows who acts.
    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    pub enum KnownBy {
        /// A token of the configuration.
        Token = "token",
        /// The header of an authenticating proxy.
        Header = "header",
        /// The admin listener is on loopback and has no operators.
        Local = "local",
        /// A command on the store itself, with the Unix user that it claims.
        Cli = "cli",
        /// The bridge acts by itself.
        System = "system",
    }
}

/// The operator or program that acts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    pub name: String,
    pub known: KnownBy,
}

impl Actor {
    pub fn new(name: impl Into<String>, known: KnownBy) -> Self {
        let name = name.into();
        Self { name, known }
    }

    /// The bridge itself.
    pub fn system() -> Self {
        Self::new("system", KnownBy::System)
    }
}

/// Why an operator acts. The log is kept for ever, so a reason names no person in a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason(String);

/// The most characters of a reason.
const MAX_REASON: usize = 500;

/// So many digits in a row may be a phone number.
const MAX_DIGITS: usize = 6;

/// Why a text is not a [`Reason`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReasonError {
    #[error("a reason is required")]
    Missing,
    #[error("a reason has at most {MAX_REASON} characters, on one line")]
    Form,
    #[error(
        "a reason must not have an @, or more than {MAX_DIGITS} digits in a row: the audit log is kept \
         for ever, so it must not name a person or a number"
    )]
    Personal,
}

impl Reason {
    /// Reads a reason, without the white space around it.
    pub fn parse(text: &str) -> Result<Self, ReasonError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(ReasonError::Missing);
        }
        if text.chars().count() > MAX_REASON || text.chars().any(char::is_control) {
            return Err(ReasonError::Form);
        }
        let mut runs = text.split(|c: char| !c.is_numeric());
        let has_number = runs.any(|run| run.chars().count() > MAX_DIGITS);
        if has_number || text.contains(['@', '\u{ff20}']) {
            return Err(ReasonError::Personal);
        }
        Ok(Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An act, before it has its place in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    pub at: Millis,
    pub actor: Actor,
    pub act: Act,
    /// The call, operation or settings that it concerns.
    pub target: Option<String>,
    /// The filter of an operation in words, with addresses as hashes.
    pub filter: Option<String>,
    /// How many calls it concerns.
    pub count: Option<u64>,
    pub reason: Option<Reason>,
    pub result: Option<String>,
}

impl AuditEntry {
    pub fn new(act: Act, actor: Actor, at: Millis) -> Self {
        Self {
            at,
            actor,
            act,
            target: None,
            filter: None,
            count: None,
            reason: None,
            result: None,
        }
    }
}

/// A row of the log. Its fields are in alphabetical order: its JSON is the canonical JSON that is hashed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRow {
    pub act: Act,
    pub actor: String,
    pub at: Millis,
    pub count: Option<u64>,
    pub filter: Option<String>,
    pub known_by: KnownBy,
    /// From 1, without gaps.
    pub number: i64,
    pub reason: Option<String>,
    pub result: Option<String>,
    pub target: Option<String>,
}

/// The end of the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    pub number: i64,
    /// SHA-256 in hexadecimal digits.
    pub hash: String,
}

impl Default for Head {
    /// Before the first row.
    fn default() -> Self {
        let (number, hash) = (0, "0".repeat(64));
        Self { number, hash }
    }
}

impl Head {
    /// The JSON of the next row, and the end of the chain with it.
    pub fn chain(&self, entry: &AuditEntry) -> (String, Self) {
        let number = self.number + 1;
        let row = AuditRow {
            act: entry.act,
            actor: entry.actor.name.clone(),
            at: entry.at,
            count: entry.count,
            filter: entry.filter.clone(),
            known_by: entry.actor.known,
            number,
            reason: entry.reason.as_ref().map(|why| why.as_str().to_owned()),
            result: entry.result.clone(),
            target: entry.target.clone(),
        };
        let row = serde_json::json!(row).to_string();
        let hash = hash(&self.hash, &row);
        (row, Self { number, hash })
    }

    /// Moves on to a stored row; false if it is not the next row of the chain.
    pub fn follow(&mut self, number: i64, row: &str, stored_hash: &str) -> bool {
        let is_next = number == self.number + 1 && hash(&self.hash, row) == stored_hash;
        stored_hash.clone_into(&mut self.hash);
        self.number = number;
        is_next
    }
}

fn hash(previous: &str, row: &str) -> String {
    let digest = Sha256::digest(format!("{previous}{row}"));
    digest.iter().fold(String::new(), |mut text, byte| {
        // Writing to a text cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_names_no_number_and_no_address() {
        for text in ["test calls", "outage of 2026-11-30, ticket 123456", "  x  "] {
            assert!(Reason::parse(text).is_ok(), "{text}");
        }
        for text in ["", "  ", "a\nb", &"x".repeat(501)] {
            assert!(Reason::parse(text).is_err(), "{text}");
        }
        for text in [
            "asked by +12025550123",
            "1234567",
            "ann@example.com",
            "١٢٣٤٥٦٧",
        ] {
            assert_eq!(Reason::parse(text), Err(ReasonError::Personal), "{text}");
        }
    }

    #[test]
    fn each_row_is_canonical_json_that_its_hash_covers() {
        let mut entry = AuditEntry::new(Act::OperationMade, Actor::system(), Millis(0));
        entry.target = Some("requeue 1".to_owned());
        let (row, head) = Head::default().chain(&entry);
        // As `jq -cS .` writes it.
        assert_eq!(
            row,
            "{\"act\":\"operation-made\",\"actor\":\"system\",\"at\":\"1970-01-01T00:00:00.000Z\",\
             \"count\":null,\"filter\":null,\"known_by\":\"system\",\"number\":1,\"reason\":null,\
             \"result\":null,\"target\":\"requeue 1\"}"
        );
        let mut check = Head::default();
        assert!(check.follow(1, &row, &head.hash));
        assert!(!Head::default().follow(1, &row.replace("requeue", "dismiss"), &head.hash));
        assert!(!Head::default().follow(2, &row, &head.hash));
        let (next, last) = head.chain(&entry);
        assert!(check.follow(2, &next, &last.hash));
        assert_eq!(check, last);
    }

    #[test]
    fn the_words_of_acts_are_those_of_their_json() {
        for act in Act::ALL {
            assert_eq!(serde_json::json!(act), act.as_str());
            assert_eq!(Act::parse(act.as_str()), Some(act));
        }
    }
}
