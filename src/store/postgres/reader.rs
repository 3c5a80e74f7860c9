//! Looks into the database for commands, which wait for the answer.

use tokio::runtime::Runtime;
use tokio::task::LocalSet;
use tokio::time::timeout;

use super::connection;
use super::consistency;
use super::migrate::{self, Migration};
use super::operator_queries;
use super::refused;
use super::session::{PgError, Session};
use super::{runtime, server};
use crate::config::postgres::PostgresUrl;
use crate::store::reader::CallPredicate;
use crate::store::{
    CallSummary, ListFilter, Migrated, OpenError, RefusedCause, RefusedFilter, StoreError,
    StoredCall, StoredRefusedRequest,
};
use crate::twilio::CallSid;

/// A connection of its own, on which nothing is changed.
pub struct PostgresReader {
    session: Session,
    // Dropped after what lives in them.
    tasks: LocalSet,
    runtime: Runtime,
}

/// Brings a database to the version of the last of `migrations`; other nodes may use it meanwhile.
pub fn migrate(url: &PostgresUrl, migrations: &[Migration]) -> Result<Migrated, OpenError> {
    let unusable = |why: String| OpenError::Database {
        url: url.to_string(),
        why,
    };
    let server = server(url, connection::CONNECTING)?;
    let runtime = runtime().map_err(|error| unusable(error.to_string()))?;
    let migrating = async {
        let mut session = Session::connect(&server).await?;
        migrate::bring_up(session.client(), migrations).await
    };
    let (from, to) = LocalSet::new()
        .block_on(&runtime, migrating)
        .map_err(|trouble| unusable(trouble.to_string()))?;
    let version = |number: i32| usize::try_from(number).unwrap_or_default();
    Ok(Migrated {
        from: version(from),
        to: version(to),
    })
}

impl PostgresReader {
    pub fn open(url: &PostgresUrl) -> Result<Self, OpenError> {
        let unusable = |why: String| OpenError::Database {
            url: url.to_string(),
            why,
        };
        let server = server(url, connection::CONNECTING)?;
        let runtime = runtime().map_err(|error| unusable(error.to_string()))?;
        let tasks = LocalSet::new();
        let connecting = async {
            let late =
                |_| PgError::Away(format!("no connection within {:?}", connection::CONNECTING));
            let connected = timeout(connection::CONNECTING, Session::connect(&server));
            let mut session = connected.await.map_err(late)??;
            if migrate::version(session.client(), migrate::known()).await? < migrate::known() {
                let why = "`serve` or `migrate` has not yet brought it to this version";
                return Err(PgError::Refused(why.to_owned()));
            }
            Ok(session)
        };
        let session = tasks
            .block_on(&runtime, connecting)
            .map_err(|trouble| unusable(trouble.to_string()))?;
        Ok(Self {
            session,
            tasks,
            runtime,
        })
    }

    /// The call that `sid` names, or of which it names a leg.
    pub fn get(&self, sid: &CallSid) -> Result<Option<StoredCall>, StoreError> {
        self.wait_for(
            self.session
                .snapshot(async |session| operator_queries::get(session, sid).await),
        )
    }

    pub fn list(&self, filter: ListFilter) -> Result<Vec<CallSummary>, StoreError> {
        self.wait_for(operator_queries::list(&self.session, filter))
    }

    /// As [`crate::store::Reader::find`].
    pub fn find(
        &self,
        filter: ListFilter,
        wanted: &mut CallPredicate<'_>,
    ) -> Result<Vec<CallSummary>, StoreError> {
        self.wait_for(operator_queries::find(&self.session, filter))?;
        let mut found = Vec::new();
        loop {
            let calls = self.wait_for(operator_queries::some_found(&self.session))?;
            if calls.is_empty() {
                return Ok(found);
            }
            for call in calls {
                if found.len() == filter.limit {
                    return Ok(found);
                }
                if wanted(&call)? {
                    found.push(call);
                }
            }
        }
    }

    pub fn refused_by_cause(&self) -> Result<Vec<RefusedCause>, StoreError> {
        self.wait_for(refused::by_cause(&self.session))
    }

    pub fn refused(&self, filter: &RefusedFilter) -> Result<Vec<StoredRefusedRequest>, StoreError> {
        self.wait_for(refused::latest(&self.session, filter))
    }

    /// As [`crate::store::Reader::verify_conservation`].
    pub fn verify_conservation(&self) -> Result<Vec<String>, StoreError> {
        self.wait_for(async {
            consistency::take_turn(&self.session).await?;
            self.session.snapshot(consistency::conservation).await
        })
    }

    fn wait_for<T>(
        &self,
        answer: impl Future<Output = Result<T, PgError>>,
    ) -> Result<T, StoreError> {
        Ok(self.tasks.block_on(&self.runtime, answer)?)
    }
}
