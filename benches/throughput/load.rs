//! A lean load generator: one thread, requests signed beforehand, answers read no further than
//! their status.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use twilio_acquire_bridge::twilio::signature::{Body, SigningKey, fields, sign};

pub const TOKEN: &str = "0123456789abcdef0123456789abcdef";
pub const PUBLIC_URL: &str = "https://bridge.example.com";
pub const PATH: &str = "/twilio/voice/status";

/// Requests as bytes, each with a `CallSid` that names its position.
pub struct Requests {
    bodies: Vec<String>,
    count: usize,
    first: usize,
    areas: Areas,
    vary: Option<Vary>,
}

/// Of the numbers in the requests.
#[derive(Clone, Copy)]
enum Areas {
    OfFixture,
    Many,
    One(usize),
}

/// Changes the form of a position.
type Vary = Box<dyn Fn(usize, String) -> String>;

impl Requests {
    pub fn signed(count: usize) -> Self {
        // Child legs would join calls; here every request is a call of its own.
        let bodies = include_str!("../../fixtures/load/bodies.txt")
            .lines()
            .filter(|body| !body.contains("ParentCallSid"))
            .map(str::to_owned)
            .collect();
        Self {
            bodies,
            count,
            first: 0,
            areas: Areas::OfFixture,
            vary: None,
        }
    }

    /// With SIDs from this position on, and changed forms.
    pub fn varied(self, first: usize, vary: impl Fn(usize, String) -> String + 'static) -> Self {
        Self {
            first,
            vary: Some(Box::new(vary)),
            ..self
        }
    }

    /// Ended calls from the numbers of 800 areas, with SIDs from this position on.
    pub fn of_many_callers(self, first: usize) -> Self {
        Self {
            first,
            areas: Areas::Many,
            ..self.terminal_only()
        }
    }

    /// Ended calls between numbers of one area, which is below 200 if no other call may have them.
    pub fn of_area(self, area: usize, first: usize) -> Self {
        Self {
            first,
            areas: Areas::One(area),
            ..self.terminal_only()
        }
    }

    /// Only calls that have ended, so that each needs one call-end.
    pub fn terminal_only(mut self) -> Self {
        let live = ["queued", "initiated", "ringing", "in-progress"];
        self.bodies.retain(|body| {
            !live
                .iter()
                .any(|status| body.contains(&format!("CallStatus={status}")))
                && !body.contains("&To=&")
        });
        self
    }

    /// Distinct from those of other processes.
    pub fn body(&self, position: usize) -> String {
        let position = self.first + position;
        let body = &self.bodies[position % self.bodies.len()];
        let body = with_sid(body, position);
        if let Some(vary) = &self.vary {
            return vary(position, body);
        }
        let area = match self.areas {
            Areas::OfFixture => return body,
            Areas::Many => 200 + position % 800,
            Areas::One(area) => area,
        };
        let mut pieces = body.split("=%2B1");
        let mut varied = pieces.next().unwrap_or_default().to_owned();
        for piece in pieces {
            varied.extend(["=%2B1", &area.to_string(), &piece[3..]]);
        }
        varied
    }

    fn build(&self) -> Vec<Vec<u8>> {
        let key = SigningKey::auth_token(TOKEN);
        let url = format!("{PUBLIC_URL}{PATH}");
        (0..self.count)
            .map(|position| {
                let body = self.body(position);
                let signature = sign(&key, &url, Body::Form(&fields(body.as_bytes())));
                format!(
                    "POST {PATH} HTTP/1.1\r\nHost: bridge.example.com\r\n\
                     Content-Type: application/x-www-form-urlencoded; charset=UTF-8\r\n\
                     X-Twilio-Signature: {signature}\r\nUser-Agent: TwilioProxy/1.1\r\n\
                     Accept: */*\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                )
                .into_bytes()
            })
            .collect()
    }
}

fn with_sid(body: &str, position: usize) -> String {
    let at = body.find("CallSid=CA").expect("a CallSid in every body") + "CallSid=".len();
    format!("{}{}{}", &body[..at], call_sid(position), &body[at + 34..])
}

/// SIDs of real calls are random, so the position is scattered over the index by a mixed prefix.
pub fn call_sid(position: usize) -> String {
    let mixed = (position as u64)
        .wrapping_add(1)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!("CA{mixed:016x}{:08x}{position:08x}", std::process::id())
}

/// What a run of requests met.
pub struct Load {
    pub started: Instant,
    pub took: Duration,
    /// By position, when the 204 came.
    pub answered: Vec<Instant>,
    latencies: std::cell::RefCell<Vec<Duration>>,
    /// CPU seconds of this process, sink included.
    pub cpu: f64,
}

impl Load {
    /// As many requests as `connections` get answered, from one thread.
    pub fn closed_loop(address: SocketAddr, requests: &Requests, connections: usize) -> Self {
        let requests = Rc::new(requests.build());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let local = tokio::task::LocalSet::new();
        Self::of(requests.len(), |_| {
            local.block_on(&runtime, async {
                let next = Rc::new(std::cell::Cell::new(0));
                let mut tasks = tokio::task::JoinSet::new();
                for _ in 0..connections {
                    let requests = Rc::clone(&requests);
                    tasks.spawn_local(connection(address, requests, Rc::clone(&next)));
                }
                tasks.join_all().await.into_iter().flatten().collect()
            })
        })
    }

    /// Each request at its own planned time, whatever the answers do: a thread for each connection, since
    /// timers of tokio have steps of a millisecond.
    pub fn fixed_rate(
        address: SocketAddr,
        requests: &Requests,
        connections: usize,
        per_second: usize,
    ) -> Self {
        let requests = requests.build();
        let next = AtomicUsize::new(0);
        Self::of(requests.len(), |started| {
            let send = || planned_connection(address, &requests, &next, started, per_second);
            std::thread::scope(|scope| {
                let threads: Vec<_> = (0..connections).map(|_| scope.spawn(send)).collect();
                let answers = threads.into_iter().map(std::thread::ScopedJoinHandle::join);
                answers
                    .flat_map(|answers| answers.expect("the server answers"))
                    .collect()
            })
        })
    }

    fn of(requests: usize, send: impl FnOnce(Instant) -> Vec<Answer>) -> Self {
        let cpu_before = super::servers::cpu_seconds("self");
        let started = Instant::now();
        let mut answers = send(started);
        let took = started.elapsed();
        answers.sort_by_key(|(position, ..)| *position);
        assert_eq!(answers.len(), requests, "every request was answered 204");
        Self {
            started,
            took,
            answered: answers.iter().map(|(_, at, _)| *at).collect(),
            latencies: answers
                .iter()
                .map(|(.., latency)| *latency)
                .collect::<Vec<_>>()
                .into(),
            cpu: super::servers::cpu_seconds("self") - cpu_before,
        }
    }

    pub fn per_second(&self) -> f64 {
        self.answered.len() as f64 / self.took.as_secs_f64()
    }

    /// Milliseconds; from the planned time at a fixed rate, so that waiting is not left out.
    pub fn percentile(&self, percent: usize) -> f64 {
        percentile(&mut self.latencies.borrow_mut(), percent)
    }
}

pub fn percentile(durations: &mut [Duration], percent: usize) -> f64 {
    durations.sort_unstable();
    durations[(durations.len() - 1) * percent / 100].as_secs_f64() * 1_000.0
}

/// Position, time of the answer, and latency.
type Answer = (usize, Instant, Duration);

async fn connection(
    address: SocketAddr,
    requests: Rc<Vec<Vec<u8>>>,
    next: Rc<std::cell::Cell<usize>>,
) -> Vec<Answer> {
    let mut stream = TcpStream::connect(address)
        .await
        .expect("the server listens");
    stream.set_nodelay(true).expect("a TCP socket");
    let mut answers = Vec::new();
    let mut answer = [0_u8; 1024];
    loop {
        let position = next.replace(next.get() + 1);
        let Some(request) = requests.get(position) else {
            return answers;
        };
        let sent = Instant::now();
        stream.write_all(request).await.expect("the server reads");
        let mut length = 0;
        while !answer[..length].ends_with(b"\r\n\r\n") {
            length += stream
                .read(&mut answer[length..])
                .await
                .expect("the server answers");
        }
        answers.push((position, Instant::now(), sent.elapsed()));
    }
}

fn planned_connection(
    address: SocketAddr,
    requests: &[Vec<u8>],
    next: &AtomicUsize,
    started: Instant,
    per_second: usize,
) -> Vec<Answer> {
    let mut stream = std::net::TcpStream::connect(address).expect("the server listens");
    stream.set_nodelay(true).expect("a TCP socket");
    let mut answers = Vec::new();
    let mut answer = [0_u8; 1024];
    loop {
        let position = next.fetch_add(1, Ordering::Relaxed);
        let Some(request) = requests.get(position) else {
            return answers;
        };
        let planned = started + Duration::from_secs_f64(position as f64 / per_second as f64);
        let wait = planned.saturating_duration_since(Instant::now());
        std::thread::park_timeout(wait);
        stream.write_all(request).expect("the server reads");
        let mut length = 0;
        while !answer[..length].ends_with(b"\r\n\r\n") {
            length += stream
                .read(&mut answer[length..])
                .expect("the server answers");
        }
        assert!(answer.starts_with(b"HTTP/1.1 204"), "a 204");
        answers.push((position, Instant::now(), planned.elapsed()));
    }
}
