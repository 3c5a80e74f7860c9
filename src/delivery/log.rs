//! What the worker writes into the log.

use std::time::Duration;

use tracing::{debug, error, info, warn};

use crate::acquire::AcquireResponse;
use crate::domain::plan::AcquireRequest;
use crate::store::{Claimed, NextState, StoreError};

/// The attempt of this number did not succeed, though trying again may help. What the network said
/// is told; what Acquire said is in the store, since it may name people.
pub fn failed(request: &AcquireRequest, number: usize, answer: &AcquireResponse, took: Duration) {
    let Some(fault) = answer.outcome.fault() else {
        return;
    };
    let (leg, advice) = (&request.leg, fault.advice());
    let words = answer.status.is_none().then_some(&answer.excerpt);
    warn!(
        call.leg = %leg,
        attempt = number,
        acquire.status = answer.status,
        fault = fault.as_str(),
        words,
        duration_ms = took.as_millis(),
        "Acquire did not take leg {leg}: {fault} ({advice})"
    );
}

/// Where a call was left.
pub fn settled(call: &Claimed, rest: &NextState) {
    let sid = &call.sid;
    match rest {
        NextState::PendingAt(at) => info!(call.sid = %sid, "call {sid} is pending, due at {at}"),
        NextState::Delivered => info!(call.sid = %sid, "call {sid} is delivered"),
        NextState::Skipped(why) => info!(call.sid = %sid, "call {sid} is skipped: {why}"),
        NextState::Parked(why) => warn!(call.sid = %sid, "call {sid} is parked: {why}"),
    }
}

/// A verb that is tried again. While the database is away, the store tells so, once.
pub(super) fn not_done(why: &StoreError, what: std::fmt::Arguments<'_>) {
    if why.is_away() {
        debug!("{what}: {why}");
    } else {
        error!("{what}: {why}");
    }
}
