//! A fake Twilio for load: makes calls, signs their callbacks and sends them.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};
use twilio_acquire_bridge::twilio::signature::{Body, SigningKey, fields, sign};

use super::real::pause;

pub const TOKEN: &str = "0123456789abcdef0123456789abcdef";
pub const PUBLIC_URL: &str = "https://bridge.example.com";
pub const ACCOUNT: &str = "AC00000000000000000000000000000001";
const STATUS: &str = "/twilio/voice/status";

/// As long as Twilio waits.
const TIMEOUT: Duration = Duration::from_secs(15);

/// A call that has ended: the form that Twilio sends, and the request that Acquire must receive.
#[derive(Clone, Debug)]
pub struct Call {
    pub sid: String,
    pub form: String,
    pub expected: Value,
}

impl Call {
    /// The `number`th call of a run; the same for the same seed.
    pub fn new(seed: u64, number: u64) -> Self {
        let mut chance =
            fastrand::Rng::with_seed(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let sid = format!("CA{:032x}", chance.u128(..));
        let status = ["completed", "busy", "no-answer", "failed", "canceled"][chance.usize(..5)];
        let (direction, sent_as) =
            [("inbound", "incoming"), ("outbound-api", "outgoing")][chance.usize(..2)];
        let (from, to) = (chance.u32(100..200), chance.u32(100..200));
        let duration = chance.u32(..3600);
        Self {
            form: format!(
                "CallSid={sid}&AccountSid={ACCOUNT}&CallStatus={status}\
                 &From=%2B12025550{from}&To=%2B12025550{to}&Direction={direction}\
                 &CallDuration={duration}&CallbackSource=call-progress-events&SequenceNumber=0"
            ),
            expected: json!({
                "From": format!("+12025550{from}"),
                "To": format!("+12025550{to}"),
                "CallId": sid,
                "CallStatus": status,
                "Duration": duration.to_string(),
                "Direction": sent_as,
            }),
            sid,
        }
    }

    /// The signed request; `connection` is the header's value.
    pub fn request(&self, connection: &str) -> Vec<u8> {
        let url = format!("{PUBLIC_URL}{STATUS}");
        let body = self.form.as_bytes();
        let signature = sign(
            &SigningKey::auth_token(TOKEN),
            &url,
            Body::Form(&fields(body)),
        );
        let head = format!(
            "POST {STATUS} HTTP/1.1\r\nHost: bridge.example.com\r\nConnection: {connection}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\
             X-Twilio-Signature: {signature}\r\n\r\n",
            body.len()
        );
        [head.as_bytes(), body].concat()
    }
}

/// Sends a call's callback on a connection of its own; the status of the answer, if one came.
pub fn send(bridge: SocketAddr, call: &Call) -> io::Result<u16> {
    let (status, _) = exchange(bridge, &call.request("close"))?;
    Ok(status)
}

/// As [`send`], by a client that is slow: silent for `wait` once connected, and again in mid-body.
pub fn send_slowly(bridge: SocketAddr, call: &Call, wait: Duration) -> io::Result<u16> {
    let request = call.request("close");
    let (first, second) = request.split_at(request.len() - 20);
    let mut stream = connect(bridge)?;
    for part in [first, second] {
        pause(wait);
        stream.write_all(part)?;
    }
    let (status, _) = answer(stream)?;
    Ok(status)
}

/// Sends a request to the admin listener.
pub fn ask(admin: SocketAddr, path: &str) -> io::Result<(u16, String)> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    exchange(admin, request.as_bytes())
}

fn exchange(address: SocketAddr, request: &[u8]) -> io::Result<(u16, String)> {
    let mut stream = connect(address)?;
    stream.write_all(request)?;
    answer(stream)
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    Ok(stream)
}

fn answer(mut stream: TcpStream) -> io::Result<(u16, String)> {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let cut_off = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(cut_off)?;
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    Ok((status.ok_or_else(cut_off)?, body.to_owned()))
}
