//! The page and the API of one call.

use std::iter;
use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use askama::Template;
use serde::Serialize;

use super::console::{AdminState, page};
use super::error::{AdminError, Traces};
use super::frame::Frame;
use crate::debugging::missing_call::{SEARCHED, fate, keep_naming, summary};
use crate::debugging::replan::{self, FieldDifference};
use crate::debugging::timeline::{AttemptView, CallTimeline, PlannedView};
use crate::domain::call_filter::Waiting;
use crate::store::StoredCall;
use crate::twilio::CallSid;

#[derive(Serialize)]
struct CallAnswer {
    #[serde(flatten)]
    first: CallTimeline,
    /// The calls of other accounts that signed the same SID.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    other_accounts: Vec<CallTimeline>,
}

/// `GET /api/calls/{CallSid}`: the timeline of a call, found by its SID or the SID of a leg.
pub async fn show(admin: Data<AdminState>, sid: Path<String>) -> Result<HttpResponse, AdminError> {
    let calls = calls(&admin, &sid).await?;
    let mut timelines = calls.iter().map(|call| timeline(&admin, call));
    let first = timelines.next().ok_or(AdminError::NotFound)?;
    Ok(HttpResponse::Ok().json(CallAnswer {
        first,
        other_accounts: timelines.collect(),
    }))
}

/// The events of one time.
struct Event {
    /// Empty for a callback that did not arrive.
    at: String,
    /// `A`, `B` and so on.
    leg: String,
    what: String,
    class: &'static str,
    more: String,
}

/// One call, for the page.
struct CallView {
    timeline: CallTimeline,
    events: Vec<Event>,
    differences: Vec<FieldDifference>,
}

#[derive(Template)]
#[template(path = "call.html")]
struct CallPage {
    sid: String,
    /// One for each account that signed the SID.
    calls: Vec<CallView>,
    frame: Frame,
}

/// `GET /calls/{CallSid}`: all that is known of a call, of each account that signed its SID.
pub async fn call_page(
    admin: Data<AdminState>,
    sid: Path<String>,
) -> Result<HttpResponse, AdminError> {
    let calls = calls(&admin, &sid).await?;
    let rules = Arc::clone(&admin.bridge.rules.borrow());
    let view = |call: &StoredCall| {
        let timeline = timeline(&admin, call);
        // A call whose callbacks this version cannot read has no plan to compare with.
        let difference = replan::difference(call, &rules).ok().flatten();
        CallView {
            events: events(&timeline),
            timeline,
            differences: difference.map_or_else(Vec::new, |difference| difference.fields()),
        }
    };
    let calls: Vec<CallView> = calls.iter().map(view).collect();
    let first = calls.first().ok_or(AdminError::NotFound)?;
    page(&CallPage {
        sid: first.timeline.line.call_sid.clone(),
        calls,
        frame: Frame::of("/calls", admin.bridge.clock.now()),
    })
}

/// The calls with this SID, at least one.
async fn calls(admin: &AdminState, sid: &str) -> Result<Vec<StoredCall>, AdminError> {
    let store = &admin.bridge.store;
    let sid = CallSid::parse(sid)?;
    let calls = store.get_all(&sid).await?;
    if !calls.is_empty() {
        return Ok(calls);
    }
    let removed = store.removed(&sid).await?;
    let mut refused = store.refused(SEARCHED).await?;
    keep_naming(&mut refused, &sid);
    let traces = Traces {
        removed: removed.iter().map(|removed| fate(&sid, removed)).collect(),
        refused: summary(&refused),
    };
    Err(AdminError::UnknownCall(sid, traces))
}

fn timeline(admin: &AdminState, call: &StoredCall) -> CallTimeline {
    let bridge = &admin.bridge;
    let rules = Arc::clone(&bridge.rules.borrow());
    let config = Arc::clone(&bridge.config.borrow());
    let account = config.account(&call.summary.account);
    let outage = account.and_then(|account| bridge.outages.of(&account.acquire_account_id));
    CallTimeline::of(call, &rules, outage, bridge.clock.now())
}

/// Callbacks, callbacks that did not arrive, and attempts, in the order of time.
fn events(timeline: &CallTimeline) -> Vec<Event> {
    let mut events = Vec::new();
    for (missing, callback) in timeline.callbacks_with_gaps() {
        let leg = timeline.leg_name(&callback.leg);
        events.extend(missing.into_iter().map(|number| Event {
            at: callback.received.clone(),
            leg: leg.to_owned(),
            what: format!("callback {number} did not arrive"),
            class: "bad",
            more: String::new(),
        }));
        let recording = if callback.kind == "recording" {
            "recording "
        } else {
            ""
        };
        events.push(Event {
            at: callback.received.clone(),
            leg: leg.to_owned(),
            what: format!("{recording}{}", callback.call_status),
            class: "",
            more: iter::once(callback.verdict)
                .chain(callback.notes.iter().map(String::as_str))
                .collect::<Vec<_>>()
                .join("; "),
        });
    }
    let attempts = timeline.attempts.iter();
    events.extend(attempts.map(|attempt| attempted(attempt, timeline.leg_name(&attempt.leg))));
    // Stable: a gap stays before its callback. RFC 3339 in UTC sorts as text.
    events.sort_by(|one, other| one.at.cmp(&other.at));
    events
}

fn attempted(attempt: &AttemptView, leg: &str) -> Event {
    let answer = match (attempt.status, attempt.fault) {
        (Some(status), _) => format!("Acquire answered {status}"),
        (None, Some(fault)) => format!("no answer from Acquire ({fault})"),
        (None, None) => "no answer from Acquire".to_owned(),
    };
    let before = if attempt.before_requeue {
        "; before it was queued again"
    } else {
        ""
    };
    let more = attempt.explanation.as_deref().unwrap_or(attempt.verdict);
    Event {
        at: attempt.at.clone(),
        leg: leg.to_owned(),
        what: format!(
            "{} sent: {answer} after {} ms",
            attempt.kind, attempt.duration_ms
        ),
        class: if attempt.before_requeue {
            "old"
        } else {
            attempt.verdict
        },
        more: format!("{more}{before}"),
    }
}
