//! A fake Acquire on a thread of this process that notes when each call arrived.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use actix_web::web::{self, Bytes, Data};
use actix_web::{App, HttpResponse, HttpServer};

pub struct ArrivalSink {
    pub address: SocketAddr,
    arrivals: Arc<Arrivals>,
}

struct Arrivals {
    started: Instant,
    /// By position, nanoseconds after `started`; 0 until it arrived.
    at: Vec<AtomicU64>,
    count: AtomicUsize,
    repeats: AtomicUsize,
    /// Share of the calls that fail.
    failing_percent: usize,
}

impl ArrivalSink {
    pub fn start(calls: usize) -> Self {
        Self::failing(calls, 0)
    }

    /// Answers 500 for the calls that [`fails`] chooses, and does not note them.
    pub fn failing(calls: usize, percent: usize) -> Self {
        let arrivals = Arc::new(Arrivals {
            started: Instant::now(),
            at: (0..calls).map(|_| AtomicU64::new(0)).collect(),
            count: AtomicUsize::new(0),
            repeats: AtomicUsize::new(0),
            failing_percent: percent,
        });
        let (report, address) = std::sync::mpsc::channel();
        let shared = Data::from(Arc::clone(&arrivals));
        std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let server = HttpServer::new(move || {
                    App::new()
                        .app_data(shared.clone())
                        .default_service(web::to(take))
                })
                .workers(1)
                .disable_signals()
                .bind("127.0.0.1:0")
                .expect("a free port");
                report.send(server.addrs()[0]).expect("the starter waits");
                server.run().await.expect("the sink runs");
            });
        });
        Self {
            address: address.recv().expect("the sink sends its address"),
            arrivals,
        }
    }

    /// When the last of `calls` arrived.
    pub fn wait_for(&self, calls: usize, most: Duration) -> Instant {
        let until = Instant::now() + most;
        while self.arrivals.count.load(Ordering::Acquire) < calls {
            assert!(Instant::now() < until, "all calls arrive within {most:?}");
            std::thread::park_timeout(Duration::from_millis(5));
        }
        let repeats = self.arrivals.repeats.load(Ordering::Acquire);
        assert_eq!(repeats, 0, "no call arrived twice");
        let last = self
            .arrivals
            .at
            .iter()
            .map(|at| at.load(Ordering::Acquire))
            .max();
        self.arrivals.started + Duration::from_nanos(last.unwrap_or_default())
    }

    /// From each 204 to the arrival; nothing where the arrival came first.
    pub fn lags(&self, answered: &[Instant]) -> Vec<Duration> {
        let arrived = self
            .arrivals
            .at
            .iter()
            .map(|at| self.arrivals.started + Duration::from_nanos(at.load(Ordering::Acquire)));
        arrived
            .zip(answered)
            .map(|(at, answered)| at.duration_since(*answered))
            .collect()
    }
}

/// Whether the call of this position is among so many percent; scattered, so that some come in a row.
pub fn fails(position: usize, percent: usize) -> bool {
    fastrand::Rng::with_seed(position as u64).usize(0..100) < percent
}

async fn take(body: Bytes, arrivals: Data<Arrivals>) -> HttpResponse {
    let text = String::from_utf8_lossy(&body);
    let at = text.find("\"CallId\":\"CA").expect("a CallId") + "\"CallId\":\"CA".len();
    let position = usize::from_str_radix(&text[at + 24..at + 32], 16).expect("a position");
    if fails(position, arrivals.failing_percent) {
        return HttpResponse::InternalServerError().finish();
    }
    let now = arrivals.started.elapsed().as_nanos() as u64;
    if arrivals.at[position].swap(now, Ordering::AcqRel) == 0 {
        arrivals.count.fetch_add(1, Ordering::AcqRel);
    } else {
        arrivals.repeats.fetch_add(1, Ordering::AcqRel);
    }
    HttpResponse::Ok()
        .content_type("application/json")
        .body(r#"{"data":{"success":true,"message":"Successfully saved"}}"#)
}
