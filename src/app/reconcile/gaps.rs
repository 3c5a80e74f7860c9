//! Holds gaps in which a bridge had answered 204: then the store was set back, and Acquire may have the
//! calls.

use std::collections::HashSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::missing::{Missing, Record};
use super::pass::Pass;
use super::report::RecordLine;
use super::window;
use super::{HeldGaps, Mode, ReconcileRequest, Reconciler, Result};
use crate::clock::Millis;
use crate::twilio::AccountSid;
use crate::twilio::callback::CallbackKind;
use crate::twilio::listed::text;

/// Missing calls that ended longer apart belong to two gaps.
const SAME_GAP: Duration = Duration::from_secs(3_600);

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

async fn gaps(reconciler: &Reconciler, prefix: &str) -> Result<Vec<Gap>> {
    let notes = reconciler.store.notes(prefix).await?.into_iter();
    Ok(notes
        .filter_map(|(_, text)| serde_json::from_str(&text).ok())
        .collect())
}

/// Holds the time by which the store was set back, if this node's spool file shows that.
pub(super) async fn hold_set_back(reconciler: &Reconciler, account: &AccountSid) -> Result<()> {
    let Some((from, until)) = window::set_back(reconciler, account).await? else {
        return Ok(());
    };
    tracing::warn!("reconcile: the store was set back from {until} to {from}; calls are held");
    let gap = Gap {
        from: from.0,
        until: until.0,
        calls: 0,
    };
    hold(reconciler, account, &gap).await
}

async fn hold(reconciler: &Reconciler, account: &AccountSid, gap: &Gap) -> Result<()> {
    let text = serde_json::to_string(gap).unwrap_or_default();
    let key = format!("{}{}", held(account), gap.from);
    Ok(reconciler.store.note(key, Some(text)).await?)
}

/// Releases the held gaps if an operator decided so; returns when the first call of them ended.
pub(super) async fn release_held(
    reconciler: &Reconciler,
    request: &ReconcileRequest,
    account: &AccountSid,
) -> Result<Option<Millis>> {
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
    /// The records that may be imported; the others are counted as held.
    pub(super) async fn without_held(&mut self, mut missing: Vec<Missing>) -> Result<Vec<Missing>> {
        let (reconciler, account) = (self.reconciler, self.api.account());
        let mut held_gaps = gaps(reconciler, &held(account)).await?;
        let released_gaps = gaps(reconciler, &released(account)).await?;
        missing.sort_by_key(|of| of.ended);
        for gap in missing.chunk_by(|one, next| next.ended.since(one.ended) <= SAME_GAP) {
            let (Some(first), Some(last)) = (gap.first(), gap.last()) else {
                continue;
            };
            let range = Gap {
                from: first.ended.0,
                until: last.ended.0,
                calls: gap.len(),
            };
            let mut decided = held_gaps.iter().chain(&released_gaps);
            if decided.any(|of| of.has(first.ended) && of.has(last.ended)) {
                continue;
            }
            self.lease.renew(reconciler).await?;
            if self.was_answered(gap).await? {
                if self.request.mode == Mode::Import {
                    hold(reconciler, account, &range).await?;
                }
                held_gaps.push(range);
            }
        }
        let is_held = |of: &Missing| held_gaps.iter().any(|gap| gap.has(of.ended));
        let (kept, free): (Vec<Missing>, Vec<Missing>) = missing.into_iter().partition(is_held);
        if !kept.is_empty() {
            self.report.note(
                "A bridge had answered 204 for calls that the store lacks, so the store was probably \
                 restored from an older copy, and Acquire may have these calls. To import them all \
                 the same: reconcile --take-held.",
            );
        }
        for of in &kept {
            self.report.held += 1;
            self.report.add(RecordLine {
                finding: "held".to_owned(),
                detail: "was answered 204".to_owned(),
                ..RecordLine::of_missing(of)
            });
        }
        Ok(free)
    }

    /// The calls of all held gaps, also of those that this pass did not look at.
    pub(super) async fn held_calls(&self) -> Result<u64> {
        let gaps = gaps(self.reconciler, &held(self.api.account())).await?;
        let noted = gaps.iter().map(|gap| gap.calls as u64).sum();
        Ok(self.report.held.max(noted))
    }

    /// Whether Twilio got a 204 from one of our URLs for a record of this gap. Another 2xx was that of
    /// another server.
    async fn was_answered(&mut self, gap: &[Missing]) -> Result<bool> {
        let step = (gap.len() - 1).div_ceil(SAMPLE).max(1);
        let mut asked = HashSet::new();
        for of in gap.iter().step_by(step).chain(gap.last()) {
            if self.callback_urls.contains_key(&of.leg) || !asked.insert(&of.leg) {
                continue;
            }
            let kind = match of.record {
                Record::Call(_) => CallbackKind::Status,
                Record::Recording(_) => CallbackKind::Recording,
            };
            for event in self.api.call_events(&of.leg).all().await? {
                let request = event.get("request").and_then(|of| text(of, "url"));
                let Some(url) = request.filter(|url| self.is_ours(url, kind)) else {
                    continue;
                };
                if kind == CallbackKind::Status {
                    self.callback_urls.insert(of.leg.clone(), url);
                }
                let response = event.get("response");
                let status = response.and_then(|of| text(of, "response_code"));
                if status.as_deref() == Some("204") && is_about(&event, of) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Whether a URL is that of callbacks of this kind to this bridge.
    pub(super) fn is_ours(&self, url: &str, kind: CallbackKind) -> bool {
        let path = url.split(['?', '#']).next().unwrap_or_default();
        let mut public = self.reconciler.config.server.public_urls.iter();
        public.any(|base| path == base.entered(kind.path()))
    }
}

/// Whether an event is the callback that the store lacks, and not an earlier one of the same leg. One
/// without parameters may be.
fn is_about(event: &Value, of: &Missing) -> bool {
    let (name, expected) = match &of.record {
        Record::Call(call) => ("call_status", call.status.as_str()),
        Record::Recording(recording) => ("recording_sid", recording.sid.as_str()),
    };
    let parameters = event.pointer("/request/parameters");
    let found = parameters.and_then(|of| text(of, name));
    found.is_none_or(|found| found == expected)
}
