//! A bridge that compares its store with the records of a fake Twilio.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use twilio_acquire_bridge::clock::{Clock, Millis};
use twilio_acquire_bridge::debugging::fake_twilio_api::{FakeCall, FakeTwilioApi};

use super::harness::Bridge;
use super::twilio::{STATUS, sid, status_form};

pub const ACCOUNT: &str = "AC00000000000000000000000000000001";
pub const START: Millis = Millis(1_790_000_000_000);
pub const MINUTE: Duration = Duration::from_secs(60);
pub const HOUR: Duration = Duration::from_secs(3_600);

/// A bridge, and the Twilio that it can ask.
pub struct World {
    pub bridge: Bridge,
    pub api: FakeTwilioApi,
    pub clock: Clock,
}

impl World {
    pub fn start() -> Self {
        Self::with(&[])
    }

    pub fn with(settings: &[(&str, &str)]) -> Self {
        let clock = Clock::manual(START);
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let api = FakeTwilioApi::start(listen, clock.clone()).expect("a free port");
        let bridge = node(&api, settings);
        Self { bridge, api, clock }
    }

    /// Another bridge with the same Twilio.
    pub fn other_node(&self, settings: &[(&str, &str)]) -> Bridge {
        node(&self.api, settings)
    }

    /// With call 1, which Twilio reported, so that calls like it are expected.
    pub fn with_a_reported_call() -> Self {
        let world = Self::start();
        world.reports(1);
        world
    }

    /// Twilio has the call and reports it.
    pub fn reports(&self, number: usize) {
        self.has_call(number, |_| {});
        let form =
            status_form(&sid(number), "completed").replace("CallDuration=10", "CallDuration=60");
        let answer = self.bridge.twilio.sends_form(STATUS, &form);
        assert_eq!(answer.status, 204, "{}", answer.body);
        self.bridge.settles();
    }

    /// Twilio has a call that ended just now.
    pub fn has_call(&self, number: usize, change: impl FnOnce(&mut FakeCall)) {
        let mut call = FakeCall::completed(&sid(number), ACCOUNT, self.clock.now());
        change(&mut call);
        self.api.with(|records| records.calls.push(call));
    }

    /// A minute passes, whatever is due.
    pub fn ticks(&self) {
        self.clock.advance(MINUTE);
        self.bridge.clock.advance(MINUTE);
    }

    pub fn waits(&self, by: Duration) {
        self.clock.advance(by);
        self.bridge.waits(by);
    }

    /// Orders a comparison; the report of the only account.
    pub fn reconciles(&self, changes: &Value) -> Value {
        let answer = self.asks(changes);
        assert_eq!(answer.0, 200, "{}", answer.1);
        self.bridge.settles();
        answer.1["accounts"][0].clone()
    }

    pub fn asks(&self, changes: &Value) -> (u16, Value) {
        order(&self.bridge, changes)
    }

    /// The requests to Acquire about a call.
    pub fn sent(&self, number: usize) -> Vec<Value> {
        let about = |body: &Value| body["CallId"] == sid(number).as_str();
        self.bridge.sent().into_iter().filter(about).collect()
    }
}

fn node(api: &FakeTwilioApi, settings: &[(&str, &str)]) -> Bridge {
    let base = api.base_url();
    let mut all = vec![
        ("BRIDGE__TWILIO__API_URL", base.as_str()),
        ("BRIDGE__TWILIO__MONITOR_URL", base.as_str()),
        (
            "BRIDGE__TWILIO__API_KEY_SID",
            "SK00000000000000000000000000000001",
        ),
        ("BRIDGE__TWILIO__API_KEY_SECRET", "made-up-secret"),
        ("TWILIO_ACCOUNT_SID", ACCOUNT),
    ];
    all.extend(settings);
    Bridge::with(&all)
}

/// Orders a comparison; status and answer.
pub fn order(bridge: &Bridge, changes: &Value) -> (u16, Value) {
    let mut order = json!({
        "from": START.to_string(), "until": null, "account": null, "calls": [],
        "mode": "Import", "held": "Keep",
    });
    for (key, value) in changes.as_object().expect("an object") {
        order[key] = value.clone();
    }
    let answer = bridge.posts("/api/reconcile", &order);
    (answer.status, answer.json())
}
