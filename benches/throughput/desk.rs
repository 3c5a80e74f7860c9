//! How long operators wait for pages and searches over a large store, and what that costs the answers to
//! callbacks.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use twilio_acquire_bridge::debugging::fake_acquire::{
    FakeAcquire, Faults, Reply, Retain, TextFault,
};

use super::load::{Load, Requests, percentile};
use super::servers::{Mode, Server, file};
use super::size::wait;
use super::support::http::send_within;
use super::support::postgres_server::Server as Postgres;

const ROUNDS: usize = 3;
const RATE: usize = 200;
const SECONDS: usize = 60;
/// Requests of operators: about those of twenty open pages.
const BETWEEN_PAGES: Duration = Duration::from_millis(100);
/// Calls that one part of the filling sends; their requests are in memory.
const PART: usize = 100_000;
/// Acquire refuses the calls from this area.
const REFUSED: &str = "+1777";
const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);
const LIMIT: Duration = Duration::from_secs(60);

pub fn measure(calls: usize) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    over("SQLite", &file(&folder.path().join("bridge.db")), calls);
    let postgres = Postgres::start(&["fsync=on", "shared_buffers=256MB", "max_wal_size=4GB"]);
    over("PostgreSQL", &postgres.url("postgres"), calls);
}

/// An Acquire that refuses the calls of one area.
pub fn acquire() -> FakeAcquire {
    let refused = TextFault {
        text: REFUSED,
        reply: Reply::Invalid,
        delay: Duration::ZERO,
    };
    let faults = Faults {
        texts: vec![refused],
        ..Faults::default()
    };
    FakeAcquire::start(LISTEN, faults, Retain::Nothing).expect("a free port")
}

/// Sends calls from the numbers of 800 areas, and waits until they are delivered or parked.
pub fn fill(server: &Server, calls: usize) {
    for first in (0..calls).step_by(PART) {
        let requests = Requests::signed(PART.min(calls - first)).of_many_callers(first);
        Load::closed_loop(server.address, &requests, 64);
    }
    until_settled(server);
}

pub fn until_settled(server: &Server) {
    let is_settled =
        || page(server.admin, "GET", "/api/calls?state=pending", "").contains("\"calls\":[]");
    let until = Instant::now() + Duration::from_secs(1_800);
    while !is_settled() {
        assert!(Instant::now() < until, "all calls are delivered or parked");
        wait(Duration::from_secs(1));
    }
}

/// The path of a call's page.
fn path_of_a_call(server: &Server) -> String {
    let calls = page(server.admin, "GET", "/api/calls?limit=1", "");
    let calls: serde_json::Value = serde_json::from_str(&calls).expect("JSON");
    let sid = calls["calls"][0]["call_sid"].as_str().expect("a CallSid");
    format!("/calls/{sid}")
}

fn over(store: &str, database: &str, calls: usize) {
    let acquire = acquire();
    let acquire = acquire.addr().to_string();
    let a_call = {
        let server = Server::over(Mode::Bridge, database, &acquire, "30d");
        fill(&server, calls);
        path_of_a_call(&server)
    };
    let pages = PAGES.map(|(name, method, target, body)| {
        let target = if target == A_CALL { &a_call } else { target };
        (name, method, target, body)
    });
    let mut p99 = [Vec::new(), Vec::new()];
    let mut took: Vec<Vec<Duration>> = vec![Vec::new(); PAGES.len()];
    println!("| round | {store}, {calls} calls, {RATE}/s | answer p50 ms | p99 ms |");
    println!("| --- | --- | --- | --- |");
    for round in 1..=ROUNDS {
        for (with_pages, figures) in [false, true].into_iter().zip(&mut p99) {
            let server = Server::over(Mode::Bridge, database, &acquire, "30d");
            let admin = server.admin;
            let ended = AtomicBool::new(!with_pages);
            let load = std::thread::scope(|scope| {
                let pages = scope.spawn(|| {
                    for position in (0..PAGES.len()).cycle() {
                        if ended.load(Ordering::Relaxed) {
                            return;
                        }
                        let (_, method, target, body) = pages[position];
                        let started = Instant::now();
                        page(admin, method, target, body);
                        took[position].push(started.elapsed());
                        wait(BETWEEN_PAGES);
                    }
                });
                let first = calls + (round * 2 + usize::from(with_pages)) * RATE * SECONDS;
                let requests = Requests::signed(RATE * SECONDS).of_many_callers(first);
                let load = Load::fixed_rate(server.address, &requests, 64, RATE);
                ended.store(true, Ordering::Relaxed);
                pages.join().expect("each page was answered");
                load
            });
            let (p50, slowest) = (load.percentile(50), load.percentile(99));
            let what = if with_pages { "with pages" } else { "without" };
            println!("| {round} | {what} | {p50:.2} | {slowest:.2} |");
            figures.push(slowest);
        }
    }
    let [without, with] = p99.each_mut().map(|figures| super::median(figures));
    let mut table = format!(
        "\np99 of answers, medians: {without:.2} ms without, {with:.2} ms with pages: {:.2} (goal < 1.05)\n\n\
         | page, {store}, {calls} calls | p50 ms | p95 ms | goal |\n| --- | --- | --- | --- |\n",
        with / without
    );
    for ((name, ..), took) in PAGES.iter().zip(&mut took) {
        let (p50, p95) = (percentile(took, 50), percentile(took, 95));
        // Writing to a String cannot fail.
        let _ = writeln!(table, "| {name} | {p50:.1} | {p95:.1} | < 300 |");
    }
    println!("{table}");
}

/// Stands for the page of a stored call.
const A_CALL: &str = "/calls/{CallSid}";

/// Name, method, target and body of each page and search.
const PAGES: [(&str, &str, &str, &str); 13] = [
    ("Today", "GET", "/", ""),
    ("Calls", "GET", "/calls", ""),
    (
        "Calls: delivered, failed at Twilio",
        "GET",
        "/calls?state=delivered&status=failed",
        "",
    ),
    ("Call", "GET", A_CALL, ""),
    ("Parked", "GET", "/parked", ""),
    ("Refused", "GET", "/refused", ""),
    ("Operations", "GET", "/operations", ""),
    ("Audit", "GET", "/audit", ""),
    ("Report", "GET", "/report", ""),
    (
        "Search by number",
        "POST",
        "/api/calls/search",
        r#"{"address":"+13015550165"}"#,
    ),
    (
        "Search by last digits",
        "POST",
        "/api/calls/search",
        r#"{"address":"0165"}"#,
    ),
    (
        "Search for a number without calls",
        "POST",
        "/api/calls/search",
        r#"{"address":"+12025550123"}"#,
    ),
    ("Status", "GET", "/api/status", ""),
];

pub fn page(admin: SocketAddr, method: &str, target: &str, body: &str) -> String {
    let request = format!(
        "{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAccept: {}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        if target.starts_with("/api") {
            "*/*"
        } else {
            "text/html"
        },
        body.len()
    );
    let answer = send_within(LIMIT, admin, request.as_bytes());
    assert!(
        matches!(answer.status, 200 | 202 | 303),
        "{target}: {} {}",
        answer.status,
        answer.body
    );
    answer.body
}
