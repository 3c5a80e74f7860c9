//! The bridge posts a callback of its own to its public URL.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use super::*;
use crate::support::harness::until;

const SUCCESS: &str = "bridge_canary_last_success_timestamp_seconds";

/// A balancer in front of the bridge: the port is known before the bridge has one.
struct Balancer {
    url: String,
    /// 0: none.
    target: Arc<AtomicU16>,
}

impl Balancer {
    fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let target = Arc::new(AtomicU16::new(0));
        let shared = Arc::clone(&target);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let port = shared.load(Ordering::SeqCst);
                std::thread::spawn(move || forward(&client, port));
            }
        });
        Self { url, target }
    }
}

fn forward(client: &TcpStream, port: u16) -> Option<()> {
    let mut server = TcpStream::connect(("127.0.0.1", port)).ok()?;
    let (mut from, mut to) = (client.try_clone().ok()?, server.try_clone().ok()?);
    std::thread::spawn(move || std::io::copy(&mut from, &mut to));
    std::io::copy(&mut server, &mut &*client).ok().map(|_| ())
}

/// Answers each request with this status.
fn other_server(status: u16) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let mut head = [0; 4096];
            let _ = client.read(&mut head);
            let answer =
                format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            let _ = client.write_all(answer.as_bytes());
        }
    });
    port
}

fn world(balancer: &Balancer) -> World {
    World::with(&[
        ("BRIDGE__SERVER__PUBLIC_URL", balancer.url.as_str()),
        ("BRIDGE__CANARY__EVERY", "5m"),
    ])
}

fn failures(world: &World, reason: &str) -> f64 {
    let line = format!("bridge_canary_failures_total{{reason=\"{reason}\"}}");
    world.bridge.metric(&line).expect("the series exists")
}

#[test]
fn a_canary_that_comes_back_reaches_neither_acquire_nor_the_list_of_calls() {
    let balancer = Balancer::start();
    let world = world(&balancer);
    balancer
        .target
        .store(world.bridge.public().port(), Ordering::SeqCst);
    until("a canary came back", || {
        world.waits(6 * MINUTE);
        world.bridge.metric(SUCCESS) > Some(0.0)
    });
    assert_eq!(world.bridge.sent(), Vec::<Value>::new());
    let listed = world.bridge.admin("GET", "/api/calls", &[]).json();
    assert_eq!(listed["calls"], json!([]));
    assert!(failures(&world, "signature") < 1.0);
}

#[test]
fn the_reasons_of_a_canary_that_does_not_come_back_are_distinguished() {
    for (status, reason) in [(204, "elsewhere"), (403, "signature"), (502, "status")] {
        let balancer = Balancer::start();
        balancer
            .target
            .store(other_server(status), Ordering::SeqCst);
        let world = world(&balancer);
        until(reason, || {
            world.waits(6 * MINUTE);
            failures(&world, reason) > 0.0
        });
        assert_eq!(world.bridge.metric(SUCCESS), Some(0.0));
    }
}

#[test]
fn only_a_sid_that_was_noted_before_is_a_canary() {
    let world = World::start();
    let sid = format!("CAcafe0000{:024x}", 7);
    assert_eq!(world.bridge.twilio.ends(&sid, "completed").status, 204);
    world.bridge.settles();
    assert_eq!(world.bridge.sent()[0]["CallId"], sid.as_str());
}
