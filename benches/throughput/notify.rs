//! The lag of calls with a receiver of notifications that never answers, and without one, in one run.

use std::net::TcpListener;
use std::time::Duration;

use twilio_acquire_bridge::twilio::signature::{Body, SigningKey, fields, sign};

use super::load::{Load, PATH, Requests, TOKEN, percentile};
use super::servers::{Mode, Server, file};
use super::sink::ArrivalSink;
use super::support::http::exchange;
use super::{CONNECTIONS, ROUNDS};

const FIXED_RATE: usize = 1_000;
const FIXED_SECONDS: usize = 20;

pub fn measure() {
    println!("| round | receiver | requests to it | lag p50 / p99 |");
    println!("| --- | --- | --- | --- |");
    for round in 1..=ROUNDS {
        lag(round, None);
        lag(round, Some(&Hanging::start()));
    }
}

/// Accepts connections, and never answers.
struct Hanging {
    url: String,
    connections: std::sync::mpsc::Receiver<std::net::TcpStream>,
}

impl Hanging {
    fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (opened, connections) = std::sync::mpsc::channel();
        // The thread ends when a connection comes after the measurement.
        std::thread::spawn(move || {
            listener
                .incoming()
                .flatten()
                .try_for_each(|of| opened.send(of))
        });
        Self { url, connections }
    }
}

fn lag(round: usize, receiver: Option<&Hanging>) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let path = folder.path().join("bridge.toml");
    let url = receiver.map(|of| &of.url);
    let lines = url.map(|url| format!("[[notify]]\nurl = \"{url}\"\nkind = \"slack\"\n"));
    std::fs::write(&path, lines.unwrap_or_default()).expect("a file");
    let calls = FIXED_RATE * FIXED_SECONDS;
    let requests = Requests::signed(calls).terminal_only();
    let sink = ArrivalSink::start(calls);
    let database = file(&folder.path().join("bridge.db"));
    let config = path.display().to_string();
    let settings = [("BRIDGE_CONFIG", &*config)];
    let acquire = sink.address.to_string();
    let server = Server::with(Mode::Bridge, &database, &acquire, "30d", &settings);
    // A request that Twilio signed for another URL: a condition that makes a message.
    let form = requests.body(0);
    let url = format!("http://bridge.example.com{PATH}");
    let key = SigningKey::auth_token(TOKEN);
    let signature = sign(&key, &url, Body::Form(&fields(form.as_bytes())));
    let headers = [
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("X-Twilio-Signature", &*signature),
    ];
    let refused = exchange(server.address, "POST", PATH, &headers, form.as_bytes());
    assert_eq!(refused.status, 403);
    let first = receiver.map(|of| {
        let first = of.connections.recv_timeout(Duration::from_secs(30));
        first.expect("a message is sent")
    });
    let load = Load::fixed_rate(server.address, &requests, CONNECTIONS, FIXED_RATE);
    sink.wait_for(calls, Duration::from_secs(60));
    let mut lags = sink.lags(&load.answered);
    let (name, sent) = match (receiver, first) {
        (Some(of), Some(_open)) => ("hangs", 1 + of.connections.try_iter().count()),
        _ => ("none", 0),
    };
    println!(
        "| {round} | {name} | {sent} | {:.2} / {:.2} ms |",
        percentile(&mut lags, 50),
        percentile(&mut lags, 99)
    );
}
