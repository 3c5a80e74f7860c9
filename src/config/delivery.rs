//! `[delivery]`: timeouts, limits and the retry schedule of requests to Acquire.
//!
//! The schedule is applied in `domain/retry.rs`.

use std::time::Duration;

use super::acquire;
use super::duration::{self, days, hours, millis, minutes, seconds};
use super::reader::SettingsReader;
use crate::domain::retry::Policy;

/// Limit for the time that a claimed call waits for the rate limit of `delivery.max_rate`. The
/// lease of the call runs meanwhile.
pub const MAX_RATE_LIMIT_WAIT: Duration = Duration::from_secs(5);

/// A longer schedule would be a mistake: the default has 16 waits and covers three days.
const MAX_WAITS: usize = 100;

/// How calls are delivered.
#[derive(Clone, Debug)]
pub struct DeliverySettings {
    /// For one attempt, from connecting to the end of the response.
    pub timeout: Duration,
    /// Limit of requests in flight.
    pub concurrency: usize,
    /// Limit of requests per second.
    pub max_rate: Option<usize>,
    /// Longer than `timeout`.
    pub lease: Duration,
    /// The longest wait between two probes while Acquire is unavailable.
    pub probe_max: Duration,
    pub policy: Policy,
}

/// Reads the section, and `acquire.unclear_tries`, which is part of the policy.
pub(super) fn read(reader: &mut SettingsReader) -> Option<DeliverySettings> {
    let timeout = reader.duration("delivery.timeout", millis(100)..=minutes(5));
    let concurrency = reader.number("delivery.concurrency", 1..=1024);
    let max_rate = reader.number("delivery.max_rate", 1..=100_000);
    let lease = reader.duration("delivery.lease", seconds(1)..=hours(1));
    let schedule = reader.durations("delivery.schedule", millis(1)..=days(30));
    let retry_after_max = reader.duration("delivery.retry_after_max", seconds(1)..=days(1));
    let probe_max = reader.duration("delivery.probe_max", seconds(1)..=hours(1));
    let unclear_tries = acquire::unclear_tries(reader);

    // The first `?`: all keys of the section were read, so all their mistakes are known.
    let (timeout, lease, schedule) = (timeout?, lease?, schedule?);
    check_lease(reader, lease, timeout, max_rate);
    if schedule.len() > MAX_WAITS {
        let name = reader.name("delivery.schedule");
        reader.mistake(format!(
            "{name} has {} waits; at most {MAX_WAITS} are allowed",
            schedule.len()
        ));
    }
    Some(DeliverySettings {
        timeout,
        concurrency: concurrency?,
        max_rate,
        lease,
        probe_max: probe_max?,
        policy: Policy {
            schedule,
            retry_after_max: retry_after_max?,
            unclear_tries: unclear_tries?,
        },
    })
}

/// A lease that ends during an attempt lets another worker send the same call.
fn check_lease(
    reader: &mut SettingsReader,
    lease: Duration,
    timeout: Duration,
    max_rate: Option<usize>,
) {
    let name = format!(
        "{} = \"{}\"",
        reader.name("delivery.lease"),
        duration::show(lease)
    );
    if lease <= timeout {
        let timeout_name = reader.name("delivery.timeout");
        reader.mistake(format!(
            "{name} must be longer than {timeout_name} = \"{}\", or another worker could send a \
             call that is still being sent",
            duration::show(timeout)
        ));
    } else if max_rate.is_some() && lease <= timeout + MAX_RATE_LIMIT_WAIT {
        let wait = duration::show(MAX_RATE_LIMIT_WAIT);
        reader.mistake(format!(
            "{name} must exceed delivery.timeout by more than {wait} if delivery.max_rate is set, \
             because a call waits up to {wait} for the rate limit"
        ));
    }
}
