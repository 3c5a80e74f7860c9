//! Checks Acquire from this machine: DNS, TLS certificate, and the difference of the clocks, also to Twilio's.
//!
//! It sends no call.

use std::collections::BTreeSet;
use std::net::ToSocketAddrs as _;
use std::time::Duration;

use super::note::Note;
use crate::app;
use crate::clock::{Clock, Millis};
use crate::config::Config;
use crate::delivery::acquire_client::AcquireClient;
use crate::net::http_url::HttpUrl;
use crate::twilio_api;

/// A `Date` header has whole seconds, and the response takes time.
const MAX_CLOCK_SKEW: Duration = Duration::from_secs(30);

pub(super) fn check(config: &Config) -> Vec<Note> {
    let clock = Clock::system();
    app::block_on(async {
        let client = match AcquireClient::new(&config.acquire, &config.delivery, clock.clone()) {
            Ok(client) => client,
            Err(why) => return vec![Note::problem("network", why.to_string())],
        };
        let mut notes = Vec::new();
        let twilio = &config.twilio;
        let remote = twilio_api::server_time(twilio).await;
        notes.push(of_time(&twilio.api_url, remote, clock.now()));
        let mut seen = BTreeSet::new();
        for account in &config.accounts {
            let base = config.acquire.base_url_of(account);
            if !seen.insert(base.clone()) {
                continue;
            }
            // A proxy resolves the name itself.
            if config.acquire.proxy.is_none() {
                notes.extend(of_name(&base));
            }
            match client.reach(account).await {
                Ok(reached) => notes.push(Note::ok("acquire", reached)),
                Err(why) => {
                    let sentence = format!("{base} cannot be reached: {why} (acquire.base_url)");
                    notes.push(Note::problem("acquire", sentence));
                    continue;
                }
            }
            let remote = client.server_time(account).await;
            notes.push(of_time(&base, remote, clock.now()));
        }
        notes
    })
}

fn of_name(base: &str) -> Option<Note> {
    let url = HttpUrl::parse(base).ok()?;
    Some(match (url.host.as_str(), url.port).to_socket_addrs() {
        Ok(addresses) => {
            let addresses: BTreeSet<String> = addresses.map(|to| to.ip().to_string()).collect();
            let listed = addresses.into_iter().collect::<Vec<_>>().join(", ");
            Note::ok("dns", format!("{} resolves to {listed}", url.host))
        }
        Err(why) => {
            let sentence = format!(
                "cannot resolve {}: {why}; check the name (ACQUIRE_ACCOUNT_ID, acquire.base_url) \
                 and the DNS resolver of this machine",
                url.host
            );
            Note::problem("dns", sentence)
        }
    })
}

pub(super) fn of_time(base: &str, remote: Option<Millis>, now: Millis) -> Note {
    let Some(remote) = remote else {
        return Note::unknown(
            "clock",
            format!("the clock says {now}; {base} sent no Date header to compare it with"),
        );
    };
    let skew = now.since(remote).max(remote.since(now));
    let direction = if now < remote { "behind" } else { "ahead of" };
    if skew > MAX_CLOCK_SKEW {
        let sentence = format!(
            "the clock is {} s {direction} that of {base}: times in logs, retries and recording \
             links are wrong; run a time service such as chrony",
            skew.as_secs()
        );
        return Note::problem("clock", sentence);
    }
    Note::ok(
        "clock",
        format!(
            "the clock agrees with that of {base} within {} s",
            MAX_CLOCK_SKEW.as_secs()
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::note::NoteStatus;

    #[test]
    fn a_clock_that_is_off_by_more_than_half_a_minute_is_a_problem() {
        let now = Millis(1_790_000_000_000);
        for (remote, status) in [
            (None, NoteStatus::Unknown),
            (Some(now.plus(Duration::from_secs(30))), NoteStatus::Ok),
            (Some(now.plus(Duration::from_secs(31))), NoteStatus::Problem),
            (
                Some(now.minus(Duration::from_secs(31))),
                NoteStatus::Problem,
            ),
        ] {
            assert_eq!(
                of_time("https://acme.acquire.io", remote, now).status,
                status,
                "{remote:?}"
            );
        }
        let behind = of_time("x", Some(now.plus(Duration::from_secs(90))), now).sentence;
        assert!(behind.contains("90 s behind"), "{behind}");
    }
}
