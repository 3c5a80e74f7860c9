//! Pages of lists of calls. What belongs on a page is decided in `store/search.rs`.

use tokio_postgres::Row;

use super::rows::{self, read_summary};
use crate::clock::Millis;
use crate::domain::call_addresses::CallTerms;
use crate::store::StoreError;
use crate::store::search::{CallPage, CallQuery, ListPosition, PageBuilder, Path};
use crate::store::sql::{PostgresValues as Values, Session};
use crate::store::{IndexJob, StoredCall, Towards, Unindexed, split_by_requeue};

/// Rows of one query.
const CHUNK: usize = 500;

/// Calls that one query reads as a whole.
const READ_CHUNK: usize = 50;

/// The columns that [`read_calls`] reads.
macro_rules! columns {
    () => {
        concat!(
            "SELECT ",
            $crate::store::postgres::rows::summary!(),
            ", call.id, call.effective_at, call.requeue_count, call.retry_now_at, call.callbacks, \
             greatest(call.planned_callbacks, call.indexed_callbacks)"
        )
    };
}

pub(super) use columns;

/// The index of `call.id` in [`columns`].
const ID: usize = 9;

/// The statements of the lists in one direction.
struct ListSql {
    address: &'static str,
    newest: &'static str,
    claimed: &'static str,
    pending: &'static str,
    finished: &'static str,
}

macro_rules! list_sql {
    ($beyond:literal, $order:literal) => {
        ListSql {
            address: concat!(
                columns!(),
                " FROM (SELECT call FROM address WHERE hash = $1 AND call ", $beyond, " $2 \
                  ORDER BY call ", $order, " LIMIT $3) AS candidate \
                  CROSS JOIN LATERAL (SELECT * FROM call WHERE call.id = candidate.call) AS call \
                  ORDER BY call.id ", $order
            ),
            newest: concat!(
                columns!(),
                " FROM call WHERE id ", $beyond, " $1 ORDER BY id ", $order, " LIMIT $2"
            ),
            claimed: concat!(
                columns!(),
                " FROM call WHERE claim IS NOT NULL AND id ", $beyond, " $1 ORDER BY id ", $order, " LIMIT $2"
            ),
            // By account, because the index of due calls starts with the account.
            pending: concat!(
                include_str!("sql/accounts_with_due.sql"),
                columns!(),
                " FROM accounts_with_due CROSS JOIN LATERAL (SELECT * FROM call \
                  WHERE call.account = accounts_with_due.account AND state = 'pending' AND claim IS NULL \
                  AND (effective_at, id) ", $beyond, " ($3, $4) \
                  ORDER BY effective_at ", $order, ", id ", $order, " LIMIT $5) AS call \
                  ORDER BY effective_at ", $order, ", id ", $order, " LIMIT $5"
            ),
            // `state <> 'pending'` is the condition of the partial index.
            finished: concat!(
                columns!(),
                " FROM call WHERE state = $1 AND state <> 'pending' AND (effective_at, id) ", $beyond,
                " ($2, $3) ORDER BY effective_at ", $order, ", id ", $order, " LIMIT $4"
            ),
        }
    };
}

const ASCENDING: ListSql = list_sql!(">", "ASC");
const DESCENDING: ListSql = list_sql!("<", "DESC");

/// See [`Store::search`](crate::store::Store::search).
pub async fn page(session: &Session, query: &CallQuery) -> Result<CallPage, StoreError> {
    let path = query.path();
    let mut page = PageBuilder::new(query);
    let mut from = query.start();
    while !page.is_full() {
        let rows = chunk(session, path, path.is_ascending(query.towards), from).await?;
        let Some(last) = rows.last() else { break };
        from = position(path, last)?;
        for rows in rows.chunks(READ_CHUNK) {
            let mut wanted = Vec::new();
            for row in rows {
                if page.wants(position(path, row)?, &read_summary(row)?) {
                    wanted.push(row);
                }
            }
            let calls = if query.reads_calls() {
                read_calls(session, &wanted).await?
            } else {
                let summaries = wanted.iter().map(|row| read_summary(row));
                let calls = summaries.map(|summary| summary.map(StoredCall::without_details));
                calls.collect::<Result<_, _>>()?
            };
            for (row, call) in wanted.into_iter().zip(calls) {
                page.add(position(path, row)?, call);
            }
        }
    }
    Ok(page.finish())
}

fn position(path: Path, row: &Row) -> Result<ListPosition, StoreError> {
    Ok(path.position(row.try_get(ID)?, row.try_get(ID + 1)?))
}

/// The next rows of a list.
async fn chunk(
    session: &Session,
    path: Path,
    is_ascending: bool,
    ListPosition { at, id }: ListPosition,
) -> Result<Vec<Row>, StoreError> {
    let sql = if is_ascending { ASCENDING } else { DESCENDING };
    let limit = i64::try_from(CHUNK).unwrap_or(i64::MAX);
    match path {
        Path::Address(hash) => session.query(sql.address, &[&hash, &id, &limit]).await,
        Path::Newest => session.query(sql.newest, &[&id, &limit]).await,
        Path::Claimed => session.query(sql.claimed, &[&id, &limit]).await,
        Path::Pending => {
            let no_account: &[&str] = &[];
            let values: Values<'_> = &[&no_account, &true, &at, &id, &limit];
            session.query(sql.pending, values).await
        }
        Path::Finished(state) => {
            let state = state.as_str();
            session
                .query(sql.finished, &[&state, &at, &id, &limit])
                .await
        }
    }
}

/// The calls of these rows, with all that the store has of them.
pub(super) async fn read_calls(
    session: &Session,
    rows: &[&Row],
) -> Result<Vec<StoredCall>, StoreError> {
    let ids = rows.iter().map(|row| row.try_get(ID));
    let ids: Vec<i64> = ids.collect::<Result<_, _>>()?;
    let callbacks = rows::callbacks_of(session, &ids).await?;
    let attempts = rows::attempts_of(session, &ids).await?;
    let mut calls = Vec::with_capacity(rows.len());
    for (row, id) in rows.iter().zip(ids) {
        let made = attempts.iter().filter(|(call, ..)| *call == id);
        let made = made.map(|(_, made_at, attempt)| (*made_at, attempt.clone()));
        let (attempts, attempts_before_requeue) =
            split_by_requeue(made.collect(), row.try_get(ID + 2)?);
        let own = callbacks.iter().filter(|(call, _)| *call == id);
        calls.push(StoredCall {
            summary: read_summary(row)?,
            callbacks: own.map(|(_, callback)| callback.clone()).collect(),
            attempts,
            attempts_before_requeue,
            retry_now_at: row.try_get::<_, Option<i64>>(ID + 3)?.map(Millis),
        });
    }
    Ok(calls)
}

/// See [`ReadStore::unindexed`](crate::store::ReadStore::unindexed).
pub async fn unindexed(
    session: &Session,
    before: Millis,
    from: Option<ListPosition>,
) -> Result<Unindexed, StoreError> {
    let from = from.unwrap_or(Path::Pending.first(Towards::End));
    let rows = chunk(session, Path::Pending, true, from).await?;
    let mut found = Unindexed::default();
    let mut lacking = Vec::new();
    for row in &rows {
        let (callbacks, indexed): (i64, i64) = (row.try_get(ID + 4)?, row.try_get(ID + 5)?);
        if callbacks > indexed && read_summary(row)?.changed < before {
            lacking.push(row);
        }
        found.next = Some(position(Path::Pending, row)?);
        if lacking.len() == READ_CHUNK {
            break;
        }
    }
    let calls = read_calls(session, &lacking).await?;
    for (row, call) in lacking.iter().zip(calls) {
        let job = IndexJob {
            call: row.try_get(ID)?,
            callbacks: row.try_get(ID + 4)?,
            terms: CallTerms::default(),
        };
        found.calls.push((job, call));
    }
    Ok(found)
}
