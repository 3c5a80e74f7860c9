//! One HTTP exchange on a connection of its own.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::harness::WAIT_LIMIT;

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    head: String,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).expect("a JSON body")
    }
}

pub fn exchange(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let mut request = format!("{method} {target} HTTP/1.1\r\n");
    if headers.iter().all(|(name, _)| *name != "Host") {
        request.push_str("Host: bridge.example.com\r\n");
    }
    for (name, value) in headers {
        request.extend([name, ": ", value, "\r\n"]);
    }
    let length = body.len().to_string();
    request.extend(["Connection: close\r\nContent-Length: ", &length, "\r\n\r\n"]);
    let mut bytes = request.into_bytes();
    bytes.extend_from_slice(body);
    send(address, &bytes)
}

/// `GET` of the admin listener, under a name of its own.
pub fn ask_admin(address: SocketAddr, target: &str, headers: &[(&str, &str)]) -> Answer {
    let headers = [&[("Host", "localhost")], headers].concat();
    exchange(address, "GET", target, &headers, b"")
}

/// Sends bytes as they are and reads until the other side closes.
pub fn send(address: SocketAddr, bytes: &[u8]) -> Answer {
    send_within(WAIT_LIMIT, address, bytes)
}

/// As [`send`], with this limit for each read.
pub fn send_within(limit: Duration, address: SocketAddr, bytes: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).expect("the bridge listens");
    stream.set_read_timeout(Some(limit)).expect("a TCP socket");
    // A refusal may come, and the connection be closed, before all is sent.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").expect("an HTTP answer");
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|text| text.parse().ok())
        .expect("a status");
    Answer {
        status,
        head: head.to_owned(),
        body: body.to_owned(),
    }
}
