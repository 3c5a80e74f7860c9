//! The next step of a call and its time, as a sentence.
//!
//! The step itself is decided by the plan and by `domain/retry.rs`.

use std::time::Duration;

use crate::acquire::DeliveryFault;
use crate::clock::Millis;
use crate::config::duration;
use crate::debugging::state_words::first_wait;
use crate::domain::attempt::Attempt;
use crate::domain::outage::Outage;
use crate::domain::plan::Plan;
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
        State::Pending if call.due.is_none() => format!("waiting: it is {reason}"),
        State::Pending => pending(call.due.unwrap_or(now), plan, attempts, outage, now),
        State::Claimed => "a bridge is sending it now".to_owned(),
        State::Delivered => {
            "nothing: Acquire accepted all requests; a later callback may add one".to_owned()
        }
        State::Skipped => format!("nothing: {reason}; a later callback may change that"),
        State::Parked => format!(
            "nothing until an operator requeues it: {reason}. Once the cause is fixed, \
             run requeue {}",
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
    // The reason of a wait explains more than the time at which the call is due.
    if let Some(wait) = first_wait(plan, now).filter(|_| due > now) {
        return format!(
            "{}: {} left, until {}",
            wait.why,
            left(wait.until, now),
            wait.until
        );
    }
    if let Some(outage) = outage {
        return format!(
            "deliveries to account {} are paused, {}; {}",
            outage.account,
            probe(outage, now),
            advice(Some(outage.fault), outage.status)
        );
    }
    let last = attempts.last();
    let last_attempt = match last {
        Some(last) if last.verdict.retry_at().is_some() => {
            let response = last.status.map_or_else(
                || "the last had no response".to_owned(),
                |status| format!("the last response was {status}"),
            );
            format!(
                ", attempt {}: {response}; {}",
                attempts.len() + 1,
                advice(last.fault, last.status)
            )
        }
        _ => String::new(),
    };
    if due > now {
        return format!(
            "will be sent in {} (at {due}){last_attempt}",
            left(due, now)
        );
    }
    format!("due since {due}; a running bridge sends it as soon as it has capacity{last_attempt}")
}

fn probe(outage: &Outage, now: Millis) -> String {
    if outage.next_probe > now {
        format!("next probe in {}", left(outage.next_probe, now))
    } else {
        "the next probe is due".to_owned()
    }
}

/// The time until `at` in whole seconds, rounded up.
fn left(at: Millis, now: Millis) -> String {
    let seconds = at.since(now).as_millis().div_ceil(1_000);
    duration::show(Duration::from_secs(
        u64::try_from(seconds).unwrap_or(u64::MAX),
    ))
}

/// The setting to check first; a status is more specific than the fault.
fn advice(fault: Option<DeliveryFault>, status: Option<u16>) -> &'static str {
    match (status, fault) {
        (Some(401 | 403), _) => "check acquire.api_key",
        (Some(404), _) => "check acquire.call_end_path and acquire_account_id",
        (Some(300..=399), _) => "check acquire.base_url",
        (_, Some(fault)) => fault.advice(),
        (_, None) => "check Acquire's answer",
    }
}
