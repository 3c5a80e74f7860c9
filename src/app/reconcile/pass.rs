//! One comparison of one account over one window: reads Twilio's lists, and decides about each row.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use serde_json::Value;

use super::lease::Lease;
use super::memory::Memory;
use super::missing::{Missing, Record};
use super::report::{AccountReport, RecordLine};
use super::window::{DAY, Window, day, day_after, floor};
use super::{Mode, ReconcileError, ReconcileRequest, Reconciler, Result};
use crate::clock::Millis;
use crate::domain::reconcile::{Finding, KnownLeg, LegClass, Limits, compare, ended, our_number};
use crate::twilio::CallSid;
use crate::twilio::listed::{ListedCall, text};
use crate::twilio_api::TwilioApi;

/// Missing records that are kept in memory; then they are imported, and the pass goes on.
pub(super) const MAX_MISSING: usize = 5_000;

/// Lists that need not be read often are read by passes over midnight (UTC), and look so far back.
const DAILY_BACK: Duration = DAY.saturating_mul(2);

/// Pages of cancelled calls that are read.
const CANCELED_PAGES: usize = 5;

/// Calls without an end that are asked for one by one, once they are so old.
const MAX_OPEN: usize = 100;
const OPEN_AGE: Duration = Duration::from_secs(3_600);

/// The state of a pass.
pub(super) struct Pass<'a> {
    pub reconciler: &'a Reconciler,
    pub api: &'a TwilioApi,
    pub lease: &'a Lease,
    pub request: &'a ReconcileRequest,
    pub limits: Limits,
    pub report: AccountReport,
    pub memory: Memory,
    /// Nothing before it is compared.
    floor: Millis,
    refused: HashMap<String, String>,
    missing: Vec<Missing>,
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
        window: Window,
    ) -> Result<Self> {
        let (store, account) = (&reconciler.store, api.account());
        let now = reconciler.clock.now();
        let mut report = AccountReport {
            account_sid: account.to_string(),
            ..AccountReport::default()
        };
        let floor = floor(reconciler, request, window.from, &mut report).await?;
        let limits = Limits {
            now,
            earliest: window.from.max(floor),
            latest: now.minus(reconciler.config.reconcile.delay),
            until: window.until,
        };
        report.from = limits.earliest;
        report.until = window
            .until
            .map_or(limits.latest, |until| until.min(limits.latest));
        Ok(Self {
            memory: Memory::read(store, account, now).await?,
            refused: store.refused().await?,
            reconciler,
            api,
            lease,
            request,
            limits,
            report,
            floor,
            missing: Vec::new(),
            handled: HashSet::new(),
            numbers: None,
            callback_urls: HashMap::new(),
            alerts_fetched: 0,
        })
    }

    /// Reads all pages, and imports what is missing.
    pub async fn run(mut self, progress: &dyn Fn(u64)) -> Result<AccountReport> {
        let before = self.api.requests();
        if !self.request.calls.is_empty() {
            self.compare_calls(&self.request.calls).await?;
            self.compare_recordings().await?;
        } else if self
            .limits
            .until
            .is_none_or(|until| self.limits.earliest < until)
        {
            self.compare_lists(progress).await?;
            self.compare_recordings().await?;
        }
        self.report.requests = self.api.requests() - before;
        let (metrics, label) = (&self.reconciler.metrics, self.api.label());
        metrics
            .reconcile_compared(label)
            .inc_by(self.report.compared);
        if self.request.mode == Mode::Import {
            let held = self.held_calls().await?;
            metrics.reconciled(label, held, self.reconciler.clock.now());
        }
        self.memory.write(&self.reconciler.store).await?;
        Ok(self.report)
    }

    async fn compare_lists(&mut self, progress: &dyn Fn(u64)) -> Result<()> {
        // Twilio may observe the day of a time only: then it lists more, and each row's own end decides.
        let from = self.limits.earliest.to_string();
        let until = self.limits.until.map(day_after);
        let mut filters = vec![("EndTime>", from.as_str())];
        filters.extend(until.as_deref().map(|until| ("EndTime<", until)));
        let first = self.limits.earliest.start_of_day();
        let api = self.api;
        let mut pages = api.calls(&filters);
        while let Some(rows) = pages.next().await? {
            for row in &rows {
                Self::expect_filtered(row, first)?;
            }
            self.compare_rows(rows).await?;
            self.lease.renew(self.reconciler).await?;
            progress(self.report.compared);
            if self.missing.len() >= MAX_MISSING {
                self.handle_missing().await?;
            }
        }
        let is_over_midnight = day(self.limits.earliest) != day(self.limits.latest);
        if is_over_midnight && self.request.until.is_none() {
            self.compare_without_end().await?;
        }
        self.handle_missing().await
    }

    /// Compares calls that a list by the end may lack, because Twilio gives them no end: those that were
    /// cancelled before they were dialled, and those of which the store has no end.
    async fn compare_without_end(&mut self) -> Result<()> {
        let now = self.limits.now;
        let limits = Limits {
            earliest: self
                .limits
                .earliest
                .min(now.minus(DAILY_BACK))
                .max(self.floor),
            until: None,
            ..self.limits
        };
        let of_window = std::mem::replace(&mut self.limits, limits);
        let api = self.api;
        let mut pages = api.calls(&[("Status", "canceled")]);
        for _ in 0..CANCELED_PAGES {
            let Some(mut rows) = pages.next().await? else {
                break;
            };
            rows.retain(|row| text(row, "end_time").is_none());
            self.compare_rows(rows).await?;
        }
        let store = &self.reconciler.store;
        let open = store.open_calls(api.account(), now.minus(OPEN_AGE), MAX_OPEN);
        self.compare_calls(&open.await?).await?;
        self.limits = of_window;
        Ok(())
    }

    /// Compares calls that are asked for one by one.
    async fn compare_calls(&mut self, calls: &[CallSid]) -> Result<()> {
        let mut rows = Vec::new();
        for sid in calls {
            match self.api.call(sid).await? {
                Some(row) => rows.push(row),
                None if self.request.calls.is_empty() => {}
                None => self.report.note(format!("Twilio has no call {sid}.")),
            }
        }
        self.compare_rows(rows).await?;
        self.handle_missing().await
    }

    /// A filter that Twilio does not know is ignored, and then every call of the account is listed.
    fn expect_filtered(row: &Value, first: Millis) -> Result<()> {
        let Ok(call) = ListedCall::read(row) else {
            return Ok(());
        };
        let is_early = ended(&call).is_some_and(|ended| ended < first);
        if is_early && text(row, "end_time").is_some() {
            return Err(ReconcileError::FilterIgnored(call.sid));
        }
        Ok(())
    }

    async fn compare_rows(&mut self, rows: Vec<Value>) -> Result<()> {
        self.report.compared += rows.len() as u64;
        let mut read: Vec<(ListedCall, Value)> = Vec::with_capacity(rows.len());
        for row in rows {
            match ListedCall::read(&row) {
                Ok(call) => read.push((call, row)),
                Err(why) => {
                    self.report.unreadable += 1;
                    self.report.note(format!("A row of Twilio's list {why}."));
                }
            }
        }
        let sids: Vec<CallSid> = read.iter().map(|(call, _)| call.sid.clone()).collect();
        let store = &self.reconciler.store;
        let known = store.legs(self.api.account(), &sids).await?;
        for ((call, row), known) in read.into_iter().zip(known) {
            self.compare_row(call, &row, known);
        }
        Ok(())
    }

    fn compare_row(&mut self, call: ListedCall, row: &Value, mut known: KnownLeg) {
        known.refused = self.refused.get(call.sid.as_str()).cloned();
        let ended = ended(&call).unwrap_or_default();
        self.memory.learn(&call, &known, ended);
        match compare(&call, &known, self.limits, self.memory.seen(&call)) {
            Finding::Agrees => self.report.agree += 1,
            Finding::Differs(how) => {
                self.report.differs += 1;
                self.report.add(RecordLine::of(&call, "differs", &how));
            }
            Finding::Running => self.report.running += 1,
            Finding::TooNew => {
                self.report.too_new += 1;
                self.memory.note_seen(&call);
            }
            Finding::AwaitsDuration => self.report.awaits_duration += 1,
            // A row that Twilio added meanwhile may come twice.
            Finding::Missing(cause) if self.handled.insert(call.sid.clone()) => {
                self.missing.push(Missing {
                    leg: call.sid.clone(),
                    ended,
                    cause,
                    record: Record::Call(call),
                    row: row.to_string(),
                });
            }
            Finding::Missing(_) | Finding::Outside => {}
        }
    }

    /// Imports missing calls, except those that no callback was to report.
    async fn handle_missing(&mut self) -> Result<()> {
        let scope = self.reconciler.config.reconcile.scope;
        let is_asked_for = !self.request.calls.is_empty();
        let mut expected = Vec::new();
        for of in std::mem::take(&mut self.missing) {
            if let Record::Call(call) = &of.record {
                let class = LegClass::of_row(call);
                let store = &self.reconciler.store;
                let is_reported = self.memory.sample_for(&class, store).await?;
                if !is_asked_for && !scope.has(call, &of.cause, |_| is_reported) {
                    let number = our_number(call).to_owned();
                    *self.report.never_told.entry(number).or_default() += 1;
                    continue;
                }
            }
            expected.push(of);
        }
        self.import(expected).await
    }
}
