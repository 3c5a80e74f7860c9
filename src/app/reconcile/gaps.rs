//! Holds gaps in which a bridge had answered 204: then the store was set back, and Acquire may have the
//! calls.

use serde::{Deserialize, Serialize};

use super::pass::{Candidate, Pass};
use super::report::RecordLine;
use super::{HeldGaps, Mode, ReconcileError, ReconcileRequest, Reconciler};
use crate::clock::Millis;
use crate::domain::reconcile::ended;
use crate::twilio::AccountSid;
use crate::twilio::callback::CallbackKind;
use crate::twilio::listed::text;

/// Missing calls that ended longer apart belong to two gaps.
const SAME_GAP: i64 = 3_600_000;

/// Calls of a gap whose events are asked for, besides its first and last.
const SAMPLE: usize = 20;

/// A gap between two times, both included.
#[derive(Debug, Serialize, Deserialize)]
struct Gap {
    from: i64,
    until: i64,
    /// Held calls.
    calls: usize,
}

impl Gap {
    fn has(&self, at: Millis) -> bool {
        (self.from..=self.until).contains(&at.0)
    }
}

async fn gaps(reconciler: &Reconciler, prefix: &str) -> Result<Vec<Gap>, ReconcileError> {
    let notes = reconciler.store.notes(prefix).await?.into_iter();
    Ok(notes
        .filter_map(|(_, text)| serde_json::from_str(&text).ok())
        .collect())
}

/// Releases the held gaps if an operator decided so; returns when the first call of them ended.
pub(super) async fn release_held(
    reconciler: &Reconciler,
    request: &ReconcileRequest,
    account: &AccountSid,
) -> Result<Option<Millis>, ReconcileError> {
    if request.held == HeldGaps::Keep || request.mode == Mode::DryRun {
        return Ok(None);
    }
    let (store, mut first) = (&reconciler.store, None);
    for gap in gaps(reconciler, &held(account)).await? {
        let (from, until) = (Millis(gap.from), Millis(gap.until));
        let text = serde_json::to_string(&gap).unwrap_or_default();
        let key = format!("{}{}", released(account), gap.from);
        store.note(key, Some(text)).await?;
        let key = format!("{}{}", held(account), gap.from);
        store.note(key, None).await?;
        tracing::warn!("reconcile: the gap from {from} to {until} is released for import");
        first = Some(first.map_or(from, |first: Millis| first.min(from)));
    }
    Ok(first)
}

/// The prefix of the keys of held gaps.
fn held(account: &AccountSid) -> String {
    format!("held/{account}/")
}

/// The prefix of the keys of gaps that an operator released.
fn released(account: &AccountSid) -> String {
    format!("released/{account}/")
}

impl Pass<'_> {
    /// The candidates that may be imported; the others are counted as held.
    pub(super) async fn without_held(
        &mut self,
        mut candidates: Vec<Candidate>,
    ) -> Result<Vec<Candidate>, ReconcileError> {
        let (reconciler, account) = (self.reconciler, self.api.account());
        let mut held_gaps = gaps(reconciler, &held(account)).await?;
        let released_gaps = gaps(reconciler, &released(account)).await?;
        candidates.sort_by_key(|of| ended(&of.call));
        let at = |of: &Candidate| ended(&of.call).unwrap_or_default();
        for gap in candidates.chunk_by(|one, next| at(next).0 - at(one).0 <= SAME_GAP) {
            let (Some(first), Some(last)) = (gap.first(), gap.last()) else {
                continue;
            };
            let range = Gap {
                from: at(first).0,
                until: at(last).0,
                calls: gap.len(),
            };
            let mut decided = held_gaps.iter().chain(&released_gaps);
            if decided.any(|of| of.has(at(first)) && of.has(at(last))) {
                continue;
            }
            self.lease.renew(reconciler).await?;
            if self.was_answered(gap).await? {
                if self.request.mode == Mode::Import {
                    let text = serde_json::to_string(&range).unwrap_or_default();
                    let key = format!("{}{}", held(account), range.from);
                    reconciler.store.note(key, Some(text)).await?;
                }
                held_gaps.push(range);
            }
        }
        let is_held = |of: &Candidate| held_gaps.iter().any(|gap| gap.has(at(of)));
        let (kept, free): (Vec<Candidate>, Vec<Candidate>) =
            candidates.into_iter().partition(is_held);
        if !kept.is_empty() {
            self.report.note(
                "A bridge had answered 204 for calls that the store lacks, so the store was probably \
                 restored from an older copy, and Acquire may have these calls. To import them all \
                 the same: reconcile --take-held.",
            );
        }
        for of in &kept {
            self.report.held += 1;
            let line = RecordLine::of(&of.call, "held", "was answered 204");
            self.report.add(line);
        }
        Ok(free)
    }

    /// The calls of all held gaps, also of those that this pass did not look at.
    pub(super) async fn held_calls(&self) -> Result<usize, ReconcileError> {
        let gaps = gaps(self.reconciler, &held(self.api.account())).await?;
        Ok(gaps.iter().map(|gap| gap.calls).sum())
    }

    /// Whether Twilio got a 204 from one of our URLs for a call of this gap. Another 2xx was that of
    /// another server.
    async fn was_answered(&mut self, gap: &[Candidate]) -> Result<bool, ReconcileError> {
        let step = (gap.len() - 1).div_ceil(SAMPLE).max(1);
        for of in gap.iter().step_by(step).chain(gap.last()) {
            if self.callback_urls.contains_key(&of.call.sid) {
                continue;
            }
            for event in self.api.call_events(&of.call.sid).all().await? {
                let request = event.get("request").and_then(|of| text(of, "url"));
                let Some(url) = request.filter(|url| self.is_ours(url)) else {
                    continue;
                };
                let response = event.get("response");
                let status = response.and_then(|of| text(of, "response_code"));
                self.callback_urls.insert(of.call.sid.clone(), url);
                if status.as_deref() == Some("204") {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Whether a URL is that of a status callback to this bridge.
    pub(super) fn is_ours(&self, url: &str) -> bool {
        let path = url.split(['?', '#']).next().unwrap_or_default();
        let served = CallbackKind::Status.path();
        let mut public = self.reconciler.config.server.public_urls.iter();
        public.any(|base| path == base.entered(served))
    }
}
