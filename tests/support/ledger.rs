//! A ledger of test calls: which calls the bridge accepted, which Acquire received, and whether the two
//! agree.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde_json::Value;
use twilio_acquire_bridge::debugging::fake_acquire::{CapturedRequest, Reply};

use super::sender::{ACCOUNT, Call};

#[derive(Debug, Default)]
pub struct Ledger(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    calls: HashMap<String, Entry>,
    /// Errors that no later request can correct.
    wrong: Vec<String>,
    /// Of the calls that arrived since these were last taken.
    lags: Vec<Duration>,
}

#[derive(Debug)]
struct Entry {
    /// JSON as text, which takes a quarter of the memory: a soak sends a million calls.
    expected: String,
    /// When it was answered 2xx: from then on the bridge must deliver it. Before that it may, but need not.
    accepted: Option<Instant>,
    /// How often the fake Acquire accepted it, and how often it refused it for good.
    delivered: u32,
    refused: u32,
    /// How the fake Acquire ended it last: a call whose settlement a kill prevented is sent again.
    ending: Option<Ending>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Accepted,
    Refused,
}

/// The result of a run.
#[derive(Debug, Default)]
pub struct Balance {
    pub sent: usize,
    pub accepted: usize,
    /// Delivered without an answer to Twilio: the bridge was killed between the commit and the 204.
    pub delivered_unanswered: usize,
    pub parked: usize,
    /// Deliveries of a call beyond its first.
    pub repeats: u32,
    pub delivered: usize,
    /// One sentence each.
    pub wrong: Vec<String>,
}

impl Balance {
    pub fn repeats_per_10_000(&self) -> f64 {
        f64::from(self.repeats) * 10_000.0
            / f64::from(u32::try_from(self.delivered).unwrap_or(1).max(1))
    }
}

impl Ledger {
    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0
            .lock()
            .expect("no test panics while it holds the ledger")
    }

    /// Written before the request leaves.
    pub fn sends(&self, call: &Call) {
        let entry = Entry {
            expected: call.expected.to_string(),
            accepted: None,
            delivered: 0,
            refused: 0,
            ending: None,
        };
        self.entries()
            .calls
            .entry(call.sid.clone())
            .or_insert(entry);
    }

    pub fn answered(&self, call: &Call, status: u16) {
        let mut entries = self.entries();
        match status {
            200..=299 => {
                if let Some(entry) = entries.calls.get_mut(&call.sid) {
                    entry.accepted.get_or_insert_with(Instant::now);
                }
            }
            503 => {}
            other => entries
                .wrong
                .push(format!("{} was answered {other}", call.sid)),
        }
    }

    pub fn arrived(&self, request: &CapturedRequest) {
        let mut entries = self.entries();
        let entries = &mut *entries;
        let body: Value = serde_json::from_str(&request.body).unwrap_or_default();
        let sid = body["CallId"].as_str().unwrap_or_default();
        let Some(entry) = entries.calls.get_mut(sid) else {
            let wrong = format!("{:?} arrived and was never sent", request.body);
            entries.wrong.push(wrong);
            return;
        };
        match request.reply {
            Reply::Saved | Reply::Duplicate => {
                if entry.delivered == 0 {
                    // It may arrive before its answer does.
                    let lag = entry.accepted.map_or(Duration::ZERO, |when| when.elapsed());
                    entries.lags.push(lag);
                }
                entry.delivered += 1;
                entry.ending = Some(Ending::Accepted);
            }
            Reply::Invalid | Reply::Status(422) => {
                entry.refused += 1;
                entry.ending = Some(Ending::Refused);
            }
            _ => {}
        }
        if serde_json::from_str::<Value>(&entry.expected).ok() != Some(body) {
            let wrong = format!(
                "{} arrived, and {} was expected",
                request.body, entry.expected
            );
            entries.wrong.push(wrong);
        }
    }

    /// The times from the answer to the first arrival, of calls that arrived since the last such question.
    pub fn takes_lags(&self) -> Vec<Duration> {
        std::mem::take(&mut self.entries().lags)
    }

    /// How `report --json` differs from the calls of this ledger, all of one account and all in a final
    /// state. Only what was sent and answered is counted here, nothing that the bridge says.
    pub fn report_errors(&self, report: &Value) -> Vec<String> {
        let entries = self.entries();
        let ended = |ending| {
            let calls = entries.calls.values();
            calls.filter(|entry| entry.ending == Some(ending)).count() as u64
        };
        let (accepted, refused) = (ended(Ending::Accepted), ended(Ending::Refused));
        let expected = Sums {
            received: accepted + refused,
            in_acquire: accepted,
            parked: refused,
        };
        let no_days = Vec::new();
        let days = report["days"].as_array().unwrap_or(&no_days);
        [
            ("in total", Sums::of(&[&report["total"]])),
            ("of the account", Sums::of(&[&report["accounts"][ACCOUNT]])),
            ("of all days", Sums::of(&days.iter().collect::<Vec<_>>())),
        ]
        .into_iter()
        .filter(|(_, sums)| *sums != Ok(expected))
        .map(|(part, sums)| format!("the report {part} has {sums:?}, and not {expected:?}"))
        .collect()
    }

    /// The result once every call is in a final state; `parked` has the SIDs that are parked.
    pub fn balance(&self, parked: &HashSet<String>) -> Balance {
        let entries = self.entries();
        let mut balance = Balance {
            sent: entries.calls.len(),
            parked: parked.len(),
            wrong: entries.wrong.clone(),
            ..Balance::default()
        };
        for (sid, entry) in &entries.calls {
            balance.accepted += usize::from(entry.accepted.is_some());
            balance.delivered += usize::from(entry.delivered > 0);
            balance.delivered_unanswered +=
                usize::from(entry.delivered > 0 && entry.accepted.is_none());
            balance.repeats += entry.delivered.saturating_sub(1);
            let is_parked = parked.contains(sid);
            if entry.accepted.is_some() && entry.delivered == 0 && !is_parked {
                balance.wrong.push(format!("{sid} is lost"));
            }
            if is_parked && entry.refused == 0 {
                balance
                    .wrong
                    .push(format!("{sid} is parked and was never refused"));
            }
        }
        for sid in parked
            .iter()
            .filter(|sid| !entries.calls.contains_key(*sid))
        {
            balance
                .wrong
                .push(format!("{sid} is parked and was never sent"));
        }
        balance
    }
}

/// Calls by what became of them. No test that keeps a ledger has calls of other classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sums {
    received: u64,
    in_acquire: u64,
    parked: u64,
}

impl Sums {
    /// The sum of parts of a report; the part that is not as it should be.
    fn of(parts: &[&Value]) -> Result<Self, Value> {
        let mut sums = Self {
            received: 0,
            in_acquire: 0,
            parked: 0,
        };
        for part in parts {
            let calls = |class: &str| part[class].as_u64().ok_or_else(|| (*part).clone());
            sums.received += calls("received")?;
            sums.in_acquire += calls("in_time")? + calls("late")?;
            sums.parked += calls("parked")?;
            let others = ["waiting", "dismissed", "expired", "erased"];
            let is_other = others.iter().any(|class| part[class] != 0);
            if is_other
                || part["skipped"]
                    .as_object()
                    .is_none_or(|causes| !causes.is_empty())
            {
                return Err((*part).clone());
            }
        }
        Ok(sums)
    }
}
