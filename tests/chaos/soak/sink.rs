//! The fake Acquire of a soak, and the thread that notes what arrives.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use twilio_acquire_bridge::debugging::fake_acquire::{
    CapturedRequest, FakeAcquire, Faults, Retain,
};

use super::RECOVERS_WITHIN;
use super::faults::AcquireFault;
use crate::pause;
use crate::support::ledger::Ledger;

/// The fake Acquire on one address, which it can leave.
pub struct Sink {
    pub listen: SocketAddr,
    arrivals: SyncSender<CapturedRequest>,
    running: Option<FakeAcquire>,
}

impl Sink {
    /// And the thread that notes what arrives.
    pub fn start(ledger: &Arc<Ledger>) -> (Self, JoinHandle<()>) {
        let (arrivals, received) = sync_channel::<CapturedRequest>(1024);
        let ledger = Arc::clone(ledger);
        let notes = thread::spawn(move || {
            for request in received {
                ledger.arrived(&request);
            }
        });
        let mut sink = Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            arrivals,
            running: None,
        };
        let running = sink.listens().expect("a free port");
        sink.listen = running.addr();
        sink.running = Some(running);
        (sink, notes)
    }

    fn listens(&self) -> std::io::Result<FakeAcquire> {
        let retain = Retain::Pass(self.arrivals.clone());
        FakeAcquire::start(self.listen, Faults::default(), retain)
    }

    pub fn turns(&mut self, fault: AcquireFault) {
        let Some(faults) = fault.faults() else {
            self.running = None;
            return;
        };
        let late = Instant::now() + RECOVERS_WITHIN;
        while self.running.is_none() {
            self.running = self.listens().ok();
            assert!(Instant::now() < late, "its address is taken");
            pause(Duration::from_millis(10));
        }
        if let Some(running) = &self.running {
            running.behaves(faults);
        }
    }
}
