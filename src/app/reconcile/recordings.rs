//! Recordings whose callbacks never came: of stored calls, and of calls that are imported.

use std::collections::{BTreeSet, HashMap};

use serde_json::Value;

use super::Result;
use super::missing::{Missing, Record};
use super::pass::{MAX_MISSING, Pass};
use super::window::{DAY, day, day_after};
use crate::clock::Millis;
use crate::domain::reconcile::{LegClass, MissingCause, is_recording_missing};
use crate::twilio::CallSid;
use crate::twilio::listed::ListedRecording;
use crate::twilio_api::ListPages;

/// Up to so many calls are asked for one by one; of more, the lists of their days are read.
const FEW: usize = 20;

impl<'a> Pass<'a> {
    /// Finds recordings of stored calls whose callback never came; only where recordings are reported.
    pub(super) async fn compare_recordings(&mut self) -> Result<()> {
        let calls = &self.request.calls;
        let store = &self.reconciler.store;
        if calls.is_empty()
            && !self
                .memory
                .sample_for(&LegClass::recording(), store)
                .await?
        {
            return Ok(());
        }
        let lists = if calls.is_empty() {
            vec![self.recordings_from(self.limits.earliest)]
        } else {
            self.recordings_of_each(calls.iter())
        };
        let mut missing = Vec::new();
        for mut pages in lists {
            while let Some(rows) = pages.next().await? {
                self.report.compared += rows.len() as u64;
                self.find_missing(rows, &mut missing).await?;
                self.lease.renew(self.reconciler).await?;
                if missing.len() >= MAX_MISSING {
                    self.import(std::mem::take(&mut missing)).await?;
                }
            }
        }
        self.import(missing).await
    }

    /// The recordings that began on the day of `from` or later, within the window.
    fn recordings_from(&self, from: Millis) -> ListPages<'a> {
        let until = self.limits.until.map(day_after);
        let mut filters = vec![("DateCreated>", day(from))];
        filters.extend(until.map(|until| ("DateCreated<", until)));
        let filters: Vec<(&str, &str)> = filters
            .iter()
            .map(|(name, day)| (*name, day.as_str()))
            .collect();
        self.api.recordings(&filters)
    }

    fn recordings_of_each<'c>(
        &self,
        calls: impl Iterator<Item = &'c CallSid>,
    ) -> Vec<ListPages<'a>> {
        calls
            .map(|sid| self.api.recordings(&[("CallSid", sid.as_str())]))
            .collect()
    }

    async fn find_missing(&self, rows: Vec<Value>, missing: &mut Vec<Missing>) -> Result<()> {
        let mut read: Vec<Missing> = rows.iter().filter_map(missing_recording).collect();
        read.retain(|of| of.ended <= self.limits.latest && !self.handled.contains(&of.leg));
        let legs: Vec<CallSid> = read.iter().map(|of| of.leg.clone()).collect();
        let store = &self.reconciler.store;
        let known = store.legs(self.api.account(), &legs).await?;
        for (of, known) in read.into_iter().zip(known) {
            if let Record::Recording(recording) = &of.record
                && known.callbacks > 0
                && is_recording_missing(recording, &known)
            {
                missing.push(of);
            }
        }
        Ok(())
    }

    /// The recordings of missing calls, by call.
    pub(super) async fn recordings_of(
        &mut self,
        missing: &[Missing],
    ) -> Result<HashMap<CallSid, Vec<Missing>>> {
        let is_call = |of: &&Missing| matches!(of.record, Record::Call(_));
        let wanted: BTreeSet<&CallSid> = missing.iter().filter(is_call).map(|of| &of.leg).collect();
        let first = missing.iter().filter(is_call).map(|of| of.ended).min();
        let lists = match first {
            None => Vec::new(),
            Some(_) if wanted.len() <= FEW => self.recordings_of_each(wanted.iter().copied()),
            // A recording begins before the call ends.
            Some(first) => vec![self.recordings_from(first.minus(DAY))],
        };
        let mut found: HashMap<CallSid, Vec<Missing>> = HashMap::new();
        for mut pages in lists {
            while let Some(rows) = self.permitted(pages.next().await, "recordings")? {
                for of in rows.iter().filter_map(missing_recording) {
                    if wanted.contains(&of.leg) {
                        found.entry(of.leg.clone()).or_default().push(of);
                    }
                }
            }
        }
        Ok(found)
    }
}

/// A row as a recording that may be missing; `None` if its callback is not due.
fn missing_recording(row: &Value) -> Option<Missing> {
    let recording = ListedRecording::read(row)?;
    Some(Missing {
        leg: recording.leg.clone()?,
        ended: Millis(recording.ended().unwrap_or_default()),
        cause: MissingCause::RecordingMissing,
        row: recording.is_final().then(|| row.to_string())?,
        record: Record::Recording(recording),
    })
}
