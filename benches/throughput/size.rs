//! What a store that has grown large costs: the same measures at a hundredth of the calls and at
//! all of them, so that what grows with the number is seen.

use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use twilio_acquire_bridge::acquire;
use twilio_acquire_bridge::clock::{Clock, Millis};
use twilio_acquire_bridge::domain::attempt::{Attempt, Verdict};
use twilio_acquire_bridge::domain::call_addresses::CallTerms;
use twilio_acquire_bridge::domain::class::Class;
use twilio_acquire_bridge::domain::plan::ReportMode;
use twilio_acquire_bridge::store::sqlite::SqliteStore;
use twilio_acquire_bridge::store::{
    ClaimRequest, Expiry, ListFilter, NewCallback, NextState, Settlement, SignedRequest, State,
    Store,
};
use twilio_acquire_bridge::twilio::{CallSid, callback};

use super::load::{Load, PUBLIC_URL, Requests};
use super::servers::{Mode, NO_SERVER, Server, file};

/// Records and settlements that wait together.
pub const GROUP: usize = 256;
const HOUR: Duration = Duration::from_secs(3600);
const LEASE: Duration = HOUR;
/// So many calls are claimed at once, as `delivery.concurrency` is by default.
const CLAIMED: usize = 32;
const CLAIMS: usize = 300;
const OUTAGE: Duration = Duration::from_secs(20);
const RATE: usize = 1_000;
const SECONDS: usize = 20;

pub fn measure(calls: usize) {
    println!("| calls | what | measured |");
    println!("| --- | --- | --- |");
    for calls in [calls / 100, calls] {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let database = folder.path().join("bridge.db");
        pending(calls, &database);
        at_rest(calls, &database);
    }
}

/// As after a long outage: all calls are due, and Acquire is still down.
fn pending(calls: usize, database: &Path) {
    let started = Instant::now();
    in_store(database, async |store| fill(&store, 0..calls).await);
    let per_second = calls as f64 / started.elapsed().as_secs_f64();
    report(calls, "recorded, a second", &format!("{per_second:.0}"));
    in_store(database, async |store| {
        claims(calls, &store).await;
        reads(calls, "pending", &store).await;
    });
    let server = Server::over(Mode::Bridge, &file(database), NO_SERVER, "30d");
    report(
        calls,
        "start to ready, pending",
        &milliseconds(server.ready),
    );
    let first = Load::closed_loop(server.address, &Requests::signed(1).terminal_only(), 1);
    let answered = first.answered[0] - server.started;
    report(
        calls,
        "start to first 204, pending",
        &milliseconds(answered),
    );
    let (outage, cpu) = (Instant::now(), server.cpu_seconds());
    wait(OUTAGE);
    let busy = (server.cpu_seconds() - cpu) / outage.elapsed().as_secs_f64();
    report(
        calls,
        "CPU with the breaker open",
        &format!("{:.2} %", busy * 100.0),
    );
    accept(calls, "pending, breaker open", &server);
    let memory = format!("{:.0} MiB", server.peak_mebibytes());
    report(calls, "peak memory, pending, breaker open", &memory);
}

/// As after a long time: nearly all is delivered, and its retention passes.
fn at_rest(calls: usize, database: &Path) {
    in_store(database, async |store| {
        deliver_all(&store).await;
        reads(calls, "delivered", &store).await;
    });
    let size = |database| std::fs::metadata(database).expect("a file").len() >> 20;
    let before = size(database);
    let few = (calls / 2).min(100_000);
    in_store(database, async |store| {
        let mut batches = Vec::new();
        for _ in 0..few / 50 {
            let started = Instant::now();
            let now = Clock::system().now();
            let expiry = Expiry {
                now,
                delivered_and_skipped: now,
                parked: now,
            };
            store.purge(expiry, 50).await.expect("purged");
            batches.push(started.elapsed());
        }
        report(
            calls,
            "purge of 50 calls, p50 / p99 / longest",
            &spread(batches),
        );
    });
    let what = format!("file before / after {few} calls were purged");
    report(calls, &what, &format!("{before} / {} MiB", size(database)));
    let server = Server::over(Mode::Accept, &file(database), NO_SERVER, "30d");
    accept(calls, "delivered, nothing purged", &server);
    drop(server);
    let server = Server::over(Mode::Bridge, &file(database), NO_SERVER, "1m");
    accept(calls, "delivered, while purging", &server);
}

fn accept(calls: usize, when: &str, server: &Server) {
    let requests = Requests::signed(RATE * SECONDS).terminal_only();
    let load = Load::fixed_rate(server.address, &requests, 64, RATE);
    let took = format!(
        "{:.2} / {:.2} / {:.2} ms",
        load.percentile(50),
        load.percentile(99),
        load.percentile(100)
    );
    let what = format!("204 at {RATE}/s, p50 / p99 / longest: {when}");
    report(calls, &what, &took);
}

/// Records a call for each of these positions.
pub async fn fill(store: &SqliteStore, positions: Range<usize>) {
    let requests = Requests::signed(positions.len()).terminal_only();
    let yesterday = Clock::system().now().minus(HOUR * 24);
    for (number, first) in (0..).zip(positions.clone().step_by(GROUP)) {
        let some = first..positions.end.min(first + GROUP);
        let now = Millis(yesterday.0 + number);
        let recorded = some.map(|position| store.record(callback(&requests.body(position)), now));
        for recorded in join_all(recorded).await {
            recorded.expect("the disk has room");
        }
    }
}

pub fn callback(body: &str) -> NewCallback {
    let url = format!("{PUBLIC_URL}/twilio/voice/status");
    let callback = callback::read(body.as_bytes(), &url).expect("a callback");
    let request = SignedRequest {
        url,
        headers: "x-twilio-signature: AAAAAAAAAAAAAAAAAAAAAAAAAAA=".to_owned(),
        body: body.to_owned().into(),
    };
    NewCallback::of(callback, request)
}

async fn claims(calls: usize, store: &SqliteStore) {
    let mut took = Vec::new();
    for _ in 0..CLAIMS.min(calls / CLAIMED) {
        let started = Instant::now();
        let now = Clock::system().now();
        let claims = store.claim(now, LEASE, ClaimRequest::any(CLAIMED)).await;
        took.push(started.elapsed());
        assert_eq!(claims.expect("claimed").calls.len(), CLAIMED);
    }
    report(
        calls,
        "claim of 32 calls, p50 / p99 / longest",
        &spread(took),
    );
}

async fn reads(calls: usize, when: &str, store: &SqliteStore) {
    let filters = State::ALL.map(Some).into_iter().chain([None]);
    for state in filters {
        let started = Instant::now();
        let listed = store
            .list(ListFilter { state, limit: 50 })
            .await
            .expect("a list");
        let took = milliseconds(started.elapsed());
        let state = state.map_or("any", State::as_str);
        let what = format!("list of state {state} ({}), {when}", listed.len());
        report(calls, &what, &took);
    }
    let started = Instant::now();
    store.counts().await.expect("counts");
    report(
        calls,
        &format!("counts, {when}"),
        &milliseconds(started.elapsed()),
    );
}

pub async fn deliver_all(store: &SqliteStore) {
    let long_ago = Clock::system().now().minus(HOUR);
    loop {
        let now = Clock::system().now();
        let claims = store.claim(now, LEASE, ClaimRequest::any(GROUP)).await;
        let claims = claims.expect("claimed").calls;
        if claims.is_empty() {
            return;
        }
        let settled = claims.into_iter().map(|call| {
            let settlement = Settlement {
                class: Class::InTime,
                attempt: Some(accepted(&call.sid, long_ago)),
                next: NextState::Delivered,
                failing_since: None,
                terms: CallTerms::default(),
            };
            store.settle(call.ticket, settlement, long_ago)
        });
        for settled in join_all(settled).await {
            settled.expect("settled");
        }
    }
}

fn accepted(leg: &CallSid, at: Millis) -> Attempt {
    Attempt {
        leg: leg.clone(),
        kind: acquire::RequestKind::CallEnd,
        report_mode: ReportMode::Legs,
        at,
        took: Duration::from_millis(3),
        sent: "x".repeat(200),
        status: Some(200),
        verdict: Verdict::Accepted,
        fault: None,
        excerpt: r#"{"data":{"success":true}}"#.to_owned(),
    }
}

/// Opens the store for a while.
pub fn in_store(database: &Path, work: impl AsyncFnOnce(SqliteStore)) {
    let store = SqliteStore::open(database).expect("a store");
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.expect("a runtime").block_on(work(store));
}

#[expect(
    clippy::disallowed_methods,
    reason = "the server keeps the system's time"
)]
pub fn wait(time: Duration) {
    std::thread::sleep(time);
}

fn report(calls: usize, what: &str, measured: &str) {
    println!("| {calls} | {what} | {measured} |");
}

fn milliseconds(took: Duration) -> String {
    format!("{:.2} ms", took.as_secs_f64() * 1_000.0)
}

fn spread(mut took: Vec<Duration>) -> String {
    let mut at = |percent| super::load::percentile(&mut took, percent);
    format!("{:.2} / {:.2} / {:.2} ms", at(50), at(99), at(100))
}
