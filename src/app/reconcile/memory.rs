//! What passes note for the next one: which classes of legs Twilio reports, and what they saw of calls
//! that were too new.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::{KnownStore, Result};
use crate::clock::Millis;
use crate::domain::reconcile::{KnownLeg, LegClass, sighting};
use crate::twilio::AccountSid;
use crate::twilio::listed::ListedCall;

/// Legs of a class are expected for so long after the last signed callback of one.
const CLASS_MEMORY: Duration = Duration::from_secs(7 * 86_400);

/// A sighting of a call that ended longer ago is not needed any more.
const SIGHTING_MEMORY: Duration = Duration::from_secs(2 * 3_600);

/// The notes of one account.
pub(super) struct Memory {
    account: AccountSid,
    now: Millis,
    /// With the time of the last callback.
    classes: BTreeMap<LegClass, Millis>,
    has_sampled: bool,
    /// By `CallSid`.
    sightings: BTreeMap<String, String>,
}

impl Memory {
    pub async fn read(store: &KnownStore, account: &AccountSid, now: Millis) -> Result<Self> {
        Ok(Self {
            classes: table(store.noted(&format!("classes/{account}")).await?),
            sightings: table(store.noted(&format!("seen/{account}")).await?),
            account: account.clone(),
            now,
            has_sampled: false,
        })
    }

    /// Notes the classes of a leg that was reported, whose call ended at `at`.
    pub fn learn(&mut self, call: &ListedCall, known: &KnownLeg, at: Millis) {
        let leg = known.is_end_reported.then(|| LegClass::of_row(call));
        let recording = known.is_recording_reported.then(LegClass::recording);
        for class in leg.into_iter().chain(recording) {
            let last = self.classes.entry(class).or_default();
            *last = at.max(*last);
        }
    }

    pub fn is_reported(&self, class: &LegClass) -> bool {
        let since = self.now.minus(CLASS_MEMORY);
        self.classes.get(class).is_some_and(|last| *last >= since)
    }

    /// Learns the classes from the newest calls, unless it knows this one, or has done so.
    pub async fn sample_for(&mut self, class: &LegClass, store: &KnownStore) -> Result<bool> {
        if !self.is_reported(class) && !std::mem::replace(&mut self.has_sampled, true) {
            let since = self.now.minus(CLASS_MEMORY);
            for class in store.classes(&self.account, since).await? {
                self.classes.insert(class, self.now);
            }
        }
        Ok(self.is_reported(class))
    }

    pub fn seen(&self, call: &ListedCall) -> Option<&str> {
        self.sightings.get(call.sid.as_str()).map(String::as_str)
    }

    pub fn note_seen(&mut self, call: &ListedCall) {
        self.sightings.insert(call.sid.to_string(), sighting(call));
    }

    pub async fn write(mut self, store: &KnownStore) -> Result<()> {
        let since = self.now.minus(CLASS_MEMORY);
        self.classes.retain(|_, last| *last >= since);
        let recent = self.now.minus(SIGHTING_MEMORY);
        self.sightings.retain(|_, seen| {
            let at = seen.rsplit(' ').next().unwrap_or_default().to_owned();
            Millis::try_from(at).is_ok_and(|at| at >= recent)
        });
        let classes = serde_json::to_string(&self.classes).unwrap_or_default();
        let sightings = serde_json::to_string(&self.sightings).unwrap_or_default();
        for (name, text) in [("classes", classes), ("seen", sightings)] {
            let key = format!("{name}/{}", self.account);
            store.note(key, Some(text)).await?;
        }
        Ok(())
    }
}

/// A table that was noted as JSON; empty if there is none.
fn table<K: DeserializeOwned + Ord, T: DeserializeOwned>(text: Option<String>) -> BTreeMap<K, T> {
    text.and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_default()
}
