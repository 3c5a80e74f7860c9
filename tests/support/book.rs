//! The book of debts: what the bridge has promised, what has arrived, and whether the two agree.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard};

use serde_json::Value;
use twilio_acquire_bridge::debugging::fake_acquire::{CapturedRequest, Reply};

use super::sender::Call;

#[derive(Debug, Default)]
pub struct Book(Mutex<Pages>);

#[derive(Debug, Default)]
struct Pages {
    calls: HashMap<String, Entry>,
    /// What can never be right, whatever comes later.
    wrong: Vec<String>,
}

#[derive(Debug)]
struct Entry {
    owed: Value,
    /// Answered 2xx: from then on the bridge owes it. Before, it may arrive but need not.
    is_debt: bool,
    /// How often Acquire's stand-in took it, and how often it refused it for good.
    taken: u32,
    refused: u32,
}

/// What a run came to.
#[derive(Debug, Default)]
pub struct Balance {
    pub sent: usize,
    pub debts: usize,
    /// Never answered, and yet delivered: kept, but killed before it could say so.
    pub unpromised: usize,
    pub parked: usize,
    /// Times that a call was taken again.
    pub repeats: u32,
    pub taken: usize,
    /// One sentence each.
    pub wrong: Vec<String>,
}

impl Balance {
    pub fn repeats_per_10_000(&self) -> f64 {
        f64::from(self.repeats) * 10_000.0
            / f64::from(u32::try_from(self.taken).unwrap_or(1).max(1))
    }
}

impl Book {
    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().expect("nobody panics with the book in hand")
    }

    /// Written before the request leaves.
    pub fn sends(&self, call: &Call) {
        let entry = Entry {
            owed: call.owed.clone(),
            is_debt: false,
            taken: 0,
            refused: 0,
        };
        self.pages().calls.entry(call.sid.clone()).or_insert(entry);
    }

    pub fn answered(&self, call: &Call, status: u16) {
        let mut pages = self.pages();
        match status {
            200..=299 => {
                if let Some(entry) = pages.calls.get_mut(&call.sid) {
                    entry.is_debt = true;
                }
            }
            503 => {}
            other => pages
                .wrong
                .push(format!("{} was answered {other}", call.sid)),
        }
    }

    pub fn arrived(&self, request: &CapturedRequest) {
        let mut pages = self.pages();
        let body: Value = serde_json::from_str(&request.body).unwrap_or_default();
        let sid = body["CallId"].as_str().unwrap_or_default();
        let Some(entry) = pages.calls.get_mut(sid) else {
            let wrong = format!("{:?} arrived and was never sent", request.body);
            pages.wrong.push(wrong);
            return;
        };
        match request.reply {
            Reply::Saved | Reply::Duplicate => entry.taken += 1,
            Reply::Invalid => entry.refused += 1,
            _ => {}
        }
        if body != entry.owed {
            let wrong = format!("{body} arrived where {} was owed", entry.owed);
            pages.wrong.push(wrong);
        }
    }

    /// Judges a run after everything has come to rest, with the SIDs that are parked then.
    pub fn balance(&self, parked: &HashSet<String>) -> Balance {
        let pages = self.pages();
        let mut balance = Balance {
            sent: pages.calls.len(),
            parked: parked.len(),
            wrong: pages.wrong.clone(),
            ..Balance::default()
        };
        for (sid, entry) in &pages.calls {
            balance.debts += usize::from(entry.is_debt);
            balance.taken += usize::from(entry.taken > 0);
            balance.unpromised += usize::from(entry.taken > 0 && !entry.is_debt);
            balance.repeats += entry.taken.saturating_sub(1);
            let is_parked = parked.contains(sid);
            if entry.is_debt && entry.taken == 0 && !is_parked {
                balance.wrong.push(format!("{sid} is lost"));
            }
            if is_parked && entry.refused == 0 {
                balance
                    .wrong
                    .push(format!("{sid} is parked and was never refused"));
            }
        }
        for sid in parked.iter().filter(|sid| !pages.calls.contains_key(*sid)) {
            balance
                .wrong
                .push(format!("{sid} is parked and was never sent"));
        }
        balance
    }
}

#[test]
fn the_book_finds_each_kind_of_wrong() {
    let arrival = |call: &Call, body: String, reply| CapturedRequest {
        time: twilio_acquire_bridge::clock::Millis(0),
        method: "POST".to_owned(),
        path: call.sid.clone(),
        headers: Vec::new(),
        body,
        reply,
    };
    let book = Book::default();
    let calls: Vec<Call> = (0..5).map(|number| Call::new(1, number)).collect();
    let [lost, paid, changed, given_up, stranger] = &calls[..] else {
        panic!("five calls");
    };
    for call in [lost, paid, changed, given_up] {
        book.sends(call);
        book.answered(call, 204);
    }
    book.arrived(&arrival(paid, paid.owed.to_string(), Reply::Saved));
    book.arrived(&arrival(paid, paid.owed.to_string(), Reply::Saved));
    book.arrived(&arrival(changed, lost.owed.to_string(), Reply::Status(503)));
    book.arrived(&arrival(stranger, stranger.owed.to_string(), Reply::Saved));
    let other = changed.owed.to_string().replace("+1202", "+1203");
    book.arrived(&arrival(changed, other, Reply::Saved));
    let balance = book.balance(&HashSet::from([given_up.sid.clone()]));
    assert_eq!(balance.repeats, 1);
    let mut wrong = balance.wrong;
    wrong.sort();
    assert_eq!(wrong.len(), 4, "{wrong:?}");
    let told = wrong.join("\n");
    for words in [
        "arrived and was never sent",
        " was owed",
        "is parked and was never refused",
    ] {
        assert!(told.contains(words), "{words} in {told}");
    }
    assert!(told.contains(&format!("{} is lost", lost.sid)), "{told}");
}
