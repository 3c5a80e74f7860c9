//! Between the order to stop and the stopping: a balancer is to notice and to go elsewhere.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use crate::support::harness::{Bridge, WAIT_LIMIT};
use crate::support::http::send;
use crate::support::twilio::sid;

const ASK: &[u8] = b"GET /nothing HTTP/1.1\r\nHost: bridge.example.com\r\n\r\n";

#[test]
fn a_draining_bridge_is_not_ready_and_accepts_everything() {
    let drain = Duration::from_secs(10);
    let mut bridge = Bridge::with(&[("BRIDGE__SERVER__DRAIN", "10s")]);
    let public = bridge.public();
    let mut open = TcpStream::connect(public).expect("the bridge listens");
    let mut request = |answer: &mut String| {
        open.write_all(ASK).expect("it is open");
        let mut part = [0; 4096];
        let length = open.read(&mut part).expect("an answer");
        *answer = String::from_utf8_lossy(&part[..length]).to_lowercase();
        length
    };
    let mut answer = String::new();
    request(&mut answer);
    assert!(answer.starts_with("http/1.1 404"), "{answer}");
    assert!(!answer.contains("connection: close"), "{answer}");

    bridge.starts_to_stop();
    assert_eq!(bridge.admin("GET", "/readyz", &[]).status, 503);
    assert_eq!(bridge.admin("GET", "/livez", &[]).status, 200);
    request(&mut answer);
    assert!(answer.contains("connection: close"), "{answer}");
    assert_eq!(send(public, ASK).header("Connection"), Some("close"));
    assert_eq!(bridge.twilio.ends(&sid(1), "completed").status, 204);
    bridge.settles();
    assert_eq!(bridge.state(&sid(1)), "delivered");

    bridge.stops_after(drain);
    assert!(
        TcpStream::connect(public).is_err(),
        "the listener is closed"
    );
}

#[test]
fn a_client_that_has_connected_is_answered_by_a_bridge_that_stops() {
    let mut bridge = Bridge::start();
    let mut silent = TcpStream::connect(bridge.public()).expect("the bridge listens");
    // Accepted after the one before, so both are by now.
    bridge.twilio.ends(&sid(1), "completed");
    bridge.starts_to_stop();
    let moment = Some(Duration::from_millis(200));
    silent.set_read_timeout(moment).expect("a time limit");
    let hung_up = silent.read(&mut [0]);
    assert!(
        hung_up.is_err(),
        "nothing came, not even an end: {hung_up:?}"
    );
    silent
        .set_read_timeout(Some(WAIT_LIMIT))
        .expect("a time limit");
    silent.write_all(ASK).expect("it is open");
    let mut answer = String::new();
    silent.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    bridge.stops();
}
