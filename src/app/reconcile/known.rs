//! The store as a comparison reads it: that of a running process, or one that another bridge owns.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use tokio::sync::oneshot;

use crate::clock::Millis;
use crate::config::StoreUrl;
use crate::domain::reconcile::{KnownLeg, LegClass};
use crate::store::records::Note;
use crate::store::{
    self, ListFilter, ReadStore, RefusedFilter, Store, StoreError, StoredCall, StoredLeg,
};
use crate::twilio::listed::RequestSource;
use crate::twilio::signature::fields;
use crate::twilio::{AccountSid, CallSid};

/// Legs that one query asks for: so few that no page of an operator waits noticeably.
const LEGS_AT_ONCE: usize = 200;

/// Newest calls that show which classes of legs are reported, if no pass has noted it.
const SAMPLE: usize = 2_000;

/// The most refused requests that are read; the store keeps fewer.
const MAX_REFUSED: usize = 10_000;

type Query = Box<dyn FnOnce(&dyn ReadStore) + Send>;

/// Where stored records are read.
pub enum KnownStore {
    /// It can be written, too.
    Live(Arc<dyn Store>),
    /// A bridge may own it; a thread reads it.
    Reader(Sender<Query>),
}

impl KnownStore {
    /// Opens a store for reading on a thread of its own.
    pub fn read(url: StoreUrl) -> Result<Self, StoreError> {
        let (queries, received) = channel::<Query>();
        let (opened, is_open) = channel();
        thread::spawn(move || {
            let reader = match store::open_to_read(&url) {
                Ok(reader) => reader,
                Err(why) => return drop(opened.send(Err(why.to_string()))),
            };
            // Fails only if the caller is gone.
            let _ = opened.send(Ok(()));
            for query in received {
                query(&*reader);
            }
        });
        let opened = is_open.recv().map_err(|_| StoreError::Closed)?;
        opened.map_err(StoreError::Unavailable)?;
        Ok(Self::Reader(queries))
    }

    async fn ask<T: Send + 'static>(
        queries: &Sender<Query>,
        query: impl FnOnce(&dyn ReadStore) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let query: Query = Box::new(move |reader| {
            // Fails only if the caller was cancelled.
            let _ = answer.send(query(reader));
        });
        queries.send(query).map_err(|_| StoreError::Closed)?;
        answered.await.unwrap_or(Err(StoreError::Closed))
    }

    /// The store to write to; `None` if it is only read.
    #[must_use]
    pub fn writable(&self) -> Option<&Arc<dyn Store>> {
        match self {
            Self::Live(store) => Some(store),
            Self::Reader(_) => None,
        }
    }

    #[must_use]
    pub fn spooled(&self) -> u64 {
        self.writable()
            .and_then(|store| store.spooled())
            .unwrap_or(0)
    }

    async fn stored_legs(
        &self,
        account: AccountSid,
        sids: Vec<CallSid>,
    ) -> Result<Vec<StoredLeg>, StoreError> {
        match self {
            Self::Live(store) => store.legs(account, sids).await,
            Self::Reader(queries) => {
                Self::ask(queries, move |reader| reader.legs(&account, &sids)).await
            }
        }
    }

    /// What the store has of these legs, in their order.
    pub async fn legs(
        &self,
        account: &AccountSid,
        sids: &[CallSid],
    ) -> Result<Vec<KnownLeg>, StoreError> {
        let mut legs = Vec::with_capacity(sids.len());
        for sids in sids.chunks(LEGS_AT_ONCE) {
            for stored in self.stored_legs(account.clone(), sids.to_vec()).await? {
                let mut leg = KnownLeg {
                    is_removed: stored.is_removed,
                    ..KnownLeg::default()
                };
                for callback in stored.callbacks {
                    // One that cannot be read parks its call, which an operator sees.
                    if let Ok(read) = callback.request.read() {
                        leg.add(read, callback.request.source());
                    }
                }
                legs.push(leg);
            }
        }
        Ok(legs)
    }

    pub async fn oldest_call(&self) -> Result<Option<Millis>, StoreError> {
        match self {
            Self::Live(store) => store.oldest_call().await,
            Self::Reader(queries) => Self::ask(queries, |reader| reader.oldest_call()).await,
        }
    }

    pub async fn notes(&self, prefix: &str) -> Result<Vec<Note>, StoreError> {
        let prefix = prefix.to_owned();
        match self {
            Self::Live(store) => store.notes(prefix).await,
            Self::Reader(queries) => Self::ask(queries, move |reader| reader.notes(&prefix)).await,
        }
    }

    /// Writes a note, if the store can be written.
    pub async fn note(&self, key: String, text: Option<String>) -> Result<(), StoreError> {
        match self {
            Self::Live(store) => store.write_notes(vec![(key, text)]).await,
            Self::Reader(_) => Ok(()),
        }
    }

    async fn call(&self, sid: CallSid) -> Result<Option<StoredCall>, StoreError> {
        match self {
            Self::Live(store) => store.get(&sid).await,
            Self::Reader(queries) => Self::ask(queries, move |reader| reader.get(&sid)).await,
        }
    }

    async fn newest(&self) -> Result<Vec<store::CallSummary>, StoreError> {
        let filter = ListFilter {
            state: None,
            limit: SAMPLE,
        };
        match self {
            Self::Live(store) => store.list(filter).await,
            Self::Reader(queries) => Self::ask(queries, move |reader| reader.list(filter)).await,
        }
    }

    /// The accounts of the newest calls.
    pub async fn accounts(&self) -> Result<Vec<AccountSid>, StoreError> {
        let newest = self.newest().await?.into_iter();
        let accounts: BTreeSet<AccountSid> = newest.map(|call| call.account).collect();
        Ok(accounts.into_iter().collect())
    }

    /// The classes of which a signed callback came since `since`, among the newest calls.
    pub async fn classes(
        &self,
        account: &AccountSid,
        since: Millis,
    ) -> Result<Vec<LegClass>, StoreError> {
        let mut classes = Vec::new();
        for summary in self.newest().await? {
            if summary.account != *account || summary.changed < since {
                continue;
            }
            let call = self.call(summary.sid).await?;
            for stored in call.into_iter().flat_map(|call| call.callbacks) {
                let is_signed = stored.request.source() == RequestSource::Signed;
                if is_signed
                    && stored.received >= since
                    && let Ok(callback) = stored.request.read()
                {
                    classes.extend(LegClass::of_callback(&callback));
                }
            }
        }
        Ok(classes)
    }

    /// Why callbacks were refused, by the SID that they name.
    pub async fn refused(&self) -> Result<HashMap<String, String>, StoreError> {
        let filter = RefusedFilter {
            id: None,
            cause: None,
            limit: MAX_REFUSED,
        };
        let refused = match self {
            Self::Live(store) => store.refused(filter).await?,
            Self::Reader(queries) => {
                Self::ask(queries, move |reader| reader.refused(&filter)).await?
            }
        };
        let by_sid = refused.into_iter().filter_map(|stored| {
            let mut fields = fields(&stored.request.body).into_iter();
            let (_, sid) = fields.find(|(name, _)| name == "CallSid")?;
            Some((sid, stored.request.cause))
        });
        Ok(by_sid.collect())
    }
}
