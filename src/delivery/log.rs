//! The log lines of the delivery worker.
//!
//! They never contain Acquire's answers, which may contain personal data; the store has those. The reason
//! of a parked call may quote Acquire's message, with such words masked.

use std::time::Duration;

use tracing::{debug, error, info, warn};

use crate::acquire::AcquireResponse;
use crate::domain::plan::AcquireRequest;
use crate::store::{Claimed, NextState, StoreError};

/// Logs an attempt that failed and may be retried. An error of the network is logged in words.
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
        "Acquire did not accept leg {leg}: {fault} ({advice})"
    );
}

/// Logs the new state of a call.
pub fn settled(call: &Claimed, next: &NextState) {
    let sid = &call.sid;
    match next {
        NextState::PendingAt(at) => info!(call.sid = %sid, "call {sid} is pending, due at {at}"),
        NextState::Delivered => info!(call.sid = %sid, "call {sid} is delivered"),
        NextState::Skipped(_, why) => info!(call.sid = %sid, "call {sid} is skipped: {why}"),
        NextState::Parked(cause, why) => {
            warn!(call.sid = %sid, %cause, "call {sid} is parked: {why}");
        }
    }
}

/// Logs a call that came from a SIP host whose callers may be customers.
pub(super) fn unnamed_sip_host(call: &Claimed, host: &str) {
    let sid = &call.sid;
    warn!(
        call.sip_host = host,
        call.sid = %sid,
        "call {sid} came from a sip: address of {host} and was connected to an agent. Its caller \
         counts as an agent too, so the call is not incoming. If customers call from this host (a \
         carrier, SBC or PBX), set calls.sip_customers = [\"{host}\"], or \"all\" for every SIP host. \
         Further such calls are not logged"
    );
}

/// Logs a failed store operation that is retried. While the database is down, the store itself logs
/// that once.
pub(super) fn store_failed(why: &StoreError, what: std::fmt::Arguments<'_>) {
    if why.is_unavailable() {
        debug!("{what}: {why}");
    } else {
        error!("{what}: {why}");
    }
}
