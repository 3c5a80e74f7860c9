//! A fake Twilio: signs fixtures and sends them to a bridge.
//!
//! It reads no configuration; its callers choose the keys and URLs.

mod request;
mod summary;

pub mod dry_run;
pub mod records;
pub mod scenario;

use std::cell::Cell;
use std::num::{NonZeroU32, NonZeroUsize};
use std::rc::Rc;
use std::time::Duration;

use awc::error::{ConnectError, SendRequestError};
use awc::{Client, Connector};
use rustls::CertificateError;
use serde::Deserialize;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::debugging::fixture::Fixture;
use crate::net::tls::{self, PrivateCa, TlsError};

pub use request::{ReplayTarget, SidPass, SignedReplay, Signer};
pub use summary::{Latencies, NotAccepted, ReplayAnswer, ReplaySummary};

/// How long one request may take; Twilio itself waits 15 s at most.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// Bytes that are read of an error response, for its problem detail.
const MAX_RESPONSE_BYTES: usize = 64 << 10;

/// A fixture and its name in reports.
#[derive(Clone, Debug)]
pub struct ReplayItem {
    pub name: String,
    pub fixture: Fixture,
}

/// How fast and how often requests are sent.
#[derive(Clone, Debug)]
pub struct ReplayRate {
    /// Maximum number of concurrent requests.
    pub concurrency: NonZeroUsize,
    /// Requests started per second; without it, as fast as responses arrive.
    pub rate: Option<NonZeroU32>,
    /// Number of times to send the whole list.
    pub repeat: NonZeroU32,
    /// Once it is cancelled, no more is sent, and requests without a response are not counted.
    pub stop: CancellationToken,
}

/// Which SIDs are sent.
#[derive(Clone, Copy, Debug)]
pub enum Sids {
    /// Those of the fixtures.
    Recorded,
    /// New ones for each pass over the list, made from this seed; the legs of a call stay together.
    Fresh(u64),
}

/// Sends every item `speed.repeat` times, and calls `on_answer` after each response.
///
/// Runs on an actix runtime.
pub async fn send(
    items: Vec<ReplayItem>,
    target: ReplayTarget,
    signer: Signer,
    speed: ReplayRate,
    sids: Sids,
    on_answer: impl Fn(&ReplayItem, &ReplayAnswer) + 'static,
) -> Result<ReplaySummary, TlsError> {
    let client = client(&target, speed.concurrency)?;
    let started = Instant::now();
    let run = Rc::new(Run {
        total: items.len() as u64 * u64::from(speed.repeat.get()),
        next: Cell::new(0),
        started,
        summary: std::cell::RefCell::default(),
        items,
        target,
        signer,
        rate: speed.rate,
        stop: speed.stop,
        sids,
        client,
        on_answer,
    });
    let senders: Vec<_> = (0..speed.concurrency.get())
        .map(|_| tokio::task::spawn_local(Rc::clone(&run).send_items()))
        .collect();
    for sender in senders {
        // A sender that panicked has sent fewer requests, which the summary shows.
        let _ = sender.await;
    }
    let mut summary = run.summary.take();
    summary.end(started.elapsed());
    Ok(summary)
}

struct Run<F> {
    items: Vec<ReplayItem>,
    total: u64,
    next: Cell<u64>,
    started: Instant,
    target: ReplayTarget,
    signer: Signer,
    rate: Option<NonZeroU32>,
    stop: CancellationToken,
    sids: Sids,
    client: Client,
    summary: std::cell::RefCell<ReplaySummary>,
    on_answer: F,
}

impl<F: Fn(&ReplayItem, &ReplayAnswer)> Run<F> {
    async fn send_items(self: Rc<Self>) {
        while let Some(index) = self.next_index() {
            if let Some(rate) = self.rate {
                let due = sleep_until(self.started + start_offset(index, rate));
                self.stop.run_until_cancelled(due).await;
            }
            if self.stop.is_cancelled() {
                return;
            }
            let (item, pass) = self.item(index);
            let signed = request::sign(&item.fixture, &self.target, &self.signer, pass);
            let sent_at = Instant::now();
            let answer = exchange(&self.client, &signed);
            let Some(answer) = self.stop.run_until_cancelled(answer).await else {
                return;
            };
            let answer = answer.expected_of(&item.fixture);
            let took = sent_at.elapsed();
            self.summary.borrow_mut().add(&item.name, &answer, took);
            (self.on_answer)(item, &answer);
        }
    }

    fn next_index(&self) -> Option<u64> {
        let index = self.next.get();
        self.next.set(index + 1);
        (index < self.total).then_some(index)
    }

    fn item(&self, index: u64) -> (&ReplayItem, Option<SidPass>) {
        let length = self.items.len() as u64;
        let at = usize::try_from(index % length).unwrap_or_default();
        let pass = match self.sids {
            Sids::Recorded => None,
            Sids::Fresh(seed) => Some(SidPass {
                seed,
                number: index / length,
            }),
        };
        (&self.items[at], pass)
    }
}

/// When to send the request with this index, after the start.
fn start_offset(index: u64, rate: NonZeroU32) -> Duration {
    let nanoseconds = u128::from(index) * 1_000_000_000 / u128::from(rate.get());
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
}

async fn exchange(client: &Client, signed: &SignedReplay) -> ReplayAnswer {
    let mut request = client.request(signed.method.clone(), signed.url.as_str());
    for (name, value) in &signed.headers {
        request = request.append_header((name.as_str(), value.as_str()));
    }
    let mut response = match request.send_body(signed.body.clone()).await {
        Ok(response) => response,
        Err(error) => return ReplayAnswer::NoAnswer(words(&error)),
    };
    let status = response.status();
    let body = response.body().limit(MAX_RESPONSE_BYTES).await;
    if status.is_success() {
        return ReplayAnswer::Accepted(status.as_u16());
    }
    ReplayAnswer::NotAccepted {
        status: status.as_u16(),
        detail: body.ok().and_then(|body| detail(&body)),
    }
}

/// Why there is no answer. The words of the TLS library for a certificate are for programmers.
fn words(error: &SendRequestError) -> String {
    let SendRequestError::Connect(ConnectError::Io(why)) = error else {
        return error.to_string();
    };
    match why.get_ref().and_then(|why| why.downcast_ref()) {
        Some(rustls::Error::InvalidCertificate(why)) => match why {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "the certificate is from no known authority; name its authority with --ca-file"
                    .to_owned()
            }
            CertificateError::Other(_) => {
                "the certificate is not one of a server, but for example that of an authority \
                 (CA:TRUE)"
                    .to_owned()
            }
            why => format!("the certificate cannot be trusted: {why}"),
        },
        _ => error.to_string(),
    }
}

/// The sentence of an `application/problem+json` body.
fn detail(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Problem {
        title: Option<String>,
        detail: Option<String>,
    }
    let problem: Problem = serde_json::from_slice(body).ok()?;
    problem.detail.or(problem.title)
}

fn client(target: &ReplayTarget, concurrency: NonZeroUsize) -> Result<Client, TlsError> {
    let connector = Connector::new().limit(concurrency.get());
    let private = target.ca_file.as_deref().map(|file| PrivateCa {
        setting: "--ca-file",
        file,
    });
    // A file that is not needed is read too: a wrong name is a mistake.
    let connector = if private.is_some() || target.to.starts_with("https://") {
        connector.rustls_0_23(tls::client_config(private, None)?)
    } else {
        connector
    };
    Ok(Client::builder()
        .connector(connector)
        .timeout(REQUEST_TIMEOUT)
        .disable_redirects()
        .finish())
}
