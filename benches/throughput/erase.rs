//! How long the erasure of one person takes beside many stored calls, what is left of the number in the
//! files, and what it costs the answers to callbacks.

use std::fs::File;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::desk::{acquire, fill, page, until_settled};
use super::load::{Load, Requests};
use super::servers::{Mode, Server, file};
use super::size::wait;
use super::support::postgres_server::Server as Postgres;

const ROUNDS: usize = 3;
const RATE: usize = 200;
const SECONDS: usize = 60;
/// Calls that are sent with the numbers of each area to erase from.
const CALLS_OF_AREA: usize = 1_000;
/// One for each round; no other call has a number of these.
const FIRST_AREA: usize = 101;
/// A number of the fixture, without its area.
const NUMBER: &str = "5550165";
const PART: usize = 1 << 20;
const LIMIT: Duration = Duration::from_secs(1_800);

pub fn measure(calls: usize) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let database = file(&folder.path().join("bridge.db"));
    beside("SQLite", &database, folder.path(), calls);
    let postgres = Postgres::start(&["fsync=on", "shared_buffers=256MB", "max_wal_size=4GB"]);
    let data = postgres.folder().join("data");
    beside("PostgreSQL", &postgres.url("postgres"), &data, calls);
}

fn beside(store: &str, database: &str, folder: &Path, calls: usize) {
    let acquire = acquire();
    let acquire = acquire.addr().to_string();
    let server = Server::over(Mode::Bridge, database, &acquire, "30d");
    fill(&server, calls);
    for round in 0..ROUNDS {
        let first = calls + round * CALLS_OF_AREA;
        let requests = Requests::signed(CALLS_OF_AREA).of_area(FIRST_AREA + round, first);
        Load::closed_loop(server.address, &requests, 64);
    }
    until_settled(&server);
    let (mut without, mut with) = (Vec::new(), Vec::new());
    let mut first = calls + ROUNDS * CALLS_OF_AREA;
    let mut load = || {
        let requests = Requests::signed(RATE * SECONDS).of_many_callers(first);
        first += RATE * SECONDS;
        Load::fixed_rate(server.address, &requests, 64, RATE).percentile(99)
    };
    println!(
        "| round | {store}, {calls} calls, {RATE}/s | calls erased | s | copies before | copies left | \
         p99 without ms | with ms |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    for round in 0..ROUNDS {
        let number = format!("{}{NUMBER}", FIRST_AREA + round);
        let before = copies(folder, number.as_bytes());
        let p99_without = load();
        let admin = server.admin;
        let (p99_with, (erased, took)) = std::thread::scope(|scope| {
            let erasure = scope.spawn(|| erase(admin, &number));
            (load(), erasure.join().expect("it ended"))
        });
        let left = copies(folder, number.as_bytes());
        println!(
            "| {} | one person | {erased} | {:.1} | {before} | {left} | {p99_without:.2} | {p99_with:.2} |",
            round + 1,
            took.as_secs_f64()
        );
        without.push(p99_without);
        with.push(p99_with);
    }
    let (without, with) = (super::median(&mut without), super::median(&mut with));
    println!(
        "\np99 of answers, medians: {without:.2} ms without, {with:.2} ms beside an erasure: {:.2}\n",
        with / without
    );
}

/// Erases a number; the removed calls, and the time until the receipt.
fn erase(admin: SocketAddr, number: &str) -> (u64, Duration) {
    let order = json!({
        "kind": "erase", "filter": { "number": format!("+1{number}") }, "reason": "benchmark"
    });
    let started = Instant::now();
    let made = page(admin, "POST", "/api/operations", &order.to_string());
    let made: Value = serde_json::from_str(&made).expect("JSON");
    loop {
        let listed: Value =
            serde_json::from_str(&page(admin, "GET", "/api/operations", "")).expect("JSON");
        let mut all = listed["operations"].as_array().expect("a list").iter();
        let operation = all.find(|of| of["id"] == made["id"]).expect("it is listed");
        let receipt = &operation["receipt"];
        if !receipt.is_null() {
            let erased = receipt["removed"]["calls"].as_u64().expect("a number");
            return (erased, started.elapsed());
        }
        assert!(started.elapsed() < LIMIT, "it ends: {operation}");
        wait(Duration::from_millis(100));
    }
}

/// How often the text is in the files of a folder.
fn copies(folder: &Path, text: &[u8]) -> usize {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    let in_path = |path: std::path::PathBuf| {
        if path.is_dir() {
            return copies(&path, text);
        }
        // A server may remove a file meanwhile.
        File::open(path).map_or(0, |file| copies_in(file, text))
    };
    paths.map(in_path).sum()
}

fn copies_in(mut file: File, text: &[u8]) -> usize {
    let (mut part, mut found) = (Vec::new(), 0);
    loop {
        let read = file.by_ref().take(PART as u64).read_to_end(&mut part);
        if read.unwrap_or_default() == 0 {
            return found;
        }
        found += part.windows(text.len()).filter(|at| *at == text).count();
        // The end is searched with the next part, because a copy may lie over both.
        part.drain(..part.len().saturating_sub(text.len() - 1));
    }
}
