//! Many calls are requeued at once, and new calls do not wait for them.

use std::process::{Command, Stdio};
use std::time::Duration;

use futures_util::future::join_all;
use twilio_acquire_bridge::config::StoreUrl;
use twilio_acquire_bridge::debugging::fake_acquire::{Faults, Reply};
use twilio_acquire_bridge::domain::audit::Actor;
use twilio_acquire_bridge::domain::call_addresses::CallTerms;
use twilio_acquire_bridge::domain::class::Class;
use twilio_acquire_bridge::store::{
    self, ClaimRequest, NewCallback, NextState, Settlement, SignedRequest, Store,
};
use twilio_acquire_bridge::twilio::CallSid;
use twilio_acquire_bridge::twilio::callback;

use crate::support::harness::{Bridge, until};
use crate::support::twilio::{PUBLIC_URL, STATUS, sid, status_form};

const MANY: usize = 10_000;
const MINUTE: Duration = Duration::from_secs(60);

/// Calls 1 to `count`, all of which Acquire has refused.
fn with_parked(count: usize) -> Bridge {
    let bridge = Bridge::start();
    bridge.acquire.answers(vec![Reply::Invalid; count]);
    for number in 1..=count {
        bridge.twilio.ends(&sid(number), "completed");
    }
    bridge.settles();
    assert_eq!(bridge.sent().len(), count);
    bridge
}

#[test]
fn nothing_is_requeued_without_confirmation() {
    let bridge = with_parked(3);
    let run = bridge.runs(&["requeue", "--state", "parked"]);
    assert_eq!(run.code, Some(2), "{}", run.err);
    assert!(run.err.contains("3 calls: 3 parked"), "{}", run.err);
    assert!(run.err.contains("--yes"), "{}", run.err);
    bridge.settles();
    assert_eq!(bridge.sent().len(), 3);
}

#[test]
fn calls_are_requeued_by_filter() {
    let bridge = with_parked(3);
    bridge.twilio.ends(&sid(4), "completed");
    bridge.settles();
    let run = bridge.runs(&["requeue", "--call-reason", "refused it with 400", "--yes"]);
    assert_eq!(
        (run.code, run.out.as_str()),
        (Some(0), "3 of 3 calls requeued\n")
    );
    bridge.settles();
    assert_eq!(bridge.sent().len(), 7, "the delivered one was left alone");
    let run = bridge.runs(&["requeue", "--state", "parked", "--yes"]);
    assert_eq!((run.code, run.err.as_str()), (Some(0), "no such calls\n"));
}

#[test]
fn an_interrupted_requeue_resumes_where_it_stopped() {
    let bridge = with_parked(0);
    for number in 1..=3 {
        bridge.twilio.ends(&sid(number), "completed");
    }
    bridge.settles();
    let before = bridge.clock.now().plus(Duration::from_secs(1)).to_string();
    bridge.clock.advance(MINUTE);
    // As if it had been cut short after the first.
    bridge.runs(&["requeue", &sid(1)]);
    bridge.settles();
    let go_on = [
        "requeue",
        "--state",
        "delivered",
        "--rested-before",
        &before,
        "--yes",
    ];
    let run = bridge.runs(&go_on);
    assert_eq!(run.out, "2 of 2 calls requeued\n", "{}", run.err);
    assert!(
        run.err
            .contains("Acquire receives the delivered calls again"),
        "{}",
        run.err
    );
    bridge.settles();
    assert_eq!(bridge.sent().len(), 6, "each of them twice");
    assert_eq!(bridge.runs(&go_on).err, "no such calls\n");
}

#[test]
fn a_stopped_command_leaves_the_operation_running() {
    let bridge = with_parked(4);
    let mut command = bridge.command(&["requeue", "--state", "parked", "--yes", "--rate", "2/s"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = child.spawn().expect("the program starts");
    reaches(&bridge, 5);
    let id = child.id().to_string();
    let killed = Command::new("kill").args(["-INT", &id]).status();
    assert!(killed.expect("kill runs").success());
    let ended = child.wait_with_output().expect("an end");
    let printed = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(3), "{printed}");
    assert!(
        printed.contains("of 4 calls requeued so far; operation 1 goes on in the bridge"),
        "{printed}"
    );
    reaches(&bridge, 8);
    assert_eq!(bridge.sent().len(), 8, "each of them twice");
}

#[test]
fn a_live_call_does_not_wait_for_ten_thousand_requeued_ones() {
    let mut bridge = Bridge::start();
    bridge.stops();
    requeued(&bridge, MANY);
    bridge.acquire.behaves(Faults {
        delay: Duration::from_millis(40),
        ..Faults::default()
    });
    bridge.starts();
    reaches(&bridge, 100);
    bridge.twilio.ends(&sid(MANY + 1), "completed");
    let had = bridge.acquire.call_ids().len();
    let mut place = None;
    until("the live call is sent", || {
        let sent = bridge.acquire.call_ids();
        place = sent.iter().position(|sent| *sent == sid(MANY + 1));
        place.is_some()
    });
    let place = place.expect("it is sent");
    // As many requests as run at once may have been in flight, and as many claimed after them.
    assert!(
        place < had + 2 * 32,
        "sent as number {place}, {had} before it"
    );
    assert!(place < MANY / 2);
    bridge.stops();
}

fn reaches(bridge: &Bridge, count: u64) {
    until("Acquire got them", || bridge.acquire.count() >= count);
}

/// The store of a bridge that is stopped.
pub fn store_of(bridge: &Bridge) -> impl std::ops::Deref<Target = dyn Store> {
    let url = StoreUrl::Sqlite(bridge.folder.path().join("bridge.db"));
    let mut store = None;
    until("the store is free", || {
        store = store::open(&url).ok();
        store.is_some()
    });
    store.expect("it is open")
}

/// Fills the store of a bridge that is stopped with calls that were delivered and requeued.
fn requeued(bridge: &Bridge, count: usize) {
    finished(bridge, count, &NextState::Delivered);
    let (store, now) = (store_of(bridge), bridge.clock.now());
    let sids = (1..=count).map(|number| CallSid::parse(&sid(number)).expect("a SID"));
    let sids: Vec<CallSid> = sids.collect();
    let requeued = join_all(
        sids.iter()
            .map(|sid| store.requeue(sid, Actor::system(), None, now)),
    );
    let requeued = actix_web::rt::System::new().block_on(requeued);
    assert!(requeued.into_iter().all(|known| known.expect("written")));
}

/// Fills the store of a bridge that is stopped with finished calls.
pub fn finished(bridge: &Bridge, count: usize, next: &NextState) {
    let (store, now) = (store_of(bridge), bridge.clock.now());
    let new = |number| {
        let (url, body) = (
            format!("{PUBLIC_URL}{STATUS}"),
            status_form(&sid(number), "completed"),
        );
        let read = callback::read(body.as_bytes(), &url).expect("a callback");
        let request = SignedRequest {
            url,
            headers: String::new(),
            body: body.into(),
        };
        NewCallback::of(read, request)
    };
    let fill = async {
        join_all((1..=count).map(|number| store.record(new(number), now))).await;
        let lease = Duration::from_secs(60);
        let claims = store.claim(now, lease, ClaimRequest::any(count)).await;
        let calls = claims.expect("claimed").calls;
        assert_eq!(calls.len(), count);
        let settlement = || Settlement {
            class: match next {
                NextState::Parked(..) => Class::Parked,
                _ => Class::InTime,
            },
            attempt: None,
            next: next.clone(),
            failing_since: None,
            terms: CallTerms::default(),
        };
        let settled = calls
            .iter()
            .map(|call| store.settle(call.ticket.clone(), settlement(), now));
        join_all(settled).await;
    };
    actix_web::rt::System::new().block_on(fill);
}
