//! The HTTP client for Acquire: sends one request and returns its outcome.
//!
//! It repeats, schedules and stores nothing. The client lives on the thread that made it,
//! which must run an actix system or a `LocalSet`.

pub(crate) mod errors;

use std::rc::Rc;
use std::time::Duration;

use actix_tls::connect::Resolver;
use awc::ClientResponse;
use awc::http::header;
use futures_util::StreamExt as _;
use secrecy::ExposeSecret as _;
use tokio::io::AsyncReadExt as _;
use tokio::time::{Instant, timeout, timeout_at};

use self::errors::NetworkError;
use crate::acquire::{AcquireResponse, DeliveryFault, Outcome, RequestKind};
use crate::clock::{Clock, Millis};
use crate::config;
use crate::net::tls::{self, PrivateCa, TlsError};
use crate::net::{self, OutboundConnector, OutboundUrl, USER_AGENT};

/// The number of bytes that are read of an answer's body; the connection is closed before the rest.
const MAX_RESPONSE_BYTES: usize = 64 * 1024;

/// The time that `reach` waits for an alert after the handshake: a server may reject the client's
/// certificate only then.
const TLS_ALERT_TIMEOUT: Duration = Duration::from_millis(500);

/// Posts messages to Acquire over kept connections, each attempt within one time limit.
pub struct AcquireClient {
    http: awc::Client,
    route: Rc<OutboundConnector>,
    settings: config::AcquireSettings,
    timeout: Duration,
    clock: Clock,
}

/// Why no client can be made from the settings.
#[derive(Debug, thiserror::Error)]
pub enum AcquireClientError {
    #[error("acquire.base_url is {0:?}: it must start with https:// or http://")]
    BaseUrl(String),
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl AcquireClient {
    /// Reads the certificates and connects to nothing. `clock` is for dates in `Retry-After`.
    pub fn new(
        acquire: &config::AcquireSettings,
        delivery: &config::DeliverySettings,
        clock: Clock,
    ) -> Result<Self, AcquireClientError> {
        Self::with_names(acquire, delivery, clock, Resolver::default())
    }

    /// As [`AcquireClient::new`], with another resolver than the system's.
    pub fn with_names(
        acquire: &config::AcquireSettings,
        delivery: &config::DeliverySettings,
        clock: Clock,
        names: Resolver,
    ) -> Result<Self, AcquireClientError> {
        let certificate = acquire.client_certificate.as_ref();
        let private = acquire.ca_file.as_deref().map(|file| PrivateCa {
            setting: "acquire.ca_file",
            file,
        });
        let trust = tls::client_config(private, certificate)?;
        let tls = match &acquire.base_url {
            url if url.starts_with("https://") => Some(trust),
            url if url.starts_with("http://") => None,
            url => return Err(AcquireClientError::BaseUrl(url.clone())),
        };
        let route = Rc::new(OutboundConnector {
            tls,
            proxy: acquire.proxy.clone(),
            names,
            timeout: delivery.timeout,
        });
        Ok(Self {
            http: net::http_client(Rc::clone(&route)),
            route,
            settings: acquire.clone(),
            timeout: delivery.timeout,
            clock,
        })
    }

    /// Posts the JSON `body` for `account`, once, and evaluates the answer.
    pub async fn send(
        &self,
        account: &config::Account,
        kind: RequestKind,
        body: String,
    ) -> AcquireResponse {
        let deadline = Instant::now() + self.timeout;
        let url = self.url(account, kind);
        let Some(target) = OutboundUrl::of(&url) else {
            return no_answer(NetworkError {
                fault: DeliveryFault::Configuration,
                words: format!("{url:?} is not a URL (acquire.base_url)"),
            });
        };
        let request = self.request(&target, account).send_body(body);
        let mut response = match timeout_at(deadline, request).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return no_answer(errors::explain(&error, &target.authority)),
            Err(_) => return no_answer(self.timed_out(&target)),
        };
        let (body, end) = read(&mut response, deadline).await;
        let broken = match end {
            BodyEnd::Whole => None,
            BodyEnd::TimeOut => Some(self.timed_out(&target)),
            BodyEnd::Broken(words) => Some(NetworkError {
                fault: DeliveryFault::Reset,
                words,
            }),
        };
        self.outcome_of(&response, &body, broken)
    }

    /// Opens a connection as [`AcquireClient::send`] would, posts nothing, and says how `account` is
    /// reached, or why not.
    pub async fn reach(&self, account: &config::Account) -> Result<String, String> {
        let url = self.url(account, RequestKind::CallEnd);
        let target = OutboundUrl::of(&url).ok_or_else(|| format!("{url:?} is not a URL"))?;
        let explained = |failure: NetworkError| failure.words;
        let opened = self.route.open(target.uri.clone()).await;
        let mut connection = opened
            .map_err(|error| explained(errors::of_connecting(&error.into(), &target.authority)))?;
        let trust = if self.route.tls.is_some() {
            let alert = timeout(TLS_ALERT_TIMEOUT, connection.read_u8()).await;
            if let Ok(Err(error)) = alert {
                return Err(explained(errors::of_talking(&error, &target.authority)));
            }
            "its certificate is trusted"
        } else {
            "without TLS"
        };
        let path = self.route.proxy.as_ref().map_or_else(String::new, |proxy| {
            format!(" through the proxy {}", proxy.authority())
        });
        Ok(format!("{} is reached{path}, {trust}", target.authority))
    }

    /// The `Date` header of the server of `account`, by a HEAD request without the API key.
    pub async fn server_time(&self, account: &config::Account) -> Option<Millis> {
        let base = self.settings.base_url_of(account);
        net::server_time(&self.http, &base, self.timeout).await
    }

    fn url(&self, account: &config::Account, kind: RequestKind) -> String {
        let paths = &self.settings.paths;
        self.settings.base_url_of(account)
            + match kind {
                RequestKind::CallInQueue => &paths.call_in_queue,
                RequestKind::CallRinging => &paths.call_ringing,
                RequestKind::CallAnswered => &paths.call_answered,
                RequestKind::CallEnd | RequestKind::CallEndAgain => &paths.call_end,
            }
    }

    fn request(&self, target: &OutboundUrl, account: &config::Account) -> awc::ClientRequest {
        let request = self
            .http
            .post(target.uri.clone())
            .insert_header((header::HOST, target.authority.as_str()))
            .insert_header((header::USER_AGENT, USER_AGENT))
            .insert_header((header::CONTENT_TYPE, "application/json"));
        match &account.acquire_api_key {
            Some(key) => request.bearer_auth(key.expose_secret()),
            None => request,
        }
    }

    fn timed_out(&self, target: &OutboundUrl) -> NetworkError {
        NetworkError {
            fault: DeliveryFault::TimeOut,
            words: format!(
                "{} did not finish its answer within {:?} (delivery.timeout)",
                target.authority, self.timeout
            ),
        }
    }

    fn outcome_of(
        &self,
        response: &ClientResponse,
        body: &[u8],
        broken: Option<NetworkError>,
    ) -> AcquireResponse {
        let status = response.status().as_u16();
        let retry_after = response
            .headers()
            .get(header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok());
        let outcome = crate::acquire::response::outcome_of(
            self.settings.success,
            status,
            retry_after,
            body,
            self.clock.now(),
        );
        let excerpt = crate::acquire::response::excerpt(body);
        match broken {
            // Acquire may have accepted the call although its answer broke off.
            Some(failure) if response.status().is_success() && depends_on_the_body(&outcome) => {
                let fault = DeliveryFault::Unreadable;
                AcquireResponse {
                    status: Some(status),
                    ..no_answer(NetworkError { fault, ..failure })
                }
            }
            Some(failure) if depends_on_the_body(&outcome) => AcquireResponse {
                status: Some(status),
                ..no_answer(failure)
            },
            _ => AcquireResponse {
                outcome,
                status: Some(status),
                excerpt,
            },
        }
    }
}

/// Whether the rest of a body that broke off could have changed the outcome.
fn depends_on_the_body(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Accepted | Outcome::AcceptedAsRepeat => false,
        Outcome::Retry { fault, .. } => fault.is_unclear(),
        Outcome::Refused => true,
    }
}

fn no_answer(failure: NetworkError) -> AcquireResponse {
    AcquireResponse {
        outcome: Outcome::Retry {
            fault: failure.fault,
            after: None,
        },
        status: None,
        excerpt: failure.words,
    }
}

/// How an answer's body ended.
enum BodyEnd {
    /// It was read up to its end, or up to `MAX_BODY`.
    Whole,
    TimeOut,
    Broken(String),
}

async fn read(response: &mut ClientResponse, deadline: Instant) -> (Vec<u8>, BodyEnd) {
    let mut body = Vec::new();
    while body.len() < MAX_RESPONSE_BYTES {
        match timeout_at(deadline, response.next()).await {
            Ok(Some(Ok(chunk))) => {
                let left = MAX_RESPONSE_BYTES - body.len();
                body.extend_from_slice(&chunk[..chunk.len().min(left)]);
            }
            Ok(Some(Err(error))) => {
                let words = format!("the answer broke off in its body: {error}");
                return (body, BodyEnd::Broken(words));
            }
            Ok(None) => break,
            Err(_) => return (body, BodyEnd::TimeOut),
        }
    }
    (body, BodyEnd::Whole)
}
