//! Legs, for the comparison with Twilio's own records.

use std::collections::HashSet;

use rusqlite::Connection;

use super::hash_index;
use super::rows::{self, CallRow};
use crate::store::records::{StoredLeg, legs_of};
use crate::store::{StoreError, removed};
use crate::twilio::{AccountSid, CallSid};

pub fn legs(
    connection: &Connection,
    account: &AccountSid,
    sids: &[CallSid],
) -> Result<Vec<StoredLeg>, StoreError> {
    // One transaction: a call that is merged after it was found would lack its callbacks.
    let _snapshot = connection.unchecked_transaction()?;
    let hashes: Vec<i64> = sids.iter().map(hash_index::hash_of_sid).collect();
    let found = hash_index::find_committed(connection, &hashes)?;
    let (mut callbacks, mut removed) = (Vec::new(), HashSet::new());
    for ((place, sid), hash) in (1..).zip(sids).zip(hashes) {
        for &id in found.get(&hash).into_iter().flatten() {
            let call = CallRow::load(connection, id)?;
            if call.is_some_and(|call| call.account == *account) {
                let of_leg = rows::callbacks_of_leg(connection, id, sid)?;
                callbacks.extend(of_leg.into_iter().map(|callback| (place, callback)));
            }
        }
        let hash = removed::sid_hash(account, sid);
        let is_removed = connection
            .prepare_cached("SELECT 1 FROM removed_call WHERE hash = ?1")?
            .exists([&hash[..]])?;
        removed.extend(is_removed.then_some(place));
    }
    Ok(legs_of(sids.len(), callbacks, &removed))
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus::FullscanStep;

    use super::*;

    #[test]
    fn many_legs_are_looked_up_with_one_read_of_the_sid_log() {
        let connection = Connection::open_in_memory().expect("memory");
        let schema = include_str!("../migrations/sqlite/0001_initial.sql");
        connection.execute_batch(schema).expect("tables");
        let rows = "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n LIMIT 1000) \
                    INSERT INTO sid_log SELECT n, n, n FROM n";
        connection.execute_batch(rows).expect("rows");
        let account = AccountSid::parse(&format!("AC{:032}", 1)).expect("an account");
        let sids = (1..=200).map(|n| CallSid::parse(&format!("CA{n:032}")).expect("a call"));
        let sids: Vec<CallSid> = sids.collect();
        assert_eq!(legs(&connection, &account, &sids).expect("legs").len(), 200);
        let lookup = connection.prepare_cached(hash_index::FIND_COMMITTED);
        let read = lookup.expect("a statement").get_status(FullscanStep);
        assert!((1..=1_000).contains(&read), "{read} rows");
    }
}
