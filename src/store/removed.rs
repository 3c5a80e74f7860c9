//! How a store remembers the calls that it removed: by hashes of their SIDs.
//!
//! A signed request is valid forever, so a captured one can be sent again after its call was removed.
//! The store then recognises it as a repeat.

use sha2::{Digest as _, Sha256};

use super::sql::{Sql, Values};
use super::{State, Store, StoreError, Urgency, read, write};
use crate::clock::Millis;
use crate::domain::class::Class;
use crate::twilio::{AccountSid, CallSid, callback};

words! {
    /// Why a call was removed.
    pub enum RemovalCause {
        /// It was delivered or skipped, and `store.retention` had ended.
        Retention = "retention",
        /// It was parked, and `store.parked_retention` had ended.
        Expired = "expired",
        /// An operator erased it.
        Erased = "erased",
    }
}

impl RemovalCause {
    /// Why a call in this state is removed by age.
    pub(super) fn by_age(state: State) -> Self {
        match state {
            State::Parked => Self::Expired,
            _ => Self::Retention,
        }
    }

    /// The class in which the ledger keeps a removed call.
    pub(super) fn kept_class(self, class: Class) -> Class {
        match (self, class) {
            (Self::Expired, Class::Parked) => Class::Expired,
            (Self::Erased, Class::Waiting | Class::WaitingLate | Class::Parked) => Class::Erased,
            _ => class,
        }
    }
}

/// What is left of a removed call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemovedCall {
    pub account: AccountSid,
    /// The first moment of the day (UTC) on which it was removed.
    pub day: Millis,
    pub cause: RemovalCause,
    /// Why it was parked, without personal data.
    pub reason: Option<String>,
}

/// Of a call that the database may not have.
const REMEMBER_ERASED: &str = "INSERT INTO removed_call (hash, account, day, cause) \
    VALUES ($1, $2, $3, 'erased') \
    ON CONFLICT (hash) DO UPDATE SET day = excluded.day, cause = excluded.cause, reason = NULL";

impl dyn Store + '_ {
    /// See [`ReadStore::removed`](super::ReadStore::removed).
    pub async fn removed(&self, sid: &CallSid) -> Result<Vec<RemovedCall>, StoreError> {
        let sid = sid.clone();
        read(self, async move |reads| removed(reads.sql(), &sid).await).await
    }

    /// Remembers that calls are erased, of which the database has no row.
    pub async fn remember_erased(
        &self,
        sids: Vec<(AccountSid, CallSid)>,
        now: Millis,
    ) -> Result<(), StoreError> {
        write(self, Urgency::Now, async move |tx| {
            for (account, sid) in &sids {
                let hash = sid_hash(account, sid);
                let values: Values<'_> = &[&hash.as_slice(), &account.as_str(), &day(now)];
                tx.sql().execute(REMEMBER_ERASED, values).await?;
            }
            Ok(())
        })
        .await
    }
}

pub(super) async fn removed(sql: Sql<'_>, sid: &CallSid) -> Result<Vec<RemovedCall>, StoreError> {
    let accounts = "SELECT DISTINCT account FROM removed_call";
    let mut found = Vec::new();
    for account in sql.query(accounts, &[], |row| row.account(0)).await? {
        let hash = sid_hash(&account, sid);
        let one = "SELECT day, cause, reason FROM removed_call WHERE hash = $1";
        let values: Values<'_> = &[&hash.as_slice()];
        let removed = sql.first(one, values, |row| {
            Ok(RemovedCall {
                account: account.clone(),
                day: start_of(row.get(0)?),
                cause: row.parse(1, RemovalCause::parse)?,
                reason: row.get(2)?,
            })
        });
        found.extend(removed.await?);
    }
    Ok(found)
}

/// The first half of the SHA-256 of account and SID: a collision would drop a callback, so a hash of 64
/// bits is too short. `remember_removed.sql` computes the same.
pub(super) fn sid_hash(account: &AccountSid, sid: &CallSid) -> [u8; 16] {
    let hash = Sha256::digest(format!("{account}/{sid}"));
    let mut half = [0; 16];
    half.copy_from_slice(&hash[..16]);
    half
}

const DAY_MS: i64 = 24 * 3_600 * 1_000;

/// Days since 1970-01-01, in UTC.
pub(super) fn day(at: Millis) -> i64 {
    at.0.div_euclid(DAY_MS)
}

fn start_of(day: i64) -> Millis {
    Millis(day.saturating_mul(DAY_MS))
}

/// The reason without the words that may be a number or an address. `remember_removed.sql` does the same.
pub(super) fn anonymous(reason: &str) -> String {
    let is_personal = |word: &str| {
        word.contains('@')
            || word
                .as_bytes()
                .windows(4)
                .any(|part| part.iter().all(u8::is_ascii_digit))
    };
    let words = reason.split_whitespace();
    let words = words.map(|word| if is_personal(word) { "***" } else { word });
    words.collect::<Vec<_>>().join(" ")
}

/// The latest time that Twilio signed in a call's forms, if that is after `cutoff`: the call is younger
/// than the clock of this machine said.
pub(super) fn reported_after(forms: &[Vec<u8>], cutoff: Millis) -> Option<Millis> {
    let reported = forms.iter().filter_map(|form| callback::reported_at(form));
    reported.max().filter(|reported| *reported > cutoff)
}
