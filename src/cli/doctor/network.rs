//! Checks Acquire from this machine: DNS, TLS certificate, and the difference of the clocks, also to Twilio's.
//!
//! It sends no call.

use std::collections::BTreeSet;
use std::net::ToSocketAddrs as _;
use std::time::Duration;

use super::note::Notes;
use crate::app;
use crate::clock::{Clock, Millis};
use crate::config::Config;
use crate::delivery::acquire_client::AcquireClient;
use crate::net::http_url::HttpUrl;
use crate::twilio_api;

/// A `Date` header has whole seconds, and the response takes time.
const MAX_CLOCK_SKEW: Duration = Duration::from_secs(30);

pub(super) fn check(notes: &mut Notes, config: &Config) {
    let clock = Clock::system();
    app::block_on(async {
        let client = match AcquireClient::new(&config.acquire, &config.delivery, clock.clone()) {
            Ok(client) => client,
            Err(why) => return notes.problem("network", why),
        };
        let twilio = &config.twilio;
        let remote = twilio_api::server_time(twilio).await;
        of_time(notes, &twilio.api_url, remote, clock.now());
        let mut seen = BTreeSet::new();
        for account in &config.accounts {
            let base = config.acquire.base_url_of(account);
            if !seen.insert(base.clone()) {
                continue;
            }
            // A proxy resolves the name itself.
            if config.acquire.proxy.is_none() {
                of_name(notes, &base);
            }
            match client.reach(account).await {
                Ok(reached) => notes.ok("acquire", reached),
                Err(why) => {
                    let sentence = format!("{base} cannot be reached: {why} (acquire.base_url)");
                    notes.problem("acquire", sentence);
                    continue;
                }
            }
            let remote = client.server_time(account).await;
            of_time(notes, &base, remote, clock.now());
        }
    });
}

fn of_name(notes: &mut Notes, base: &str) {
    let Ok(url) = HttpUrl::parse(base) else {
        return;
    };
    let host = &url.host;
    match (host.as_str(), url.port).to_socket_addrs() {
        Ok(addresses) => {
            let addresses: BTreeSet<String> = addresses.map(|to| to.ip().to_string()).collect();
            let listed = addresses.into_iter().collect::<Vec<_>>().join(", ");
            notes.ok("dns", format_args!("{host} resolves to {listed}"));
        }
        Err(why) => notes.problem(
            "dns",
            format_args!(
                "cannot resolve {host}: {why}; check the name (ACQUIRE_ACCOUNT_ID, acquire.base_url) and \
                 the DNS resolver of this machine"
            ),
        ),
    }
}

pub(super) fn of_time(notes: &mut Notes, base: &str, remote: Option<Millis>, now: Millis) {
    let Some(remote) = remote else {
        let sentence =
            format!("the clock says {now}; {base} sent no Date header to compare it with");
        return notes.unknown("clock", sentence);
    };
    let skew = now.since(remote).max(remote.since(now));
    if skew > MAX_CLOCK_SKEW {
        let direction = if now < remote { "behind" } else { "ahead of" };
        let skew = skew.as_secs();
        notes.problem(
            "clock",
            format_args!(
                "the clock is {skew} s {direction} that of {base}: times in logs, retries and recording \
                 links are wrong; run a time service such as chrony"
            ),
        );
    } else {
        let most = MAX_CLOCK_SKEW.as_secs();
        let sentence = format!("the clock agrees with that of {base} within {most} s");
        notes.ok("clock", sentence);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::note::NoteStatus;

    #[test]
    fn a_clock_that_is_off_by_more_than_half_a_minute_is_a_problem() {
        let now = Millis(1_790_000_000_000);
        let seconds = |seconds: i64| Some(Millis(now.0 + seconds * 1_000));
        for (remote, status, words) in [
            (None, NoteStatus::Unknown, "sent no Date header"),
            (seconds(30), NoteStatus::Ok, "within 30 s"),
            (seconds(31), NoteStatus::Problem, "31 s behind"),
            (seconds(-31), NoteStatus::Problem, "31 s ahead of"),
        ] {
            let mut notes = Notes::default();
            of_time(&mut notes, "https://acme.acquire.io", remote, now);
            let note = &notes.0[0];
            assert_eq!(note.status, status, "{remote:?}");
            assert!(note.sentence.contains(words), "{}", note.sentence);
        }
    }
}
