//! A stand-in for Acquire that writes what arrives into the book, and sees what arrives twice at once.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use twilio_acquire_bridge::clock::Millis;
use twilio_acquire_bridge::debugging::fake_acquire::{
    CapturedRequest, FakeAcquire, Faults, Retain, Share,
};

use crate::support::book::Book;

/// How long each request is under way: no answer comes sooner.
const ANSWERS_AFTER: Duration = Duration::from_millis(100);

pub struct Acquire {
    pub sink: FakeAcquire,
    notes: JoinHandle<Overlaps>,
}

impl Acquire {
    pub fn start(shares: Vec<Share>, seed: u64, book: &Arc<Book>) -> Self {
        let faults = Faults {
            shares,
            seed,
            delay: ANSWERS_AFTER,
            ..Faults::default()
        };
        let (to_book, arrivals) = sync_channel::<CapturedRequest>(1024);
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let sink = FakeAcquire::start(listen, faults, Retain::Pass(to_book)).expect("a free port");
        let book = Arc::clone(book);
        let notes = thread::spawn(move || {
            let mut overlaps = Overlaps::default();
            for request in arrivals {
                overlaps.arrived(&request);
                book.arrived(&request);
            }
            overlaps
        });
        Self { sink, notes }
    }

    /// Ends it; the calls that were sent while an earlier request of theirs was under way.
    pub fn ends(self) -> Vec<String> {
        drop(self.sink);
        self.notes.join().expect("all arrivals are noted").found
    }
}

#[derive(Default)]
struct Overlaps {
    last: HashMap<String, Millis>,
    found: Vec<String>,
}

impl Overlaps {
    fn arrived(&mut self, request: &CapturedRequest) {
        let sid = request.field("CallId").unwrap_or_default();
        let Some(last) = self.last.insert(sid.clone(), request.time) else {
            return;
        };
        // Two threads tell of arrivals, so that the later one may be told first.
        let apart = Duration::from_millis(request.time.0.abs_diff(last.0));
        if apart < ANSWERS_AFTER {
            self.found.push(format!("{sid} twice within {apart:?}"));
        }
    }
}

#[test]
fn a_call_that_is_sent_twice_at_once_is_found() {
    let mut overlaps = Overlaps::default();
    for (call, at) in [(1, 1_000), (2, 1_050), (1, 1_100), (2, 1_149), (3, 1_149)] {
        overlaps.arrived(&CapturedRequest {
            time: Millis(at),
            method: "POST".to_owned(),
            path: "/".to_owned(),
            headers: Vec::new(),
            body: format!(r#"{{"CallId":"CA{call}"}}"#),
            reply: twilio_acquire_bridge::debugging::fake_acquire::Reply::Saved,
        });
    }
    assert_eq!(overlaps.found, ["CA2 twice within 99ms"]);
}
