//! `kill -9` between any two steps of a pass that imports.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;

use twilio_acquire_bridge::clock::Clock;
use twilio_acquire_bridge::debugging::fake_acquire::{FakeAcquire, Faults};
use twilio_acquire_bridge::debugging::fake_twilio_api::{FakeCall, FakeTwilioApi};
use twilio_acquire_bridge::store::sqlite::{SqliteReader, SqliteStore};
use twilio_acquire_bridge::store::{
    ListFilter, NewCallback, ReadStore as _, SignedRequest, Store as _,
};
use twilio_acquire_bridge::twilio::CallSid;

use super::*;
use crate::support::harness::until;
use crate::support::serve::{Serve, command_to_serve, sink};

/// Missing calls, each of which is one write.
const MISSING: usize = 30;

/// How far a pass comes before the kill.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// This request to Twilio has arrived, and its answer has not.
    Request(usize),
    /// So many missing calls are stored.
    Write(usize),
}

fn serve(database: &Path, acquire: &FakeAcquire, api: &FakeTwilioApi) -> Serve {
    let mut command = command_to_serve(database, &acquire.base_url());
    command
        .env("BRIDGE__TWILIO__API_URL", api.base_url())
        .env("BRIDGE__TWILIO__MONITOR_URL", api.base_url())
        .env(
            "BRIDGE__TWILIO__API_KEY_SID",
            "SK00000000000000000000000000000001",
        )
        .env("BRIDGE__TWILIO__API_KEY_SECRET", "made-up-secret")
        .env("TWILIO_ACCOUNT_SID", ACCOUNT)
        .env("BRIDGE__RECONCILE__EVERY", "30s");
    Serve::by(command)
}

/// A store to which call 1 was reported yesterday, so that calls like it are expected.
fn store_with_a_reported_call(database: &Path) {
    let request = SignedRequest {
        url: format!("{PUBLIC_URL}{STATUS}"),
        headers: String::new(),
        body: status_form(&sid(1), "completed").into(),
    };
    let callback = NewCallback::of(request.read().expect("a callback"), request);
    let store = SqliteStore::open(database).expect("a store");
    let yesterday = Clock::system().now().minus(24 * HOUR);
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let recorded = runtime
        .expect("a runtime")
        .block_on(store.record(callback, yesterday));
    recorded.expect("recorded");
}

fn stored(database: &Path) -> usize {
    let reader = SqliteReader::open_read_only(database).expect("a store");
    reader.list(ListFilter::ALL).expect("a list").len()
}

fn survives_a_kill_at(step: Step) {
    let folder = tempfile::tempdir().expect("a folder");
    let database = folder.path().join("bridge.db");
    store_with_a_reported_call(&database);
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let api = FakeTwilioApi::start(listen, Clock::system()).expect("a free port");
    api.with(|records| {
        let ended = Clock::system().now().minus(2 * HOUR);
        records.calls.extend(
            (1..=MISSING + 1).map(|number| FakeCall::completed(&sid(number), ACCOUNT, ended)),
        );
    });
    let acquire = sink(Faults::default());
    let killed = serve(&database, &acquire, &api);
    match step {
        Step::Request(number) => {
            api.with(|records| records.delay = std::time::Duration::from_millis(50));
            until("the request arrives", || {
                api.with(|records| records.requests.len()) >= number
            });
        }
        Step::Write(number) => until("the calls are stored", || stored(&database) > number),
    }
    killed.signal("-KILL");
    killed.ends();
    api.with(|records| records.delay = std::time::Duration::ZERO);
    let serve = serve(&database, &acquire, &api);
    let all: BTreeSet<String> = (1..=MISSING + 1).map(sid).collect();
    until("Acquire has each call", || {
        acquire.call_ids().into_iter().collect::<BTreeSet<_>>() == all
    });
    serve.signal("-TERM");
    assert_eq!(serve.ends().0, Some(0), "{step:?}");
    let reader = SqliteReader::open_read_only(&database).expect("a store");
    for number in 2..=MISSING + 1 {
        let call = reader
            .get(&CallSid::parse(&sid(number)).expect("a SID"))
            .expect("read");
        assert_eq!(
            call.expect("the call").callbacks.len(),
            1,
            "{step:?}: call {number}"
        );
    }
    assert_eq!(
        reader.verify_consistency().expect("read"),
        Vec::<String>::new(),
        "{step:?}"
    );
}

#[test]
fn a_kill_between_any_two_steps_of_a_pass_loses_no_call_and_stores_none_twice() {
    // The list of calls, cancelled ones, the events of the gap, alerts, recordings, numbers.
    for number in 1..=8 {
        survives_a_kill_at(Step::Request(number));
    }
    for number in [1, 2, 10, 29] {
        survives_a_kill_at(Step::Write(number));
    }
}
