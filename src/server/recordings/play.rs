//! Recordings by the links that were forwarded: checked, fetched from Twilio, streamed.

use std::rc::Rc;
use std::sync::Arc;

use actix_web::body::{BodyStream, SizedStream};
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::web::{self, Data, Path};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, Resource, ResponseError};
use futures_util::stream;
use rustls::ClientConfig;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::clock::Clock;
use crate::config::{Account, Config, PlaybackSettings};
use crate::domain::recording_link::{PATH, RecordingLinkError};
use crate::net::tls::TlsError;
use crate::server::callbacks::refusal::problem;
use crate::server::client_ip;
use crate::server::recordings::twilio_client::{
    self, FetchRecordingError, RecordingClient, RecordingRequest, RecordingResponse,
};
use crate::telemetry::metrics::{Metrics, UNKNOWN_ACCOUNT};
use crate::twilio::{AccountSid, RecordingSid};

/// What is asked of a listener when too many listen, in seconds.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("10");

/// What the players of all threads share; there only with `recording.link = "bridge"`.
#[derive(Clone)]
pub struct Playback {
    config: watch::Receiver<Arc<Config>>,
    playing: PlaybackSettings,
    tls: Option<Arc<ClientConfig>>,
    listeners: Arc<Semaphore>,
    metrics: Arc<Metrics>,
    clock: Clock,
    stop: CancellationToken,
}

impl Playback {
    pub fn new(
        config: &watch::Receiver<Arc<Config>>,
        metrics: &Arc<Metrics>,
        clock: &Clock,
        stop: &CancellationToken,
    ) -> Result<Option<Self>, TlsError> {
        let Some(playing) = config.borrow().playing.clone() else {
            return Ok(None);
        };
        Ok(Some(Self {
            config: config.clone(),
            tls: twilio_client::trust(&playing)?,
            listeners: Arc::new(Semaphore::new(playing.concurrency)),
            playing,
            metrics: Arc::clone(metrics),
            clock: clock.clone(),
            stop: stop.clone(),
        }))
    }

    /// For the thread on which this is called.
    #[must_use]
    pub fn player(&self) -> Data<Player> {
        Data::new(Player {
            door: Rc::new(RecordingClient::new(
                &self.playing,
                self.tls.clone(),
                self.stop.clone(),
            )),
            shared: self.clone(),
        })
    }
}

/// Plays recordings on one thread.
pub struct Player {
    shared: Playback,
    door: Rc<RecordingClient>,
}

/// Why nothing is played.
#[derive(Debug, thiserror::Error)]
pub enum PlayRecordingError {
    #[error("nothing is served here")]
    NotASid,
    #[error("{0}")]
    BadLink(#[from] RecordingLinkError),
    #[error("the account of this recording is not served any more")]
    UnknownAccount,
    #[error("too many recordings are played at this moment; try again")]
    Busy,
    #[error("{0}")]
    NotFetched(#[from] FetchRecordingError),
    #[error("only GET and HEAD are served here")]
    WrongMethod,
}

/// `GET` and `HEAD /recordings/{RecordingSid}` below `prefix`.
pub fn resource(prefix: &str) -> Resource {
    web::resource(format!("{prefix}{PATH}{{sid}}"))
        .route(web::get().to(recording))
        .route(web::head().to(recording))
        .default_service(web::to(wrong_method))
}

async fn recording(
    request: HttpRequest,
    sid: Path<String>,
    player: Data<Player>,
) -> Result<HttpResponse, PlayRecordingError> {
    let config = Arc::clone(&player.shared.config.borrow());
    let (account, outcome) = player.play(&config, &request, &sid).await;
    player.described(&request, account, &outcome);
    outcome.map(answer)
}

async fn wrong_method(
    request: HttpRequest,
    player: Data<Player>,
) -> Result<HttpResponse, PlayRecordingError> {
    let refused = Err(PlayRecordingError::WrongMethod);
    player.described(&request, None, &refused);
    refused.map(answer)
}

impl Player {
    /// The recording, with the account whose it is once the link held.
    async fn play<'a>(
        &self,
        config: &'a Config,
        request: &HttpRequest,
        sid: &str,
    ) -> (
        Option<&'a Account>,
        Result<RecordingResponse, PlayRecordingError>,
    ) {
        let (sid, account_sid) = match self.followed(request, sid) {
            Ok(followed) => followed,
            Err(why) => return (None, Err(why)),
        };
        let Some(account) = config.account(&account_sid) else {
            return (None, Err(PlayRecordingError::UnknownAccount));
        };
        let wanted = RecordingRequest {
            method: request.method().clone(),
            account: &account_sid,
            recording: &sid,
            conditions: conditions(request),
        };
        (Some(account), self.fetch(account, &wanted).await)
    }

    fn followed(
        &self,
        request: &HttpRequest,
        sid: &str,
    ) -> Result<(RecordingSid, AccountSid), PlayRecordingError> {
        let sid = RecordingSid::parse(sid).map_err(|_| PlayRecordingError::NotASid)?;
        let linker = &self.shared.playing.linker;
        let account = linker.verify(&sid, request.query_string(), self.shared.clock.now())?;
        Ok((sid, account))
    }

    async fn fetch(
        &self,
        account: &Account,
        wanted: &RecordingRequest<'_>,
    ) -> Result<RecordingResponse, PlayRecordingError> {
        let key = account.twilio_api_key.as_ref();
        let key = key.ok_or(PlayRecordingError::UnknownAccount)?;
        let listeners = Arc::clone(&self.shared.listeners);
        let permit = listeners
            .try_acquire_owned()
            .map_err(|_| PlayRecordingError::Busy)?;
        Ok(self.door.fetch(wanted, key, permit).await?)
    }

    /// Counts and logs, once. The query is left out: it is what makes a link valid.
    fn described(
        &self,
        request: &HttpRequest,
        account: Option<&Account>,
        played: &Result<RecordingResponse, PlayRecordingError>,
    ) {
        let account = account.map_or(UNKNOWN_ACCOUNT, |account| &account.acquire_account_id);
        let path = request.path();
        let trusted = &self.shared.config.borrow().server.trusted_proxies;
        let client = client_ip::address(request, trusted);
        match played {
            Ok(_) => {
                self.shared.metrics.recording_asked(account, "played");
                info!(account, client, path, "playing {path}");
            }
            Err(why) => {
                let outcome = why.outcome();
                self.shared.metrics.recording_asked(account, outcome);
                warn!(account, client, path, outcome, "not playing {path}: {why}");
            }
        }
    }
}

/// One range at most: an answer of several parts is no audio any more.
fn conditions(request: &HttpRequest) -> Vec<(HeaderName, HeaderValue)> {
    let given = |name: HeaderName| {
        let value = request.headers().get(&name)?.clone();
        Some((name, value))
    };
    match given(header::RANGE) {
        Some(range) if !range.1.as_bytes().contains(&b',') => std::iter::once(range)
            .chain(given(header::IF_RANGE))
            .collect(),
        _ => Vec::new(),
    }
}

fn answer(found: RecordingResponse) -> HttpResponse {
    let mut answer = HttpResponseBuilder::new(found.status);
    for header in found.headers {
        answer.insert_header(header);
    }
    // What was said on the telephone stays out of caches, and the link out of other sites' logs.
    answer
        .insert_header((header::CACHE_CONTROL, "private, no-store"))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"));
    let pieces = stream::unfold(found.pieces, |mut pieces| async {
        let piece = pieces.next().await?;
        Some((piece, pieces))
    });
    match found.length {
        Some(length) => answer.body(SizedStream::new(length, Box::pin(pieces))),
        None => answer.body(BodyStream::new(Box::pin(pieces))),
    }
}

impl PlayRecordingError {
    /// A short label for counters and logs.
    fn outcome(&self) -> &'static str {
        match self {
            Self::NotASid => "not-found",
            Self::BadLink(RecordingLinkError::Forged) => "forged",
            Self::BadLink(RecordingLinkError::Expired) => "expired",
            Self::UnknownAccount => "unknown-account",
            Self::Busy => "busy",
            Self::WrongMethod => "wrong-method",
            Self::NotFetched(why) => match why {
                FetchRecordingError::NotFound => "not-found",
                FetchRecordingError::NoSuchRange { .. } => "no-such-range",
                FetchRecordingError::TooOften { .. } => "busy",
                _ => "upstream",
            },
        }
    }
}

impl ResponseError for PlayRecordingError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::NotASid
            | Self::UnknownAccount
            | Self::NotFetched(FetchRecordingError::NotFound) => StatusCode::NOT_FOUND,
            Self::BadLink(_) => StatusCode::FORBIDDEN,
            Self::Busy | Self::NotFetched(FetchRecordingError::TooOften { .. }) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::WrongMethod => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotFetched(FetchRecordingError::NoSuchRange { .. }) => {
                StatusCode::RANGE_NOT_SATISFIABLE
            }
            Self::NotFetched(FetchRecordingError::TimeOut(_)) => StatusCode::GATEWAY_TIMEOUT,
            Self::NotFetched(_) => StatusCode::BAD_GATEWAY,
        }
    }

    fn error_response(&self) -> HttpResponse {
        let told = match self {
            Self::NotFetched(FetchRecordingError::NotFound) => {
                "the recording is not there (any more)"
            }
            Self::NotFetched(FetchRecordingError::NoSuchRange { .. }) => {
                "the recording has no such range"
            }
            Self::NotFetched(FetchRecordingError::TooOften { .. }) => "try again later",
            Self::NotFetched(_) => "the recording cannot be fetched; the bridge's log says why",
            other => &other.to_string(),
        };
        let mut answer = problem(self.status_code(), told);
        let header = match self {
            Self::Busy => Some((header::RETRY_AFTER, RETRY_AFTER)),
            Self::NotFetched(FetchRecordingError::TooOften { retry_after }) => {
                let wait = retry_after.clone().unwrap_or(RETRY_AFTER);
                Some((header::RETRY_AFTER, wait))
            }
            Self::NotFetched(FetchRecordingError::NoSuchRange { content_range }) => content_range
                .clone()
                .map(|range| (header::CONTENT_RANGE, range)),
            Self::WrongMethod => Some((header::ALLOW, HeaderValue::from_static("GET, HEAD"))),
            _ => None,
        };
        if let Some((name, value)) = header {
            answer.headers_mut().insert(name, value);
        }
        answer
    }
}
