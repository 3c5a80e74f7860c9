//! Holds gaps in which a bridge had answered 204: then the store was set back, and Acquire may have the
//! calls.

use serde::{Deserialize, Serialize};

use super::pass::{Candidate, Pass};
use super::report::RecordLine;
use super::{HeldGaps, Mode, ReconcileError, Reconciler};
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
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Gap {
    from: i64,
    until: i64,
    /// Held calls.
    #[serde(default)]
    calls: usize,
}

impl Gap {
    fn has(self, at: Millis) -> bool {
        (self.from..=self.until).contains(&at.0)
    }
}

async fn gaps(reconciler: &Reconciler, prefix: &str) -> Result<Vec<Gap>, ReconcileError> {
    let notes = reconciler.store.notes(prefix).await?.into_iter();
    Ok(notes
        .filter_map(|(_, text)| serde_json::from_str(&text).ok())
        .collect())
}

impl Pass<'_> {
    /// When the first call of a held gap ended.
    pub(super) async fn first_held(
        reconciler: &Reconciler,
        account: &AccountSid,
    ) -> Result<Option<Millis>, ReconcileError> {
        let gaps = gaps(reconciler, &format!("held/{account}/")).await?;
        Ok(gaps.iter().map(|gap| Millis(gap.from)).min())
    }

    /// The candidates that may be imported; the others are counted as held.
    pub(super) async fn without_held(
        &mut self,
        mut candidates: Vec<Candidate>,
    ) -> Result<Vec<Candidate>, ReconcileError> {
        let account = self.api.account().clone();
        let (held_key, released_key) = (format!("held/{account}/"), format!("released/{account}/"));
        let mut held = self.gaps(&held_key).await?;
        if self.request.held == HeldGaps::TakeIn && self.request.mode == Mode::Import {
            for gap in held.drain(..) {
                let store = &self.reconciler.store;
                let text = serde_json::to_string(&gap).unwrap_or_default();
                store
                    .note(format!("{released_key}{}", gap.from), Some(text))
                    .await?;
                store.note(format!("{held_key}{}", gap.from), None).await?;
                let (from, until) = (Millis(gap.from), Millis(gap.until));
                tracing::warn!("reconcile: the gap from {from} to {until} is released for import");
            }
        }
        let released = self.gaps(&released_key).await?;
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
            let decided = held.iter().chain(&released);
            if decided
                .copied()
                .any(|of| of.has(at(first)) && of.has(at(last)))
            {
                continue;
            }
            if self.was_answered(gap).await? {
                held.push(range);
                if self.request.mode == Mode::Import {
                    let text = serde_json::to_string(&range).unwrap_or_default();
                    let key = format!("{held_key}{}", range.from);
                    self.reconciler.store.note(key, Some(text)).await?;
                }
            }
        }
        let is_held = |of: &Candidate| held.iter().any(|gap| gap.has(at(of)));
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
        let gaps = self.gaps(&format!("held/{}/", self.api.account())).await?;
        Ok(gaps.iter().map(|gap| gap.calls).sum())
    }

    async fn gaps(&self, prefix: &str) -> Result<Vec<Gap>, ReconcileError> {
        gaps(self.reconciler, prefix).await
    }

    /// Whether Twilio got a 204 from one of our URLs for a call of this gap. Another 2xx was that of
    /// another server.
    async fn was_answered(&mut self, gap: &[Candidate]) -> Result<bool, ReconcileError> {
        let step = (gap.len() / (SAMPLE + 1)).max(1);
        let places = (0..gap.len()).step_by(step).chain([gap.len() - 1]);
        for place in places {
            let of = &gap[place];
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
        let public = self.reconciler.config.server.public_urls.iter();
        public.into_iter().any(|base| path == base.entered(served))
    }
}
