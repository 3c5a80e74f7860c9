//! Pages of lists of calls. What belongs on a page is decided in `store/search.rs`.

use rusqlite::params;

use super::reader::SqliteReader;
use super::rows::{self, CallRow};
use crate::store::search::{CallPage, CallQuery, PageBuilder, Path};
use crate::store::{State, StoreError, StoredCall};

impl SqliteReader {
    pub fn page(&self, query: &CallQuery) -> Result<CallPage, StoreError> {
        // One transaction, so that all parts are of one moment.
        let _snapshot = self.connection.unchecked_transaction()?;
        let mut page = PageBuilder::new(query);
        let path = query.path();
        let start = query.start();
        let is_ascending = path.is_ascending(query.towards);
        let (beyond, order) = if is_ascending {
            (">", "ASC")
        } else {
            ("<", "DESC")
        };
        match path {
            Path::Address(hash) => {
                let sql = format!(
                    "SELECT call FROM address WHERE hash = ?1 AND call {beyond} ?2 \
                     UNION SELECT call FROM address_log WHERE hash = ?1 AND call {beyond} ?2 \
                     ORDER BY call {order}"
                );
                let mut statement = self.connection.prepare_cached(&sql)?;
                let mut candidates = statement.query(params![hash, start.id])?;
                while !page.is_full()
                    && let Some(row) = candidates.next()?
                {
                    // A call that was merged has no callbacks, and a removed one has no row.
                    if let Some(call) = CallRow::load(&self.connection, row.get(0)?)? {
                        self.offer(&mut page, query, call)?;
                    }
                }
            }
            Path::Claimed => {
                let mut held = self.leases.lock().calls();
                held.sort_unstable();
                if !is_ascending {
                    held.reverse();
                }
                for id in held {
                    let is_beyond = if is_ascending {
                        id > start.id
                    } else {
                        id < start.id
                    };
                    if is_beyond && let Some(call) = CallRow::load(&self.connection, id)? {
                        self.offer(&mut page, query, call)?;
                    }
                }
            }
            Path::Newest => {
                let sql = format!(
                    "SELECT {} FROM call WHERE id {beyond} ?1 ORDER BY id {order}",
                    rows::summary!()
                );
                self.offer_rows(&mut page, query, &sql, params![start.id])?;
            }
            Path::Pending | Path::Finished(_) => {
                // Two parts, so that the search does not read the first of a million calls with the
                // same time again and again.
                let sql = format!(
                    "SELECT {columns} FROM call \
                     WHERE state = ?1 AND effective_at = ?2 AND id {beyond} ?3 \
                     UNION ALL \
                     SELECT {columns} FROM call WHERE state = ?1 AND effective_at {beyond} ?2 \
                     ORDER BY effective_at {order}, id {order}",
                    columns = rows::summary!()
                );
                let state = query.filter.state.unwrap_or(State::Pending);
                let params = params![state.as_str(), start.at, start.id];
                self.offer_rows(&mut page, query, &sql, params)?;
            }
        }
        Ok(page.finish())
    }

    fn offer_rows(
        &self,
        page: &mut PageBuilder<'_>,
        query: &CallQuery,
        sql: &str,
        params: &[&dyn rusqlite::ToSql],
    ) -> Result<(), StoreError> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query(params)?;
        while !page.is_full()
            && let Some(row) = rows.next()?
        {
            self.offer(page, query, CallRow::read(row)?)?;
        }
        Ok(())
    }

    fn offer(
        &self,
        page: &mut PageBuilder<'_>,
        query: &CallQuery,
        call: CallRow,
    ) -> Result<(), StoreError> {
        let position = query.path().position(call.id, call.effective_at.0);
        let summary = self.summary(call.clone());
        if page.wants(position, &summary) {
            let call = if query.reads_calls() {
                self.whole(call)?
            } else {
                StoredCall::without_details(summary)
            };
            page.add(position, call);
        }
        Ok(())
    }
}
