//! What a comparison with Twilio's own records costs: a pass over many listed calls of which 1 % are
//! missing, alone and beside callbacks at a fixed rate.

use std::io::BufRead as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};
use twilio_acquire_bridge::clock::{Clock, Millis};
use twilio_acquire_bridge::debugging::fake_acquire::{FakeAcquire, Faults, Retain};
use twilio_acquire_bridge::debugging::fake_twilio_api::{FakeCall, FakeTwilioApi};
use twilio_acquire_bridge::store::Store as _;

use super::load::{Load, Requests};
use super::servers::{Mode, Server, file, print_line};
use super::size::{GROUP, callback, deliver_all, in_store, wait};
use super::support::http::send_within;

/// The argument of the child process that is the fake Twilio.
pub const TWILIO: &str = "twilio";

const ACCOUNT: &str = "AC00000000000000000000000000000001";
/// One call in so many is missing.
const MISSING: usize = 100;
const ROUNDS: usize = 3;
const RATE: usize = 1_000;
const SECONDS: usize = 35;
/// The limit for a pass.
const PASS_LIMIT: Duration = Duration::from_secs(600);
/// Twilio takes about a second for a page of 1,000 calls.
const PAGE_TAKES: Duration = Duration::from_millis(200);
const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

pub fn measure(calls: usize) {
    let first = Clock::system().now().minus(Duration::from_secs(6 * 3_600));
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let full = folder.path().join("full.db");
    in_store(&full, async |store| {
        let kept: Vec<usize> = (0..calls).filter(|call| call % MISSING != 0).collect();
        for group in kept.chunks(GROUP) {
            let recorded = group.iter().map(|&call| {
                let at = ended(first, call, calls);
                store.record(callback(&form(call)), at)
            });
            for recorded in join_all(recorded).await {
                recorded.expect("the disk has room");
            }
        }
        deliver_all(&store).await;
    });
    alone(calls, first, &full);
    beside_callbacks(calls, first, &full);
}

fn alone(calls: usize, first: Millis, full: &Path) {
    let twilio = Twilio::start(calls, first, Duration::ZERO);
    let bridge = Bridge::over(full, &twilio);
    let (memory, cpu) = (bridge.server.peak_mebibytes(), bridge.server.cpu_seconds());
    let started = Instant::now();
    let report = reconciles(bridge.server.admin, first);
    let took = started.elapsed().as_secs_f64();
    assert_eq!(report["imported"]["listed"], calls / MISSING, "{report:#}");
    println!("| a pass over {calls} listed calls | measured | goal |");
    println!("| --- | --- | --- |");
    println!("| missing and imported | {} | - |", calls / MISSING);
    println!("| requests to Twilio | {} | - |", report["requests"]);
    println!("| time, if Twilio answers at once | {took:.1} s | - |");
    let cpu = bridge.server.cpu_seconds() - cpu;
    println!("| CPU of the bridge, deliveries included | {cpu:.1} s | - |");
    println!(
        "| peak memory of the bridge, before / after | {memory:.0} / {:.0} MiB | < 100 MiB |",
        bridge.server.peak_mebibytes()
    );
    println!();
}

/// Rounds without and with a pass, in turn: the machine's speed changes from minute to minute.
fn beside_callbacks(calls: usize, first: Millis, full: &Path) {
    let twilio = Twilio::start(calls, first, PAGE_TAKES);
    println!("| round | at {RATE}/s for {SECONDS} s | p50 ms | p99 ms | pass took s |");
    println!("| --- | --- | --- | --- | --- |");
    let mut medians = [Vec::new(), Vec::new()];
    for round in 1..=ROUNDS {
        for (has_pass, figures) in [false, true].into_iter().zip(&mut medians) {
            let bridge = Bridge::over(full, &twilio);
            let admin = bridge.server.admin;
            wait(Duration::from_secs(1));
            let pass = has_pass.then(|| {
                std::thread::spawn(move || {
                    let started = Instant::now();
                    reconciles(admin, first);
                    started.elapsed().as_secs_f64()
                })
            });
            let requests = Requests::signed(RATE * SECONDS).terminal_only();
            let load = Load::fixed_rate(bridge.server.address, &requests, 64, RATE);
            let took = pass.map(|pass| pass.join().expect("a report"));
            let (what, took) = match took {
                Some(took) => ("with a pass", format!("{took:.1}")),
                None => ("without", "-".to_owned()),
            };
            let (p50, p99) = (load.percentile(50), load.percentile(99));
            println!("| {round} | {what} | {p50:.2} | {p99:.2} | {took} |");
            figures.push(p99);
        }
    }
    let [without, with] = medians.each_mut().map(|figures| super::median(figures));
    println!();
    println!(
        "| p99 of answers, median of {ROUNDS} rounds | without | with a pass | ratio | goal |"
    );
    println!("| --- | --- | --- | --- | --- |");
    println!(
        "| | {without:.2} ms | {with:.2} ms | {:.2} | < 1.05 |",
        with / without
    );
}

/// A bridge over a copy of the store, with an Acquire that takes everything.
struct Bridge {
    server: Server,
    _acquire: FakeAcquire,
    _folder: tempfile::TempDir,
}

impl Bridge {
    fn over(full: &Path, twilio: &Twilio) -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let database = folder.path().join("bridge.db");
        std::fs::copy(full, &database).expect("a copy");
        let acquire =
            FakeAcquire::start(LISTEN, Faults::default(), Retain::Nothing).expect("a free port");
        let settings = [
            ("BRIDGE__TWILIO__API_URL", twilio.url.as_str()),
            ("BRIDGE__TWILIO__MONITOR_URL", &twilio.url),
            (
                "BRIDGE__TWILIO__API_KEY_SID",
                "SK00000000000000000000000000000001",
            ),
            ("BRIDGE__TWILIO__API_KEY_SECRET", "made-up-secret"),
            ("TWILIO_ACCOUNT_SID", ACCOUNT),
        ];
        let address = acquire.addr().to_string();
        let server = Server::with(Mode::Bridge, &file(&database), &address, "30d", &settings);
        Self {
            server,
            _acquire: acquire,
            _folder: folder,
        }
    }
}

fn reconciles(admin: SocketAddr, from: Millis) -> Value {
    let order = json!({
        "from": from.minus(Duration::from_secs(60)).to_string(), "until": null, "account": null, "calls": [],
        "mode": "Import", "held": "Keep",
    });
    let body = order.to_string();
    let request = format!(
        "POST /api/reconcile HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = send_within(PASS_LIMIT, admin, request.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()["accounts"][0].take()
}

/// Real SIDs are random.
fn sid(call: usize) -> String {
    let mixed = (call as u64)
        .wrapping_add(1)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!("CA{mixed:016x}{call:016x}")
}

/// All calls ended within five hours, and the last of them an hour ago.
fn ended(first: Millis, call: usize, calls: usize) -> Millis {
    first.plus(Duration::from_secs(5 * 3_600 - 300).mul_f64(call as f64 / calls as f64))
}

fn form(call: usize) -> String {
    format!(
        "CallSid={}&AccountSid={ACCOUNT}&CallStatus=completed&CallDuration=60&Direction=inbound\
         &From=%2B12025550123&To=%2B12025550199&CallbackSource=call-progress-events",
        sid(call)
    )
}

/// A fake Twilio in a process of its own.
struct Twilio {
    url: String,
    child: Child,
}

impl Twilio {
    fn start(calls: usize, first: Millis, delay: Duration) -> Self {
        let myself = std::env::current_exe().expect("this program");
        let numbers = [
            calls.to_string(),
            first.0.to_string(),
            delay.as_millis().to_string(),
        ];
        let mut child = Command::new(myself)
            .args([TWILIO.to_owned()].iter().chain(&numbers))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a child process");
        let mut url = String::new();
        let stdout = child.stdout.take().expect("a pipe");
        std::io::BufReader::new(stdout)
            .read_line(&mut url)
            .expect("a line with the URL");
        Self {
            url: url.trim().to_owned(),
            child,
        }
    }
}

impl Drop for Twilio {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The child: lists the calls until its parent is gone.
pub fn serve_twilio(mut arguments: impl Iterator<Item = String>) {
    let mut number = || {
        let argument = arguments.next().expect("calls, first end and delay");
        argument.parse::<i64>().expect("a number")
    };
    let calls = usize::try_from(number()).expect("a count");
    let (first, delay) = (Millis(number()), number().unsigned_abs());
    let api = FakeTwilioApi::start(LISTEN, Clock::system()).expect("a free port");
    api.with(|records| {
        records.delay = Duration::from_millis(delay);
        records.calls.extend(
            (0..calls)
                .map(|call| FakeCall::completed(&sid(call), ACCOUNT, ended(first, call, calls))),
        );
    });
    print_line(&api.base_url());
    let _ = std::io::stdin().lock().read_line(&mut String::new());
}
