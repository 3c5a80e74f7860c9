//! What each database reads with statements of its own.

use super::sql::Sql;
use super::{
    CallPage, CallQuery, Counts, ListPosition, Reads, StoreError, StoredCall, StoredLeg, Unindexed,
    consistency, postgres, sqlite,
};
use crate::clock::Millis;
use crate::twilio::{AccountSid, CallSid};

impl<'c> Reads<'c> {
    pub(super) fn sql(self) -> Sql<'c> {
        match self {
            Self::Sqlite(reader) => Sql::Sqlite(&reader.connection),
            Self::Postgres(session) => Sql::Postgres(session),
        }
    }

    pub(super) async fn get_all(self, sid: &CallSid) -> Result<Vec<StoredCall>, StoreError> {
        match self {
            Self::Sqlite(reader) => reader.calls_named(sid),
            Self::Postgres(session) => {
                let found =
                    async |session: &_| postgres::operator_queries::get_all(session, sid).await;
                session.snapshot(found).await
            }
        }
    }

    pub(super) async fn search(self, query: &CallQuery) -> Result<CallPage, StoreError> {
        match self {
            Self::Sqlite(reader) => reader.page(query),
            Self::Postgres(session) => postgres::search::page(session, query).await,
        }
    }

    pub(super) async fn unindexed(
        self,
        before: Millis,
        from: Option<ListPosition>,
    ) -> Result<Unindexed, StoreError> {
        match self {
            Self::Sqlite(reader) => reader.unindexed(before, from),
            Self::Postgres(session) => postgres::search::unindexed(session, before, from).await,
        }
    }

    pub(super) async fn legs(
        self,
        account: &AccountSid,
        sids: &[CallSid],
    ) -> Result<Vec<StoredLeg>, StoreError> {
        match self {
            Self::Sqlite(reader) => sqlite::legs(&reader.connection, account, sids),
            Self::Postgres(session) => postgres::legs::legs(session, account, sids).await,
        }
    }

    pub(super) async fn counts(self) -> Result<Counts, StoreError> {
        match self {
            Self::Sqlite(reader) => {
                let counters = sqlite::counters::load(&reader.connection)?;
                Ok(counters.counts(reader.claimed_count(), None))
            }
            Self::Postgres(session) => postgres::counters::counts(session).await,
        }
    }

    pub(super) async fn verify_consistency(self) -> Result<Vec<String>, StoreError> {
        // One transaction, so that all numbers are of one moment.
        match self {
            Self::Sqlite(reader) => {
                let _snapshot = reader.connection.unchecked_transaction()?;
                let counters = sqlite::counters::load(&reader.connection)?;
                consistency::verify(self.sql(), counters).await
            }
            Self::Postgres(session) => {
                postgres::wait_for_other_checks(session).await?;
                let verify = async |session: &_| {
                    let (counters, ..) = postgres::counters::sum(session).await?;
                    consistency::verify(Sql::Postgres(session), counters).await
                };
                session.snapshot(verify).await
            }
        }
    }
}
