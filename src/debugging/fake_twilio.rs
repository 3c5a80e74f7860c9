//! Plays Twilio: signs fixtures and sends them to a bridge.

mod request;
mod summary;

pub mod dry_run;
pub mod records;
pub mod scenario;

use std::cell::Cell;
use std::num::{NonZeroU32, NonZeroUsize};
use std::rc::Rc;
use std::time::Duration;

use awc::{Client, Connector};
use serde::Deserialize;
use tokio::time::{Instant, sleep_until};

use crate::debugging::fixture::Fixture;
use crate::net::tls::{self, TlsError};
use crate::twilio::signature::{Key, PublicUrl};

pub use request::{SidPass, SignedReplay};
pub use summary::{Latencies, NotAccepted, ReplayAnswer, ReplaySummary};

/// How long one request may take; Twilio itself waits 15 s at most.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Of an answer that is no 2xx; it holds a problem's detail.
const MAX_ANSWER_BYTES: usize = 64 << 10;

/// A fixture and what reports call it.
#[derive(Clone, Debug)]
pub struct ReplayItem {
    pub name: String,
    pub fixture: Fixture,
}

/// Where requests go and which URL they are signed for.
#[derive(Clone, Debug)]
pub struct ReplayTarget {
    /// The base to connect to: scheme, host, port and an optional prefix.
    pub to: String,
    /// What Twilio was told; without one, the fixture's own base.
    pub public: Option<PublicUrl>,
}

/// What signs the requests.
#[derive(Clone)]
pub struct Signer {
    pub key: Key,
    /// Sent as `X-Twilio-Webhooks-Signature-Settings`.
    pub settings: Option<String>,
}

/// How fast and how often requests are sent.
#[derive(Clone, Copy, Debug)]
pub struct ReplayRate {
    /// Requests under way at once.
    pub concurrency: NonZeroUsize,
    /// Requests begun per second; without one, as fast as answers come.
    pub rate: Option<NonZeroU32>,
    /// How often the whole list is sent.
    pub repeat: NonZeroU32,
}

/// Which SIDs are sent.
#[derive(Clone, Copy, Debug)]
pub enum Sids {
    /// Those of the fixtures.
    Recorded,
    /// New ones for each pass over the list, made from this seed; legs stay joined.
    Fresh(u64),
}

/// Sends every item, `pace.repeat` times, and tells `on_answer` after each answer.
///
/// Runs on an actix runtime.
pub async fn send(
    items: Vec<ReplayItem>,
    target: ReplayTarget,
    signer: Signer,
    pace: ReplayRate,
    sids: Sids,
    on_answer: impl Fn(&ReplayItem, &ReplayAnswer) + 'static,
) -> Result<ReplaySummary, TlsError> {
    let client = client(&target.to, pace.concurrency)?;
    let began = Instant::now();
    let run = Rc::new(Run {
        total: items.len() as u64 * u64::from(pace.repeat.get()),
        next: Cell::new(0),
        began,
        summary: std::cell::RefCell::default(),
        items,
        target,
        signer,
        rate: pace.rate,
        sids,
        client,
        on_answer,
    });
    let senders: Vec<_> = (0..pace.concurrency.get())
        .map(|_| tokio::task::spawn_local(Rc::clone(&run).send_in_turn()))
        .collect();
    for sender in senders {
        // A sender that panicked has sent less, which the summary shows.
        let _ = sender.await;
    }
    let mut summary = run.summary.take();
    summary.end(began.elapsed());
    Ok(summary)
}

struct Run<F> {
    items: Vec<ReplayItem>,
    total: u64,
    next: Cell<u64>,
    began: Instant,
    target: ReplayTarget,
    signer: Signer,
    rate: Option<NonZeroU32>,
    sids: Sids,
    client: Client,
    summary: std::cell::RefCell<ReplaySummary>,
    on_answer: F,
}

impl<F: Fn(&ReplayItem, &ReplayAnswer)> Run<F> {
    async fn send_in_turn(self: Rc<Self>) {
        while let Some(index) = self.take() {
            if let Some(rate) = self.rate {
                sleep_until(self.began + slot(index, rate)).await;
            }
            let (item, pass) = self.item(index);
            let signed = request::sign(&item.fixture, &self.target, &self.signer, pass);
            let begun = Instant::now();
            let answer = exchange(&self.client, &signed).await;
            let took = begun.elapsed();
            self.summary.borrow_mut().add(&item.name, &answer, took);
            (self.on_answer)(item, &answer);
        }
    }

    fn take(&self) -> Option<u64> {
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

/// When the request with this index is due, counted from the beginning.
fn slot(index: u64, rate: NonZeroU32) -> Duration {
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
        Err(error) => return ReplayAnswer::None(error.to_string()),
    };
    let status = response.status();
    let body = response.body().limit(MAX_ANSWER_BYTES).await;
    if status.is_success() {
        return ReplayAnswer::Taken(status.as_u16());
    }
    ReplayAnswer::NotTaken {
        status: status.as_u16(),
        detail: body.ok().and_then(|body| detail(&body)),
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

fn client(to: &str, concurrency: NonZeroUsize) -> Result<Client, TlsError> {
    let connector = Connector::new().limit(concurrency.get());
    let connector = if to.starts_with("https://") {
        connector.rustls_0_23(tls::client_config(None, None)?)
    } else {
        connector
    };
    Ok(Client::builder()
        .connector(connector)
        .timeout(TIMEOUT)
        .disable_redirects()
        .finish())
}
