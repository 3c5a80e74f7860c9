//! One comparison of one account: reads the pages, and decides about each row.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use jiff::tz::TimeZone;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::lease::Lease;
use super::report::{AccountReport, RecordLine};
use super::{Mode, ReconcileError, ReconcileRequest, Reconciler};
use crate::clock::Millis;
use crate::domain::reconcile::{
    Finding, KnownLeg, LegClass, Limits, MissingCause, compare, ended, is_recording_missing,
    our_number, sighting,
};
use crate::store::records::Note;
use crate::twilio::CallSid;
use crate::twilio::listed::{ListedCall, ListedRecording, text};
use crate::twilio_api::TwilioApi;

/// Legs of a class are expected for so long after the last signed callback of one.
const CLASS_MEMORY: Duration = Duration::from_secs(7 * 86_400);

/// The part of the retention that is never compared: a call may be removed while a pass runs.
const RETENTION_MARGIN: Duration = Duration::from_secs(2 * 86_400);

/// Missing calls that are kept in memory; then they are imported, and the pass goes on.
const MAX_CANDIDATES: usize = 5_000;

/// A sighting of a call that ended longer ago is not needed any more.
const SIGHTING_MEMORY: Duration = Duration::from_secs(2 * 3_600);

/// Passes that look back so far also list cancelled calls.
const CANCELED_EVERY: Duration = Duration::from_secs(2 * 86_400);

/// Pages of cancelled calls that are read.
const CANCELED_PAGES: usize = 5;

const DAY: i64 = 86_400_000;

/// A call that the store lacks.
pub(super) struct Candidate {
    pub call: ListedCall,
    pub cause: MissingCause,
    /// The row as JSON.
    pub row: String,
}

/// The state of a pass.
pub(super) struct Pass<'a> {
    pub reconciler: &'a Reconciler,
    pub api: &'a TwilioApi,
    pub lease: &'a Lease,
    pub request: &'a ReconcileRequest,
    pub limits: Limits,
    pub report: AccountReport,
    /// Classes of legs that Twilio reports to the bridge, with the time of the last callback.
    classes: BTreeMap<LegClass, Millis>,
    has_sampled: bool,
    /// What earlier passes saw of calls that were too new.
    sightings: BTreeMap<String, String>,
    refused: HashMap<String, String>,
    candidates: Vec<Candidate>,
    /// Calls that were imported or held in this pass.
    pub handled: HashSet<CallSid>,
    /// `StatusCallback` by phone number; `None`: not asked yet.
    pub numbers: Option<HashMap<String, String>>,
    /// Callback URLs that Twilio's call events name.
    pub callback_urls: HashMap<CallSid, String>,
    pub alerts_fetched: usize,
}

impl<'a> Pass<'a> {
    pub async fn begin(
        reconciler: &'a Reconciler,
        api: &'a TwilioApi,
        lease: &'a Lease,
        request: &'a ReconcileRequest,
        from: Millis,
    ) -> Result<Self, ReconcileError> {
        let (store, account) = (&reconciler.store, api.account());
        let now = reconciler.clock.now();
        let mut report = AccountReport {
            account_sid: account.to_string(),
            ..AccountReport::default()
        };
        let latest = now.minus(reconciler.config.reconcile.delay);
        let latest = request.until.map_or(latest, |until| latest.min(until));
        let earliest = earliest(reconciler, request, from, now, &mut report).await?;
        (report.from, report.until) = (earliest, latest);
        let (classes, sightings) = (format!("classes/{account}"), format!("seen/{account}"));
        Ok(Self {
            classes: table(store.notes(&classes).await?),
            sightings: table(store.notes(&sightings).await?),
            refused: store.refused().await?,
            limits: Limits {
                now,
                earliest,
                latest,
            },
            reconciler,
            api,
            lease,
            request,
            report,
            has_sampled: false,
            candidates: Vec::new(),
            handled: HashSet::new(),
            numbers: None,
            callback_urls: HashMap::new(),
            alerts_fetched: 0,
        })
    }

    /// Reads all pages, and imports what is missing.
    pub async fn run(mut self, progress: &dyn Fn(u64)) -> Result<AccountReport, ReconcileError> {
        if self.request.calls.is_empty() {
            self.compare_lists(progress).await?;
        } else {
            let mut rows = Vec::new();
            for sid in &self.request.calls {
                match self.api.call(sid).await? {
                    Some(row) => rows.push(row),
                    None => self.report.note(format!("Twilio has no call {sid}.")),
                }
            }
            self.compare_rows(rows).await?;
            self.handle_candidates().await?;
        }
        self.compare_recordings().await?;
        self.remember().await?;
        self.report.requests = self.api.requests();
        let (metrics, label) = (&self.reconciler.metrics, self.api.label());
        metrics.reconcile_compared(label, self.report.compared);
        if self.request.mode == Mode::Import {
            let held = self.held_calls().await?;
            metrics.reconciled(label, held, self.reconciler.clock.now());
        }
        Ok(self.report)
    }

    async fn compare_lists(&mut self, progress: &dyn Fn(u64)) -> Result<(), ReconcileError> {
        let (from, until) = (day(self.limits.earliest), day_after(self.limits.latest));
        let mut filters = vec![("EndTime>", from.as_str())];
        // A limit is the first moment of its day, so the last day needs the next one.
        if self.request.until.is_some() {
            filters.push(("EndTime<", until.as_str()));
        }
        let first = Millis(self.limits.earliest.0 - self.limits.earliest.0.rem_euclid(DAY));
        let api = self.api;
        let mut pages = api.calls(&filters);
        while let Some(rows) = pages.next().await? {
            for row in &rows {
                Self::expect_filtered(row, first)?;
            }
            self.compare_rows(rows).await?;
            self.lease.renew(self.reconciler).await?;
            progress(self.report.compared);
            if self.candidates.len() >= MAX_CANDIDATES {
                self.handle_candidates().await?;
            }
        }
        self.compare_canceled().await?;
        self.handle_candidates().await
    }

    /// A call that was cancelled before it was dialled may have no end: those are listed by their status,
    /// where a pass looks back for days.
    async fn compare_canceled(&mut self) -> Result<(), ReconcileError> {
        let back = self.limits.now.since(self.limits.earliest);
        if self.request.until.is_some() || back < CANCELED_EVERY {
            return Ok(());
        }
        let api = self.api;
        let mut pages = api.calls(&[("Status", "canceled")]);
        for _ in 0..CANCELED_PAGES {
            let Some(mut rows) = pages.next().await? else {
                break;
            };
            rows.retain(|row| text(row, "end_time").is_none());
            self.compare_rows(rows).await?;
        }
        Ok(())
    }

    /// A filter that Twilio does not know is ignored, and then every call of the account is listed.
    fn expect_filtered(row: &Value, first: Millis) -> Result<(), ReconcileError> {
        let Ok(call) = ListedCall::read(row) else {
            return Ok(());
        };
        let is_early = ended(&call).is_some_and(|ended| ended < first);
        if is_early && text(row, "end_time").is_some() {
            return Err(ReconcileError::FilterIgnored(call.sid));
        }
        Ok(())
    }

    async fn compare_rows(&mut self, rows: Vec<Value>) -> Result<(), ReconcileError> {
        self.report.compared += rows.len() as u64;
        let read: Vec<(ListedCall, Value)> = rows
            .into_iter()
            .filter_map(|row| match ListedCall::read(&row) {
                Ok(call) => Some((call, row)),
                Err(why) => {
                    self.report.unreadable += 1;
                    self.report.note(format!("A row of Twilio's list {why}."));
                    None
                }
            })
            .filter(|(call, _)| {
                let until = self.request.until;
                until.is_none_or(|until| ended(call).is_none_or(|ended| ended < until))
            })
            .collect();
        let sids: Vec<CallSid> = read.iter().map(|(call, _)| call.sid.clone()).collect();
        let known = self
            .reconciler
            .store
            .legs(self.api.account(), &sids)
            .await?;
        for ((call, row), known) in read.into_iter().zip(known) {
            self.compare_row(call, &row, known);
        }
        Ok(())
    }

    fn compare_row(&mut self, call: ListedCall, row: &Value, mut known: KnownLeg) {
        known.refused = self.refused.get(call.sid.as_str()).cloned();
        let at = ended(&call).unwrap_or_default();
        if known.is_end_reported {
            self.note_reported(LegClass::of_row(&call), at);
        }
        if known.is_recording_reported {
            self.note_reported(LegClass::recording(), at);
        }
        let seen = self.sightings.get(call.sid.as_str()).map(String::as_str);
        match compare(&call, &known, self.limits, seen) {
            Finding::Agrees => self.report.agree += 1,
            Finding::Differs(how) => {
                self.report.differs += 1;
                self.report.add(RecordLine::of(&call, "differs", &how));
            }
            Finding::Running => self.report.running += 1,
            Finding::TooNew => {
                self.report.too_new += 1;
                self.sightings.insert(call.sid.to_string(), sighting(&call));
            }
            Finding::AwaitsDuration => self.report.awaits_duration += 1,
            Finding::Outside => {}
            Finding::Missing(cause) => self.candidates.push(Candidate {
                row: row.to_string(),
                call,
                cause,
            }),
        }
    }

    fn note_reported(&mut self, class: LegClass, at: Millis) {
        let last = self.classes.entry(class).or_default();
        *last = at.max(*last);
    }

    fn is_reported(&self, class: &LegClass) -> bool {
        let since = self.limits.now.minus(CLASS_MEMORY);
        self.classes.get(class).is_some_and(|last| *last >= since)
    }

    /// Learns the classes from the newest calls, if no pass has noted them.
    async fn sample(&mut self) -> Result<(), ReconcileError> {
        if !std::mem::replace(&mut self.has_sampled, true) {
            let since = self.limits.now.minus(CLASS_MEMORY);
            let (store, account) = (&self.reconciler.store, self.api.account());
            for class in store.classes(account, since).await? {
                self.note_reported(class, self.limits.now);
            }
        }
        Ok(())
    }

    /// Sorts out calls that no callback was to report, and imports the others.
    async fn handle_candidates(&mut self) -> Result<(), ReconcileError> {
        let mut candidates = std::mem::take(&mut self.candidates);
        // A row that Twilio added meanwhile may come twice.
        candidates.retain(|of| self.handled.insert(of.call.sid.clone()));
        let is_unknown = |of: &Candidate| !self.is_reported(&LegClass::of_row(&of.call));
        if candidates.iter().any(is_unknown) {
            self.sample().await?;
        }
        let scope = self.reconciler.config.reconcile.scope;
        let is_asked_for = !self.request.calls.is_empty();
        let (expected, others): (Vec<Candidate>, Vec<Candidate>) =
            candidates.into_iter().partition(|of| {
                is_asked_for || scope.has(&of.call, &of.cause, |class| self.is_reported(class))
            });
        for of in others {
            let number = our_number(&of.call).to_owned();
            *self.report.never_told.entry(number).or_default() += 1;
        }
        self.import(expected).await
    }

    /// Finds recordings of stored calls whose callback never came; only where recordings are reported.
    async fn compare_recordings(&mut self) -> Result<(), ReconcileError> {
        let is_asked_for = !self.request.calls.is_empty();
        if !is_asked_for && !self.is_reported(&LegClass::recording()) {
            self.sample().await?;
            if !self.is_reported(&LegClass::recording()) {
                return Ok(());
            }
        }
        let from = day(self.limits.earliest);
        let api = self.api;
        let lists = if is_asked_for {
            let calls = self.request.calls.iter();
            calls
                .map(|sid| api.recordings(&[("CallSid", sid.as_str())]))
                .collect()
        } else {
            vec![api.recordings(&[("DateCreated>", &from)])]
        };
        for mut pages in lists {
            while let Some(rows) = pages.next().await? {
                self.compare_recording_rows(rows).await?;
                self.lease.renew(self.reconciler).await?;
            }
        }
        Ok(())
    }

    async fn compare_recording_rows(&mut self, rows: Vec<Value>) -> Result<(), ReconcileError> {
        self.report.compared += rows.len() as u64;
        let read = rows.into_iter().filter_map(|row| {
            let recording = ListedRecording::read(&row)?;
            let leg = recording.leg.clone()?;
            let is_late = recording
                .ended()
                .is_some_and(|at| Millis(at) > self.limits.latest);
            (!is_late && !self.handled.contains(&leg)).then_some((leg, recording, row))
        });
        let read: Vec<(CallSid, ListedRecording, Value)> = read.collect();
        let sids: Vec<CallSid> = read.iter().map(|(leg, ..)| leg.clone()).collect();
        let known = self
            .reconciler
            .store
            .legs(self.api.account(), &sids)
            .await?;
        for ((leg, recording, row), known) in read.into_iter().zip(known) {
            if known.callbacks > 0 && is_recording_missing(&recording, &known) {
                self.import_recording(&leg, &recording, &row).await?;
            }
        }
        Ok(())
    }

    /// Notes what the next pass must know.
    async fn remember(&mut self) -> Result<(), ReconcileError> {
        let account = self.api.account();
        let since = self.limits.now.minus(CLASS_MEMORY);
        self.classes.retain(|_, last| *last >= since);
        let recent = self.limits.now.minus(SIGHTING_MEMORY);
        self.sightings.retain(|_, seen| {
            let at = seen.rsplit(' ').next().unwrap_or_default().to_owned();
            Millis::try_from(at).is_ok_and(|at| at >= recent)
        });
        let store = &self.reconciler.store;
        let classes = serde_json::to_string(&self.classes).unwrap_or_default();
        store
            .note(format!("classes/{account}"), Some(classes))
            .await?;
        let seen = serde_json::to_string(&self.sightings).unwrap_or_default();
        store.note(format!("seen/{account}"), Some(seen)).await?;
        Ok(())
    }
}

/// Before this time nothing is compared: the request, the store's first day, the retention.
async fn earliest(
    reconciler: &Reconciler,
    request: &ReconcileRequest,
    from: Millis,
    now: Millis,
    report: &mut AccountReport,
) -> Result<Millis, ReconcileError> {
    let settings = &reconciler.config.store;
    let retention = settings.retention.min(settings.parked_retention);
    let kept = now.minus(retention.saturating_sub(RETENTION_MARGIN.min(retention / 2)));
    let mut earliest = from;
    if request.calls.is_empty() {
        let oldest = reconciler.store.oldest_call().await?.unwrap_or(now);
        let floor = Millis(oldest.0 - oldest.0.rem_euclid(DAY));
        if floor > earliest {
            earliest = floor;
            if from.0 > 0 {
                report.note(format!(
                    "Calls before the store's first day, {floor}, are left out."
                ));
            }
        }
    }
    if kept > earliest {
        earliest = kept;
        if from.0 > 0 {
            report.note(format!(
                "Calls before {kept} are left out, because the store removes calls of that age \
                 (store.retention)."
            ));
        }
    }
    Ok(earliest)
}

/// A table that was noted as JSON; empty if there is none.
fn table<K: DeserializeOwned + Ord, T: DeserializeOwned>(notes: Vec<Note>) -> BTreeMap<K, T> {
    let text = notes.into_iter().next().map(|(_, text)| text);
    text.and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_default()
}

/// The UTC day of a time, as Twilio's filters have it, whatever the zone of this machine.
pub(super) fn day(at: Millis) -> String {
    let time = jiff::Timestamp::from_millisecond(at.0).unwrap_or_default();
    time.to_zoned(TimeZone::UTC).date().to_string()
}

fn day_after(at: Millis) -> String {
    day(Millis(at.0.saturating_add(DAY)))
}
