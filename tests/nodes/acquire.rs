//! The fake Acquire: records requests in the ledger, and finds calls that are sent twice at the same
//! time.

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

use crate::support::ledger::Ledger;

/// The delay of each response, so that two requests of one call would overlap.
const RESPONSE_DELAY: Duration = Duration::from_millis(100);

pub struct Acquire {
    pub server: FakeAcquire,
    recorder: JoinHandle<Overlaps>,
}

impl Acquire {
    pub fn start(shares: Vec<Share>, seed: u64, ledger: &Arc<Ledger>) -> Self {
        let faults = Faults {
            shares,
            seed,
            delay: RESPONSE_DELAY,
            ..Faults::default()
        };
        let (to_book, arrivals) = sync_channel::<CapturedRequest>(1024);
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let server =
            FakeAcquire::start(listen, faults, Retain::Pass(to_book)).expect("a free port");
        let ledger = Arc::clone(ledger);
        let recorder = thread::spawn(move || {
            let mut overlaps = Overlaps::default();
            for request in arrivals {
                overlaps.arrived(&request);
                ledger.arrived(&request);
            }
            overlaps
        });
        Self { server, recorder }
    }

    /// Stops it, and returns the calls that were sent while an earlier request for them was running.
    pub fn stop(self) -> Vec<String> {
        drop(self.server);
        self.recorder
            .join()
            .expect("all requests are recorded")
            .found
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
        // Two threads report requests, so a later one may be reported first.
        let apart = Duration::from_millis(request.time.0.abs_diff(last.0));
        if apart < RESPONSE_DELAY {
            self.found.push(format!("{sid} twice within {apart:?}"));
        }
    }
}

#[test]
fn a_call_that_is_sent_twice_at_the_same_time_is_found() {
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
