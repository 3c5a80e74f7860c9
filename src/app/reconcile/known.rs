//! The store as a comparison reads it: on a thread and a connection of its own, so that neither callbacks
//! nor pages of operators wait for it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use tokio::sync::oneshot;

use crate::clock::Millis;
use crate::config::StoreUrl;
use crate::domain::call_filter::CallFilter;
use crate::domain::reconcile::{KnownLeg, LegClass};
use crate::store::records::Note;
use crate::store::{
    self, CallQuery, CallSummary, Detail, ListFilter, ReadStore, RefusedFilter, State, Store,
    StoreError,
};
use crate::twilio::listed::RequestSource;
use crate::twilio::signature::fields;
use crate::twilio::{AccountSid, CallSid};

/// Legs, or whole calls, that one query reads.
const READ_AT_ONCE: usize = 200;

/// Newest calls that show which classes of legs are reported, if no pass has noted it, or which calls have
/// not ended.
const SAMPLE: usize = 2_000;

/// The most refused requests that are read; the store keeps fewer.
const MAX_REFUSED: usize = 10_000;

type Query = Box<dyn FnOnce(&dyn ReadStore) + Send>;

/// Reads a store, which a bridge may own; writes it if this process owns it.
pub struct KnownStore {
    queries: Sender<Query>,
    store: Option<Arc<dyn Store>>,
}

impl KnownStore {
    /// Opens the store for reading; `store` is the one to write to, if it may be written.
    pub async fn open(url: &StoreUrl, store: Option<Arc<dyn Store>>) -> Result<Self, StoreError> {
        let (queries, received) = channel::<Query>();
        let (opened, is_open) = oneshot::channel();
        let url = url.clone();
        thread::spawn(move || {
            let reader = match store::open_to_read(&url) {
                Ok(reader) => reader,
                Err(why) => return drop(opened.send(Err(why.to_string()))),
            };
            // Fails only if the caller was cancelled.
            let _ = opened.send(Ok(()));
            for query in received {
                query(&*reader);
            }
        });
        let opened = is_open.await.unwrap_or(Err("no thread for it".to_owned()));
        opened.map_err(StoreError::Unavailable)?;
        Ok(Self { queries, store })
    }

    async fn ask<T: Send + 'static>(
        &self,
        query: impl FnOnce(&dyn ReadStore) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let query: Query = Box::new(move |reader| {
            // Fails only if the caller was cancelled.
            let _ = answer.send(query(reader));
        });
        self.queries.send(query).map_err(|_| StoreError::Closed)?;
        answered.await.unwrap_or(Err(StoreError::Closed))
    }

    /// The store to write to; `None` if it is only read.
    pub fn writable(&self) -> Option<&Arc<dyn Store>> {
        self.store.as_ref()
    }

    pub fn spooled(&self) -> u64 {
        let store = self.store.as_ref();
        store.and_then(|store| store.spooled()).unwrap_or(0)
    }

    /// What the store has of these legs, in their order.
    pub async fn legs(
        &self,
        account: &AccountSid,
        sids: &[CallSid],
    ) -> Result<Vec<KnownLeg>, StoreError> {
        let mut legs = Vec::with_capacity(sids.len());
        for sids in sids.chunks(READ_AT_ONCE) {
            let (account, sids) = (account.clone(), sids.to_vec());
            let stored = self.ask(move |reader| reader.legs(&account, &sids)).await?;
            for stored in stored {
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
        self.ask(|reader| reader.oldest_call()).await
    }

    pub async fn notes(&self, prefix: &str) -> Result<Vec<Note>, StoreError> {
        let prefix = prefix.to_owned();
        self.ask(move |reader| reader.notes(&prefix)).await
    }

    /// The text of one note.
    pub async fn noted(&self, key: &str) -> Result<Option<String>, StoreError> {
        let notes = self.notes(key).await?.into_iter();
        Ok(notes.map(|(_, text)| text).next())
    }

    /// Writes a note, if the store can be written.
    pub async fn note(&self, key: String, text: Option<String>) -> Result<(), StoreError> {
        match &self.store {
            Some(store) => store.write_notes(vec![(key, text)]).await,
            None => Ok(()),
        }
    }

    async fn newest(&self, state: Option<State>) -> Result<Vec<CallSummary>, StoreError> {
        let limit = SAMPLE;
        self.ask(move |reader| reader.list(ListFilter { state, limit }))
            .await
    }

    /// The accounts of the newest calls.
    pub async fn accounts(&self) -> Result<Vec<AccountSid>, StoreError> {
        let newest = self.newest(None).await?.into_iter();
        let accounts: BTreeSet<AccountSid> = newest.map(|call| call.account).collect();
        Ok(accounts.into_iter().collect())
    }

    /// Calls whose end has not come, and whose last callback came before `until`: at most `limit`.
    pub async fn open_calls(
        &self,
        account: &AccountSid,
        until: Millis,
        limit: usize,
    ) -> Result<Vec<CallSid>, StoreError> {
        let skipped = self.newest(Some(State::Skipped)).await?.into_iter();
        let sids: Vec<CallSid> = skipped
            .filter(|call| call.account == *account && call.changed < until)
            .map(|call| call.sid)
            .collect();
        let known = self.legs(account, &sids).await?;
        let is_open = |leg: &KnownLeg| leg.callbacks > 0 && leg.ends.is_empty();
        let open = sids.into_iter().zip(known).filter(|(_, leg)| is_open(leg));
        Ok(open.map(|(sid, _)| sid).take(limit).collect())
    }

    /// The classes of which a signed callback came since `since`, among the newest calls.
    pub async fn classes(
        &self,
        account: &AccountSid,
        since: Millis,
    ) -> Result<Vec<LegClass>, StoreError> {
        let filter = CallFilter {
            account: Some(account.clone()),
            ..CallFilter::default()
        };
        let mut query = CallQuery {
            detail: Detail::Whole,
            ..CallQuery::of(filter, READ_AT_ONCE)
        };
        let mut classes = Vec::new();
        for _ in 0..SAMPLE / READ_AT_ONCE {
            let next = query.clone();
            let page = self.ask(move |reader| reader.search(&next)).await?;
            for stored in page.calls.into_iter().flat_map(|call| call.callbacks) {
                let is_signed = stored.request.source() == RequestSource::Signed;
                if is_signed
                    && stored.received >= since
                    && let Ok(callback) = stored.request.read()
                {
                    classes.extend(LegClass::of_callback(&callback));
                }
            }
            query.from = page.end;
            if page.end.is_none() {
                break;
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
        let refused = self.ask(move |reader| reader.refused(&filter)).await?;
        let by_sid = refused.into_iter().filter_map(|stored| {
            let fields = fields(&stored.request.body);
            Some((fields.value("CallSid")?.to_owned(), stored.request.cause))
        });
        Ok(by_sid.collect())
    }
}
