//! Acquire from here: its name, its certificate, and its time.

use std::collections::BTreeSet;
use std::net::ToSocketAddrs as _;
use std::time::Duration;

use super::Note;
use crate::app;
use crate::clock::{Clock, Millis};
use crate::config::Config;
use crate::delivery::acquire_client::AcquireClient;
use crate::net::http_url::HttpUrl;

/// A `Date` counts whole seconds, and an answer takes its time.
const MAX_CLOCK_SKEW: Duration = Duration::from_secs(30);

pub(super) fn look_at(config: &Config) -> Vec<Note> {
    let clock = Clock::system();
    app::block_on(async {
        let client = match AcquireClient::new(&config.acquire, &config.delivery, clock.clone()) {
            Ok(client) => client,
            Err(why) => return vec![Note::finding("network", why.to_string())],
        };
        let mut notes = Vec::new();
        let mut seen = BTreeSet::new();
        for account in &config.accounts {
            let base = config.acquire.base_url_of(account);
            if !seen.insert(base.clone()) {
                continue;
            }
            // A proxy looks the name up by itself.
            if config.acquire.proxy.is_none() {
                notes.extend(of_name(&base));
            }
            match client.reach(account).await {
                Ok(reached) => notes.push(Note::well("acquire", reached)),
                Err(why) => {
                    let sentence = format!("{base} cannot be reached: {why} (acquire.base_url)");
                    notes.push(Note::finding("acquire", sentence));
                    continue;
                }
            }
            let told = client.server_time(account).await;
            notes.push(of_time(&base, told, clock.now()));
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
            Note::well("dns", format!("{} is {listed}", url.host))
        }
        Err(why) => {
            let sentence = format!(
                "{} has no address here: {why}; look at the name (ACQUIRE_ACCOUNT_ID, \
                 acquire.base_url) and at the resolver of this machine",
                url.host
            );
            Note::finding("dns", sentence)
        }
    })
}

fn of_time(base: &str, told: Option<Millis>, now: Millis) -> Note {
    let Some(told) = told else {
        return Note::well(
            "clock",
            format!("it is {now} here; {base} tells no time to compare"),
        );
    };
    let off = now.since(told).max(told.since(now));
    let way = if now < told { "behind" } else { "ahead of" };
    if off > MAX_CLOCK_SKEW {
        let sentence = format!(
            "the clock is {} s {way} that of {base}: times in logs, retries and links of \
             recordings are off; run a time service such as chrony",
            off.as_secs()
        );
        return Note::finding("clock", sentence);
    }
    Note::well(
        "clock",
        format!(
            "it agrees with that of {base} within {} s",
            MAX_CLOCK_SKEW.as_secs()
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::NoteStatus;

    #[test]
    fn a_clock_that_is_off_by_more_than_half_a_minute_is_a_finding() {
        let now = Millis(1_790_000_000_000);
        for (told, health) in [
            (None, NoteStatus::Well),
            (Some(now.plus(Duration::from_secs(30))), NoteStatus::Well),
            (Some(now.plus(Duration::from_secs(31))), NoteStatus::Finding),
            (
                Some(now.minus(Duration::from_secs(31))),
                NoteStatus::Finding,
            ),
        ] {
            assert_eq!(
                of_time("https://acme.acquire.io", told, now).health,
                health,
                "{told:?}"
            );
        }
        let behind = of_time("x", Some(now.plus(Duration::from_secs(90))), now).sentence;
        assert!(behind.contains("90 s behind"), "{behind}");
    }
}
