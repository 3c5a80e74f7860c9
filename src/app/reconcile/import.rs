//! Imports missing calls and recordings: with the form of an alert if there is one, else as the row.

use std::collections::HashMap;
use std::time::Duration;

use super::missing::{Missing, Record};
use super::pass::Pass;
use super::report::RecordLine;
use super::{Mode, Result};
use crate::domain::reconcile::our_number;
use crate::store::{NewCallback, Recorded, SignedRequest};
use crate::twilio::CallSid;
use crate::twilio::callback::{self, CallbackKind};
use crate::twilio::listed::{ListedCall, RequestSource, text};
use crate::twilio_api::TwilioApiError;

/// The most alerts that a pass fetches: each is one request.
const MAX_ALERTS: usize = 200;

/// An alert may be filed this long before or after its call ended.
const ALERT_MARGIN: Duration = Duration::from_secs(3_600);

impl Pass<'_> {
    /// Imports what is missing and not held.
    pub(super) async fn import(&mut self, missing: Vec<Missing>) -> Result<()> {
        let free = self.without_held(missing).await?;
        if free.is_empty() {
            return Ok(());
        }
        let alerts = self.alerts_of(&free).await?;
        let mut recordings = self.recordings_of(&free).await?;
        for of in free {
            // First, so that the call is not sent without it.
            for recording in recordings.remove(&of.leg).unwrap_or_default() {
                self.import_one(recording, &alerts).await?;
            }
            self.import_one(of, &alerts).await?;
        }
        Ok(())
    }

    async fn import_one(
        &mut self,
        of: Missing,
        alerts: &HashMap<CallSid, SignedRequest>,
    ) -> Result<()> {
        self.report.count_missing(&of.cause);
        let mut line = RecordLine::of_missing(&of);
        if self.request.mode == Mode::Import {
            let (metrics, label) = (&self.reconciler.metrics, self.api.label());
            metrics.reconcile_missing(label, of.cause.as_str()).inc();
            let request = self.request_of(of, alerts).await?;
            line.imported = self.record(request).await?;
        }
        self.report.add(line);
        Ok(())
    }

    /// What is stored in place of the callback.
    async fn request_of(
        &mut self,
        of: Missing,
        alerts: &HashMap<CallSid, SignedRequest>,
    ) -> Result<SignedRequest> {
        let (resource, callback_url) = match &of.record {
            Record::Recording(recording) => (format!("Recordings/{}", recording.sid), None),
            Record::Call(call) => {
                if let Some(alerted) = alerts.get(&of.leg) {
                    return Ok(alerted.clone());
                }
                let url = match self.callback_urls.get(&of.leg) {
                    Some(url) => Some(url.clone()),
                    None => self.number_callback(our_number(call)).await?,
                };
                (format!("Calls/{}", of.leg), url)
            }
        };
        Ok(SignedRequest {
            url: self.api.url(&resource),
            headers: RequestSource::Listed.headers(callback_url.as_deref()),
            body: of.row.into(),
        })
    }

    /// Stores a record as the callback that it replaces; returns its evidence.
    async fn record(&mut self, request: SignedRequest) -> Result<Option<String>> {
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
            metrics.reconcile_taken_in(label, evidence).inc();
        }
        Ok(Some(evidence.to_owned()))
    }

    /// The `StatusCallback` of our number, as it is today.
    async fn number_callback(&mut self, number: &str) -> Result<Option<String>> {
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
        Ok(url
            .filter(|url| self.is_ours(url, CallbackKind::Status))
            .cloned())
    }

    /// The answer, or none of it and a note if Twilio refuses the request: a key may lack a permission,
    /// and of alerts Twilio lists no more than 10,000 and 30 days. Calls are imported without them.
    pub(super) fn permitted<T: Default>(
        &mut self,
        answer: Result<T, TwilioApiError>,
        what: &str,
    ) -> Result<T> {
        match answer {
            Err(why @ (TwilioApiError::KeyRefused { .. } | TwilioApiError::Refused { .. })) => {
                self.report.note(format!("Without {what}: {why}."));
                Ok(T::default())
            }
            other => Ok(other?),
        }
    }

    /// The forms of the callbacks of missing calls that failed, from Twilio's alerts; only to import them.
    async fn alerts_of(&mut self, missing: &[Missing]) -> Result<HashMap<CallSid, SignedRequest>> {
        let calls = || {
            let calls = missing.iter().filter_map(|of| match &of.record {
                Record::Call(call) => Some((of.ended, call)),
                Record::Recording(_) => None,
            });
            calls.clone()
        };
        let times = || calls().map(|(ended, _)| ended);
        let (Some(first), Some(last)) = (times().min(), times().max()) else {
            return Ok(HashMap::new());
        };
        // Of a long gap the list is enough: each alert is one request.
        if calls().count() > MAX_ALERTS || self.request.mode == Mode::DryRun {
            return Ok(HashMap::new());
        }
        let (from, until) = (first.minus(ALERT_MARGIN), last.plus(ALERT_MARGIN));
        let what = "the forms in Twilio's alerts";
        let listed = self.api.alerts(from, until).all().await;
        let keys: HashMap<&str, &ListedCall> =
            calls().map(|(_, call)| (call.sid.as_str(), call)).collect();
        let mut found = HashMap::new();
        for row in self.permitted(listed, what)? {
            let of = text(&row, "resource_sid").and_then(|sid| keys.get(sid.as_str()).copied());
            let url =
                text(&row, "request_url").filter(|url| self.is_ours(url, CallbackKind::Status));
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
            found.insert(of.sid.clone(), request);
        }
        Ok(found)
    }
}

/// Whether the form of an alert is the callback that the row replaces.
fn is_end_of(form: &str, url: &str, of: &ListedCall) -> bool {
    let key = format!("{}/status/{}", of.sid, of.status);
    callback::read(form.as_bytes(), url).is_ok_and(|read| read.key().as_str() == key)
}
