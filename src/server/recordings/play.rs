//! Plays a recording by the link that Acquire received: verifies the link, fetches the recording from
//! Twilio and streams it. It stores nothing.

use std::rc::Rc;
use std::sync::Arc;

use actix_web::body::{BodyStream, SizedStream};
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::web::{self, Data, Path};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, Resource, ResponseError};
use futures_util::stream;
use rustls::ClientConfig;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::config::{Account, Config, PlaybackSettings};
use crate::domain::plain_text::cut;
use crate::domain::recording_link::{PATH, RecordingLinkError};
use crate::net::tls::TlsError;
use crate::server::client_ip;
use crate::server::refusal_log::MAX_LOGGED_PATH;
use crate::server::shared::{BridgeParts, problem};
use crate::telemetry::metrics::UNKNOWN_ACCOUNT;
use crate::twilio::{AccountSid, RecordingSid};
use crate::twilio_api;
use crate::twilio_api::recordings::{
    FetchRecordingError, RecordingClient, RecordingRequest, RecordingResponse,
};

/// Seconds after which a player may try again, if too many recordings are being played.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("10");

/// State that the players of all threads share.
#[derive(Clone)]
pub struct Playback {
    bridge: BridgeParts,
    settings: PlaybackSettings,
    tls: Option<Arc<ClientConfig>>,
    /// One for each recording that may be played at the same time.
    permits: Arc<Semaphore>,
    stop: CancellationToken,
}

impl Playback {
    /// `None` unless `recording.link = "bridge"`. `stop` ends the recordings that are being played.
    pub fn new(bridge: &BridgeParts, stop: &CancellationToken) -> Result<Option<Self>, TlsError> {
        let Some(settings) = bridge.config.borrow().playback.clone() else {
            return Ok(None);
        };
        Ok(Some(Self {
            bridge: bridge.clone(),
            tls: twilio_api::tls_config(&settings.twilio)?,
            permits: Arc::new(Semaphore::new(settings.concurrency)),
            settings,
            stop: stop.clone(),
        }))
    }

    /// A player for the current thread, because an HTTP client cannot leave its thread.
    pub fn player(&self) -> Data<Player> {
        Data::new(Player {
            client: Rc::new(RecordingClient::new(
                &self.settings,
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
    client: Rc<RecordingClient>,
}

/// Why a recording is not played.
#[derive(Debug, thiserror::Error)]
pub enum PlayRecordingError {
    #[error("nothing is served here")]
    InvalidSid,
    #[error("{0}")]
    InvalidLink(#[from] RecordingLinkError),
    #[error("this bridge does not serve the account of the recording any more")]
    UnknownAccount,
    #[error("too many recordings are being played; try again")]
    Busy,
    #[error("{0}")]
    FetchFailed(#[from] FetchRecordingError),
    #[error("only GET and HEAD are served here")]
    WrongMethod,
}

/// `GET` and `HEAD /recordings/{RecordingSid}`, below the path `prefix`.
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
    let config = Arc::clone(&player.shared.bridge.config.borrow());
    let (account, outcome) = player.play(&config, &request, &sid).await;
    player.log(&request, account, &outcome);
    outcome.map(response)
}

async fn wrong_method(
    request: HttpRequest,
    player: Data<Player>,
) -> Result<HttpResponse, PlayRecordingError> {
    let outcome = Err(PlayRecordingError::WrongMethod);
    player.log(&request, None, &outcome);
    outcome.map(response)
}

impl Player {
    /// Returns the recording, and its account if the link is valid.
    async fn play<'a>(
        &self,
        config: &'a Config,
        request: &HttpRequest,
        sid: &str,
    ) -> (
        Option<&'a Account>,
        Result<RecordingResponse, PlayRecordingError>,
    ) {
        // Verified before a permit is taken, so that forged links cannot use them up.
        let (sid, account_sid) = match self.verify(request, sid) {
            Ok(verified) => verified,
            Err(why) => return (None, Err(why)),
        };
        let Some(account) = config.account(&account_sid) else {
            return (None, Err(PlayRecordingError::UnknownAccount));
        };
        let recording = RecordingRequest {
            method: request.method().clone(),
            account: &account_sid,
            recording: &sid,
            conditions: conditions(request),
        };
        (Some(account), self.fetch(account, &recording).await)
    }

    /// Verifies the link. Its query names the account, because Twilio's URL of a recording needs it.
    fn verify(
        &self,
        request: &HttpRequest,
        sid: &str,
    ) -> Result<(RecordingSid, AccountSid), PlayRecordingError> {
        let sid = RecordingSid::parse(sid).map_err(|_| PlayRecordingError::InvalidSid)?;
        let signer = &self.shared.settings.link_signer;
        let now = self.shared.bridge.clock.now();
        let account = signer.verify(&sid, request.query_string(), now)?;
        Ok((sid, account))
    }

    async fn fetch(
        &self,
        account: &Account,
        recording: &RecordingRequest<'_>,
    ) -> Result<RecordingResponse, PlayRecordingError> {
        let key = account.twilio_api_key.as_ref();
        let key = key.ok_or(PlayRecordingError::UnknownAccount)?;
        let permit = Arc::clone(&self.shared.permits)
            .try_acquire_owned()
            .map_err(|_| PlayRecordingError::Busy)?;
        Ok(self.client.fetch(recording, key, permit).await?)
    }

    /// Counts and logs a request. The query is not logged, because it makes a link valid.
    fn log(
        &self,
        request: &HttpRequest,
        account: Option<&Account>,
        outcome: &Result<RecordingResponse, PlayRecordingError>,
    ) {
        let account = account.map_or(UNKNOWN_ACCOUNT, |account| &account.acquire_account_id);
        let path = cut(request.path(), MAX_LOGGED_PATH);
        let bridge = &self.shared.bridge;
        let trusted = &bridge.config.borrow().server.trusted_proxies;
        let client = client_ip::address(request, trusted);
        match outcome {
            Ok(_) => {
                bridge.metrics.recording_asked(account, "played").inc();
                info!(account, client, path, "playing {path}");
            }
            Err(why) => {
                let outcome = why.label();
                bridge.metrics.recording_asked(account, outcome).inc();
                let now = bridge.clock.now();
                if bridge.refusals.note(outcome, client.as_deref(), now) == 0 {
                    warn!(account, client, path, outcome, "not playing {path}: {why}");
                }
            }
        }
    }
}

/// At most one range: an answer with several parts is `multipart/byteranges` instead of audio.
fn conditions(request: &HttpRequest) -> Vec<(HeaderName, HeaderValue)> {
    let header = |name: HeaderName| {
        let value = request.headers().get(&name)?.clone();
        Some((name, value))
    };
    match header(header::RANGE) {
        // If-Range without Range has no meaning (RFC 9110, section 13.1.5).
        Some(range) if !range.1.as_bytes().contains(&b',') => std::iter::once(range)
            .chain(header(header::IF_RANGE))
            .collect(),
        _ => Vec::new(),
    }
}

fn response(recording: RecordingResponse) -> HttpResponse {
    let mut response = HttpResponseBuilder::new(recording.status);
    for header in recording.headers {
        response.insert_header(header);
    }
    // A conversation must not stay in caches, nor its link in the logs of other sites.
    response
        .insert_header((header::CACHE_CONTROL, "private, no-store"))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"));
    let audio = stream::unfold(recording.audio, |mut audio| async {
        let chunk = audio.next().await?;
        Some((chunk, audio))
    });
    match recording.length {
        Some(length) => response.body(SizedStream::new(length, Box::pin(audio))),
        None => response.body(BodyStream::new(Box::pin(audio))),
    }
}

impl PlayRecordingError {
    /// A short label for counters and logs.
    fn label(&self) -> &'static str {
        match self {
            Self::InvalidSid => "not-found",
            Self::InvalidLink(RecordingLinkError::Forged) => "forged",
            Self::InvalidLink(RecordingLinkError::Expired) => "expired",
            Self::UnknownAccount => "unknown-account",
            Self::Busy => "busy",
            Self::WrongMethod => "wrong-method",
            Self::FetchFailed(why) => match why {
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
            Self::InvalidSid
            | Self::UnknownAccount
            | Self::FetchFailed(FetchRecordingError::NotFound) => StatusCode::NOT_FOUND,
            Self::InvalidLink(_) => StatusCode::FORBIDDEN,
            Self::Busy | Self::FetchFailed(FetchRecordingError::TooOften { .. }) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::WrongMethod => StatusCode::METHOD_NOT_ALLOWED,
            Self::FetchFailed(FetchRecordingError::NoSuchRange { .. }) => {
                StatusCode::RANGE_NOT_SATISFIABLE
            }
            Self::FetchFailed(FetchRecordingError::TimeOut(_)) => StatusCode::GATEWAY_TIMEOUT,
            Self::FetchFailed(_) => StatusCode::BAD_GATEWAY,
        }
    }

    fn error_response(&self) -> HttpResponse {
        // The operator's sentences name settings, so players get shorter ones.
        let detail = match self {
            Self::FetchFailed(FetchRecordingError::NotFound) => {
                "Twilio does not have this recording (any more)"
            }
            Self::FetchFailed(FetchRecordingError::NoSuchRange { .. }) => {
                "the recording has no such range"
            }
            Self::FetchFailed(FetchRecordingError::TooOften { .. }) => "try again later",
            Self::FetchFailed(_) => "the recording cannot be fetched; see the log of the bridge",
            other => &other.to_string(),
        };
        let mut answer = problem(self.status_code(), detail);
        let header = match self {
            Self::Busy => Some((header::RETRY_AFTER, RETRY_AFTER)),
            Self::FetchFailed(FetchRecordingError::TooOften { retry_after }) => {
                let wait = retry_after.clone().unwrap_or(RETRY_AFTER);
                Some((header::RETRY_AFTER, wait))
            }
            Self::FetchFailed(FetchRecordingError::NoSuchRange { content_range }) => content_range
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
