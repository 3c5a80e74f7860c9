//! How a store remembers the calls that it removed: by hashes of their SIDs.
//!
//! A signed request is valid for ever, so one that was captured can be sent again after its call was
//! removed. The store then recognises it as a repeat.

use sha2::{Digest as _, Sha256};

use crate::clock::Millis;
use crate::twilio::{AccountSid, CallSid};

/// Why a call was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RemovalCause {
    /// Its retention had ended.
    Retention,
}

impl RemovalCause {
    /// The word in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retention => "retention",
        }
    }
}

/// The first half of the SHA-256 of account and SID: a collision would drop a callback, so a hash of 64
/// bits is too short. `remember_removed.sql` computes the same.
pub(super) fn sid_hash(account: &AccountSid, sid: &CallSid) -> [u8; 16] {
    let hash = Sha256::digest(format!("{account}/{sid}"));
    let mut half = [0; 16];
    half.copy_from_slice(&hash[..16]);
    half
}

/// Days since 1970-01-01, in UTC.
pub(super) fn day(at: Millis) -> i64 {
    at.0.div_euclid(24 * 3_600 * 1_000)
}
