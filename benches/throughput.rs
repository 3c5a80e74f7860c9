//! The throughput of a bridge, as a ratio to a ceiling: the same handler, verifying and answering 204
//! without keeping anything. Run by `benches/run`; see docs/benchmarks.md for how to read it.
//!
//! The servers are children of this process, one at a time, and the load comes from one thread of
//! this process over real sockets. Every request is a new, signed `CallSid`.
#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "figures for readers, far below 2^52"
)]

#[path = "throughput/desk.rs"]
mod desk;
#[path = "throughput/erase.rs"]
mod erase;
#[path = "throughput/fixed.rs"]
mod fixed;
#[path = "throughput/growth.rs"]
mod growth;
#[path = "throughput/load.rs"]
mod load;
#[path = "throughput/notify.rs"]
mod notify;
#[path = "throughput/reconcile.rs"]
mod reconcile;
#[path = "throughput/servers.rs"]
mod servers;
#[path = "throughput/sink.rs"]
mod sink;
#[path = "throughput/size.rs"]
mod size;
#[path = "../tests/support/mod.rs"]
#[expect(dead_code, reason = "tests use the rest of it")]
mod support;

use std::net::SocketAddr;
use std::time::Duration;

use load::{Load, Requests};
use servers::{Mode, Server};
use sink::ArrivalSink;

const CONNECTIONS: usize = 64;
const ROUNDS: usize = 3;
/// Calls of a closed-loop round; fits in a few seconds at the rates seen.
const CALLS: usize = 200_000;

fn main() {
    let mut arguments = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .peekable();
    let first = arguments.next();
    // A mode alone is a figure's name.
    if let Some(mode) = first.as_deref().and_then(Mode::parse)
        && arguments.peek().is_some()
    {
        return servers::serve(mode, arguments);
    }
    if first.as_deref() == Some(reconcile::TWILIO) {
        return reconcile::serve_twilio(arguments);
    }
    let mut number = |default: usize| {
        let given = arguments.next();
        given.map_or(default, |calls| calls.parse().expect("a number"))
    };
    match first.as_deref() {
        Some("desk") => return desk::measure(number(1_000_000)),
        Some("erase") => return erase::measure(number(1_000_000)),
        Some("size") => return size::measure(number(1_000_000)),
        Some("reconcile") => return reconcile::measure(number(100_000)),
        Some("notify") => return notify::measure(),
        Some("fixed") => return fixed::measure(Some(number(0)).filter(|rate| *rate > 0)),
        Some("growth") => return growth::measure(arguments),
        _ => {}
    }
    // A part of the name of one figure, to measure it alone.
    let is_wanted = |figure: &str| first.as_deref().is_none_or(|part| figure.contains(part));
    println!(
        "| round | figure | per second | p50 ms | p99 ms | server CPU s/1,000 | load CPU s/1,000 |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    let mut rates: Vec<Vec<f64>> = vec![Vec::new(); FIGURES.len()];
    for round in 1..=ROUNDS {
        for ((name, _, measure), rates) in FIGURES.iter().zip(&mut rates) {
            if is_wanted(name) {
                rates.push(measure(round));
            }
        }
    }
    println!();
    println!("| figure | median per second | ratio to the ceiling | goal |");
    println!("| --- | --- | --- | --- |");
    let ceiling = median(&mut rates[0]);
    for ((name, goal, _), rates) in FIGURES.iter().zip(&mut rates) {
        let rate = median(rates);
        println!("| {name} | {rate:.0} | {:.2} | {goal} |", rate / ceiling);
    }
    println!();
    if first.is_none() {
        fixed::measure(None);
    }
}

type Figure = (&'static str, &'static str, fn(usize) -> f64);

const FIGURES: [Figure; 5] = [
    ("ceiling", "-", |round| {
        closed_loop(round, "ceiling", &Server::start(Mode::Ceiling, None))
    }),
    ("durable accepts", "0.5", |round| {
        closed_loop(round, "durable accepts", &Server::start(Mode::Accept, None))
    }),
    ("durable accepts on PostgreSQL", "0.25", |round| {
        let server = Server::on_postgres(Mode::Accept, None);
        closed_loop(round, "durable accepts on PostgreSQL", &server)
    }),
    ("accept, plan, send, settle", "0.2", |round| {
        whole_way(round, "accept, plan, send, settle", Server::start)
    }),
    ("accept, plan, send, settle on PostgreSQL", "-", |round| {
        let name = "accept, plan, send, settle on PostgreSQL";
        whole_way(round, name, Server::on_postgres)
    }),
];

/// As many as 64 connections get answered; each server starts with an empty store.
fn closed_loop(round: usize, name: &str, server: &Server) -> f64 {
    let requests = Requests::signed(CALLS);
    let load = Load::closed_loop(server.address, &requests, CONNECTIONS);
    let cpu = server.cpu_seconds();
    report(round, name, &load, cpu);
    if server.mode == Mode::Accept {
        assert_eq!(
            Ok(server.calls_seen()),
            i64::try_from(CALLS),
            "every 204 has its row, and no more"
        );
    }
    load.per_second()
}

/// The clock runs from the first request until the last call has arrived at the sink.
fn whole_way(round: usize, name: &str, start: fn(Mode, Option<SocketAddr>) -> Server) -> f64 {
    let requests = Requests::signed(CALLS).terminal_only();
    let sink = ArrivalSink::start(CALLS);
    let server = start(Mode::Bridge, Some(sink.address));
    let mut load = Load::closed_loop(server.address, &requests, CONNECTIONS);
    let last = sink.wait_for(CALLS, Duration::from_secs(120));
    load.took = last.duration_since(load.started);
    let cpu = server.cpu_seconds();
    report(round, name, &load, cpu);
    load.per_second()
}

fn report(round: usize, name: &str, load: &Load, server_cpu: f64) {
    let per_thousand = 1_000.0 / load.answered.len() as f64;
    println!(
        "| {round} | {name} | {:.0} | {:.2} | {:.2} | {:.4} | {:.4} |",
        load.per_second(),
        load.percentile(50),
        load.percentile(99),
        server_cpu * per_thousand,
        load.cpu * per_thousand,
    );
}

fn median(rates: &mut [f64]) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied().unwrap_or(f64::NAN)
}
