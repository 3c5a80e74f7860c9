//! What happens to a call next, and when, in words.

use std::time::Duration;

use crate::acquire::DeliveryFault;
use crate::clock::Millis;
use crate::config::duration;
use crate::domain::attempt::{Attempt, Verdict};
use crate::domain::outage::Outage;
use crate::domain::plan::{Plan, PlanItem, Wait};
use crate::store::{CallSummary, State};

pub(super) fn next(
    call: &CallSummary,
    plan: &Plan,
    attempts: &[Attempt],
    outage: Option<&Outage>,
    now: Millis,
) -> String {
    let reason = call.reason.as_deref().unwrap_or("without a reason");
    match call.state {
        State::Pending if call.due.is_none() => format!("waits: it is {reason}"),
        State::Pending => pending(call.due.unwrap_or(now), plan, attempts, outage, now),
        State::Claimed => "it is being sent now".to_owned(),
        State::Delivered => {
            "nothing: Acquire took all that is owed; a later callback may owe more".to_owned()
        }
        State::Skipped => format!("nothing: {reason}; a later callback may change that"),
        State::Parked => format!(
            "nothing until somebody decides: {reason}. Once the cause is mended, \
             requeue {} sends it again",
            call.sid
        ),
    }
}

fn pending(
    due: Millis,
    plan: &Plan,
    attempts: &[Attempt],
    outage: Option<&Outage>,
    now: Millis,
) -> String {
    if let Some(wait) = waited_for(plan, now).filter(|_| due > now) {
        return format!(
            "{}: {} left, until {}",
            wait.why,
            left(wait.until, now),
            wait.until
        );
    }
    if let Some(outage) = outage {
        return format!(
            "waits for the breaker of account {}, {}; {}",
            outage.account,
            probe(outage, now),
            advice(Some(outage.fault), outage.status)
        );
    }
    let last = attempts.last();
    let tried = match last {
        Some(last) if matches!(last.verdict, Verdict::Again(_)) => {
            let got = last.status.map_or_else(
                || "the last had no answer".to_owned(),
                |status| format!("the last got {status}"),
            );
            format!(
                ", attempt {}: {got}; {}",
                attempts.len() + 1,
                advice(last.fault, last.status)
            )
        }
        _ => String::new(),
    };
    if due > now {
        return format!("is tried in {} (at {due}){tried}", left(due, now));
    }
    format!("is due since {due} and is sent as soon as a running bridge has a place{tried}")
}

/// Of what is owed and not reached, the wait that ends first.
fn waited_for(plan: &Plan, now: Millis) -> Option<&Wait> {
    let waits = plan.items().filter_map(|item| match item {
        PlanItem::Send(due) => due.wait.as_ref(),
        PlanItem::Undecided(wait) => Some(wait),
        PlanItem::Nothing(_) | PlanItem::Unmappable(_) => None,
    });
    waits
        .filter(|wait| wait.until > now)
        .min_by_key(|wait| wait.until)
}

fn probe(outage: &Outage, now: Millis) -> String {
    if outage.next_probe > now {
        format!("next probe in {}", left(outage.next_probe, now))
    } else {
        "the next probe is due".to_owned()
    }
}

/// In whole seconds, rounded up.
fn left(at: Millis, now: Millis) -> String {
    let seconds = at.since(now).as_millis().div_ceil(1_000);
    duration::show(Duration::from_secs(
        u64::try_from(seconds).unwrap_or(u64::MAX),
    ))
}

/// Where to look first; a status says more than the fault.
fn advice(fault: Option<DeliveryFault>, status: Option<u16>) -> &'static str {
    match (status, fault) {
        (Some(401 | 403), _) => "look at acquire.api_key",
        (Some(404), _) => "look at acquire.call_end_path and acquire_account_id",
        (Some(300..=399), _) => "look at acquire.base_url",
        (_, Some(fault)) => fault.advice(),
        (_, None) => "look at what Acquire answered",
    }
}
