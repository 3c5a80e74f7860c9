//! Imports missing calls and recordings: with the form of an alert if there is one, else as the row.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use serde_json::Value;

use super::pass::{Candidate, Pass, day};
use super::report::RecordLine;
use super::{Mode, ReconcileError};
use crate::domain::reconcile::{MissingCause, ended, our_number};
use crate::store::{NewCallback, Recorded, SignedRequest};
use crate::twilio::listed::{ListedRecording, RequestSource, text};
use crate::twilio::{CallSid, callback};
use crate::twilio_api::TwilioApiError;

/// Up to so many calls are asked for one by one; of more, the lists of their days are read.
const FEW: usize = 20;

/// The most alerts that a pass fetches: each is one request.
const MAX_ALERTS: usize = 200;

/// An alert may be filed this long before or after its call ended.
const ALERT_MARGIN: Duration = Duration::from_secs(3_600);

impl Pass<'_> {
    /// Imports what is missing and not held.
    pub(super) async fn import(&mut self, missing: Vec<Candidate>) -> Result<(), ReconcileError> {
        let free = self.without_held(missing).await?;
        for of in &free {
            self.count(&of.cause);
        }
        if free.is_empty() {
            return Ok(());
        }
        if self.request.mode == Mode::DryRun {
            for of in &free {
                self.report.add(line(of));
            }
            return Ok(());
        }
        let alerts = self.alerts_of(&free).await?;
        let mut recordings = self.recordings_of(&free).await?;
        for of in free {
            // First, so that the call is not sent without it.
            for (recording, row) in recordings.remove(&of.call.sid).unwrap_or_default() {
                self.import_recording(&of.call.sid, &recording, &row)
                    .await?;
            }
            self.import_call(of, &alerts).await?;
        }
        Ok(())
    }

    fn count(&mut self, cause: &MissingCause) {
        self.report.count_missing(cause);
        let (metrics, label) = (&self.reconciler.metrics, self.api.label());
        metrics.reconcile_missing(label, cause.as_str(), 1);
    }

    async fn import_call(
        &mut self,
        of: Candidate,
        alerts: &HashMap<CallSid, SignedRequest>,
    ) -> Result<(), ReconcileError> {
        let mut line = line(&of);
        let sid = &of.call.sid;
        let request = if let Some(alerted) = alerts.get(sid) {
            alerted.clone()
        } else {
            let url = match self.callback_urls.get(sid) {
                Some(url) => Some(url.clone()),
                None => self.number_callback(our_number(&of.call)).await?,
            };
            SignedRequest {
                url: self.api.url(&format!("Calls/{sid}")),
                headers: RequestSource::Listed.headers(url.as_deref()),
                body: of.row.into(),
            }
        };
        line.imported = self.record(request).await?;
        self.report.add(line);
        Ok(())
    }

    /// Imports a recording of a call that the store has, or that is imported with it.
    pub(super) async fn import_recording(
        &mut self,
        leg: &CallSid,
        recording: &ListedRecording,
        row: &Value,
    ) -> Result<(), ReconcileError> {
        if !recording.is_final() {
            return Ok(());
        }
        let cause = MissingCause::RecordingMissing;
        self.count(&cause);
        let mut line = RecordLine {
            call_sid: leg.to_string(),
            finding: cause.as_str().to_owned(),
            detail: recording.sid.to_string(),
            call_status: recording.status.to_string(),
            ended: None,
            imported: None,
        };
        if self.request.mode == Mode::Import {
            let request = SignedRequest {
                url: self.api.url(&format!("Recordings/{}", recording.sid)),
                headers: RequestSource::Listed.headers(None),
                body: row.to_string().into(),
            };
            line.imported = self.record(request).await?;
        }
        self.report.add(line);
        Ok(())
    }

    /// Stores a record as the callback that it replaces; returns its evidence.
    async fn record(&mut self, request: SignedRequest) -> Result<Option<String>, ReconcileError> {
        let Some(store) = self.reconciler.store.writable() else {
            return Ok(None);
        };
        let callback = match request.read() {
            Ok(callback) => callback,
            Err(why) => {
                self.report
                    .note(format!("A record of Twilio cannot be imported: {why}."));
                return Ok(None);
            }
        };
        let evidence = request.source().as_str();
        let callback = NewCallback::of(callback, request);
        let recorded = store.record(callback, self.reconciler.clock.now()).await?;
        self.report.count_import(evidence);
        // Its callback may have come since the page was read.
        if recorded == Recorded::New {
            let (metrics, label) = (&self.reconciler.metrics, self.api.label());
            metrics.reconcile_taken_in(label, evidence, 1);
        }
        Ok(Some(evidence.to_owned()))
    }

    /// The `StatusCallback` of our number, as it is today.
    async fn number_callback(&mut self, number: &str) -> Result<Option<String>, ReconcileError> {
        if self.numbers.is_none() {
            let listed = self.api.numbers().all().await;
            let rows = self.permitted(listed, "the StatusCallback of phone numbers")?;
            let numbers = rows.iter().filter_map(|row| {
                Some((text(row, "phone_number")?, text(row, "status_callback")?))
            });
            self.numbers = Some(numbers.collect());
        }
        let url = self
            .numbers
            .as_ref()
            .and_then(|numbers| numbers.get(number));
        Ok(url.filter(|url| self.is_ours(url)).cloned())
    }

    /// The answer, or none of it and a note if Twilio refuses the request: a key may lack a permission,
    /// and of alerts Twilio lists no more than 10,000 and 30 days. Calls are imported without them.
    fn permitted<T: Default>(
        &mut self,
        answer: Result<T, TwilioApiError>,
        what: &str,
    ) -> Result<T, ReconcileError> {
        match answer {
            Err(why @ (TwilioApiError::KeyRefused { .. } | TwilioApiError::Refused { .. })) => {
                self.report.note(format!("Without {what}: {why}."));
                Ok(T::default())
            }
            other => Ok(other?),
        }
    }

    /// The recordings of these calls.
    async fn recordings_of(
        &mut self,
        calls: &[Candidate],
    ) -> Result<HashMap<CallSid, Vec<(ListedRecording, Value)>>, ReconcileError> {
        let api = self.api;
        let first = calls.iter().filter_map(|of| ended(&of.call)).min();
        // A recording begins before the call ends.
        let from = day(first.unwrap_or_default().minus(Duration::from_secs(86_400)));
        let lists = if calls.len() <= FEW {
            let sids = calls.iter().map(|of| of.call.sid.as_str());
            sids.map(|sid| api.recordings(&[("CallSid", sid)]))
                .collect()
        } else {
            vec![api.recordings(&[("DateCreated>", &from)])]
        };
        let mut found: HashMap<CallSid, Vec<_>> = HashMap::new();
        let wanted: HashSet<&CallSid> = calls.iter().map(|of| &of.call.sid).collect();
        for mut pages in lists {
            while let Some(rows) = self.permitted(pages.next().await, "recordings")? {
                for row in rows {
                    if let Some(recording) = ListedRecording::read(&row)
                        && let Some(leg) = recording.leg.clone()
                        && wanted.contains(&leg)
                    {
                        found.entry(leg).or_default().push((recording, row));
                    }
                }
            }
        }
        Ok(found)
    }

    /// The forms of the callbacks of these calls that failed, from Twilio's alerts.
    async fn alerts_of(
        &mut self,
        calls: &[Candidate],
    ) -> Result<HashMap<CallSid, SignedRequest>, ReconcileError> {
        let times = || calls.iter().filter_map(|of| ended(&of.call));
        let (Some(first), Some(last)) = (times().min(), times().max()) else {
            return Ok(HashMap::new());
        };
        // Of a long gap the list is enough: each alert is one request.
        if calls.len() > MAX_ALERTS {
            return Ok(HashMap::new());
        }
        let (from, until) = (first.minus(ALERT_MARGIN), last.plus(ALERT_MARGIN));
        let what = "the forms in Twilio's alerts";
        let listed = self.api.alerts(from, until).all().await;
        let keys: HashMap<&str, &Candidate> =
            calls.iter().map(|of| (of.call.sid.as_str(), of)).collect();
        let mut found = HashMap::new();
        for row in self.permitted(listed, what)? {
            let of = text(&row, "resource_sid").and_then(|sid| keys.get(sid.as_str()).copied());
            let url = text(&row, "request_url").filter(|url| self.is_ours(url));
            let (Some(of), Some(url), Some(sid)) = (of, url, text(&row, "sid")) else {
                continue;
            };
            if self.alerts_fetched == MAX_ALERTS {
                break;
            }
            self.alerts_fetched += 1;
            let alert = self.permitted(self.api.alert(&sid).await, what)?;
            let form = alert.and_then(|alert| text(&alert, "request_variables"));
            let Some(form) = form.filter(|form| is_end_of(form, &url, of)) else {
                continue;
            };
            let request = SignedRequest {
                url,
                headers: RequestSource::Alerted.headers(None),
                body: form.into(),
            };
            found.insert(of.call.sid.clone(), request);
        }
        Ok(found)
    }
}

/// Whether the form of an alert is the callback that the row replaces.
fn is_end_of(form: &str, url: &str, of: &Candidate) -> bool {
    let key = format!("{}/status/{}", of.call.sid, of.call.status);
    callback::read(form.as_bytes(), url).is_ok_and(|read| read.key().as_str() == key)
}

fn line(of: &Candidate) -> RecordLine {
    let detail = match &of.cause {
        MissingCause::RefusedHere(why) => why.as_str(),
        _ => "",
    };
    RecordLine::of(&of.call, of.cause.as_str(), detail)
}
