//! The door to Twilio's recordings: asks for one and hands on its pieces as they come.
//!
//! Where it asks is built from the configured URL and two checked SIDs alone. The client lives on
//! the thread that made it, as every client of awc does.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_tls::connect::Resolver;
use awc::ClientResponse;
use awc::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use awc::http::{Method, StatusCode};
use bytes::Bytes;
use futures_util::StreamExt as _;
use rustls::ClientConfig;
use secrecy::ExposeSecret as _;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::config::{ApiKey, PlaybackSettings};
use crate::net::tls::{self, Private, TlsError};
use crate::net::{self, OutboundConnector, OutboundUrl, USER_AGENT};
use crate::twilio::{AccountSid, RecordingSid};

/// Pieces that wait for the listener; each is at most what one read of a socket gives.
const PIECES_AHEAD: usize = 1;

/// Types that no browser shows as a page, whatever is in them.
const TYPES: [&str; 3] = ["audio/", "application/octet-stream", "binary/octet-stream"];

/// What is handed on of the answer's head, beside the length.
const KEPT_HEADERS: [HeaderName; 5] = [
    header::CONTENT_TYPE,
    header::CONTENT_RANGE,
    header::ACCEPT_RANGES,
    header::ETAG,
    header::LAST_MODIFIED,
];

/// TLS for `twilio.api_url`, to be shared by the doors of all threads; `None` in the clear.
pub fn trust(playing: &PlaybackSettings) -> Result<Option<Arc<ClientConfig>>, TlsError> {
    if playing.api_url.starts_with("https://") {
        let private = playing.ca_file.as_deref().map(|file| Private {
            setting: "twilio.ca_file",
            file,
        });
        tls::trusting(private, None).map(Some)
    } else {
        Ok(None)
    }
}

/// Fetches recordings over kept connections.
pub struct RecordingClient {
    http: awc::Client,
    api_url: String,
    format: &'static str,
    timeout: Duration,
    /// Ends what is under way.
    stop: CancellationToken,
}

/// Which recording is asked for, and how.
pub struct RecordingRequest<'a> {
    /// GET or HEAD.
    pub method: Method,
    pub account: &'a AccountSid,
    pub recording: &'a RecordingSid,
    /// `Range` and `If-Range`, as far as the listener sent them.
    pub conditions: Vec<(HeaderName, HeaderValue)>,
}

/// Twilio has the recording.
#[derive(Debug)]
pub struct RecordingResponse {
    /// 200 or 206.
    pub status: StatusCode,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// In bytes, if Twilio told.
    pub length: Option<u64>,
    pub pieces: AudioStream,
}

/// The recording as it comes. It breaks off, rather than ends, if Twilio's answer did, or if a
/// piece was not taken in time.
#[derive(Debug)]
pub struct AudioStream(mpsc::Receiver<Piece>);

#[derive(Debug)]
enum Piece {
    Some(Bytes),
    End,
}

/// The recording did not arrive whole, or was not taken in time.
#[derive(Debug, thiserror::Error)]
#[error("the recording broke off")]
pub struct TruncatedRecordingError;

impl AudioStream {
    /// The next piece; `None` at the end.
    pub async fn next(&mut self) -> Option<Result<Bytes, TruncatedRecordingError>> {
        match self.0.recv().await {
            Some(Piece::Some(bytes)) => Some(Ok(bytes)),
            Some(Piece::End) => None,
            None => Some(Err(TruncatedRecordingError)),
        }
    }
}

/// Why there is nothing to play. The sentences are for the operator's log.
#[derive(Debug, thiserror::Error)]
pub enum FetchRecordingError {
    #[error("Twilio has no such recording: it was deleted, is stored elsewhere, or is not ready")]
    NotFound,
    #[error("the recording has no such range")]
    NoSuchRange { content_range: Option<HeaderValue> },
    #[error("Twilio is asked too often")]
    TooOften { retry_after: Option<HeaderValue> },
    #[error("Twilio refused the API key with {0} (twilio.api_key_sid, or twilio_api_key_sid)")]
    KeyRefused(StatusCode),
    #[error("Twilio answered {0}, a redirect, which is not followed (twilio.api_url)")]
    Redirected(StatusCode),
    #[error("Twilio answered {0}")]
    Unexpected(StatusCode),
    #[error("Twilio's answer is no audio but {0:?}")]
    NoAudio(String),
    #[error("Twilio did not answer within {0:?} (recording.timeout)")]
    TimeOut(Duration),
    #[error("Twilio could not be asked (twilio.api_url, twilio.proxy): {0}")]
    Network(String),
}

impl RecordingClient {
    /// Connects to nothing yet. A recording that plays at `stop` breaks off: a player asks for the
    /// rest where it is served then.
    #[must_use]
    pub fn new(
        playing: &PlaybackSettings,
        tls: Option<Arc<ClientConfig>>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            http: net::http_client(Rc::new(OutboundConnector {
                tls,
                proxy: playing.proxy.clone(),
                names: Resolver::default(),
                timeout: playing.timeout,
            })),
            api_url: playing.api_url.clone(),
            format: playing.format,
            timeout: playing.timeout,
            stop,
        }
    }

    /// Asks Twilio once. `permit` is given back when the last piece was taken, or none is wanted.
    pub async fn fetch(
        &self,
        wanted: &RecordingRequest<'_>,
        key: &ApiKey,
        permit: OwnedSemaphorePermit,
    ) -> Result<RecordingResponse, FetchRecordingError> {
        let request = self.request(wanted, key)?;
        let answer = timeout(self.timeout, request.send())
            .await
            .map_err(|_| FetchRecordingError::TimeOut(self.timeout))?
            .map_err(|why| FetchRecordingError::Network(why.to_string()))?;
        judge(&answer)?;
        let (sender, pieces) = mpsc::channel(PIECES_AHEAD);
        let found = RecordingResponse {
            status: answer.status(),
            headers: kept(answer.headers()),
            length: length(answer.headers()),
            pieces: AudioStream(pieces),
        };
        if wanted.method == Method::HEAD {
            // The receiver is there and the channel empty.
            let _ = sender.try_send(Piece::End);
        } else {
            let stopped = self.stop.clone().cancelled_owned();
            let limit = self.timeout;
            actix_rt::spawn(async move {
                tokio::select! {
                    () = hand_on(answer, sender, limit) => {}
                    () = stopped => {}
                }
                drop(permit);
            });
        }
        Ok(found)
    }

    fn request(
        &self,
        wanted: &RecordingRequest<'_>,
        key: &ApiKey,
    ) -> Result<awc::ClientRequest, FetchRecordingError> {
        let (api, account, recording) = (&self.api_url, wanted.account, wanted.recording);
        let url = format!(
            "{api}/2010-04-01/Accounts/{account}/Recordings/{recording}{}",
            self.format
        );
        let target = OutboundUrl::of(&url)
            .ok_or_else(|| FetchRecordingError::Network(format!("{api:?} makes no URL")))?;
        let request = self
            .http
            .request(wanted.method.clone(), target.uri)
            .insert_header((header::HOST, target.authority))
            .insert_header((header::USER_AGENT, USER_AGENT))
            .insert_header((header::ACCEPT_ENCODING, "identity"))
            .basic_auth(&key.sid, key.secret.expose_secret());
        let with = |request: awc::ClientRequest, condition: &(HeaderName, HeaderValue)| {
            request.insert_header(condition.clone())
        };
        Ok(wanted.conditions.iter().fold(request, with))
    }
}

fn judge(answer: &ClientResponse) -> Result<(), FetchRecordingError> {
    let header = |name| answer.headers().get(name).cloned();
    match answer.status() {
        StatusCode::OK | StatusCode::PARTIAL_CONTENT => expect_audio(answer.headers()),
        StatusCode::RANGE_NOT_SATISFIABLE => Err(FetchRecordingError::NoSuchRange {
            content_range: header(header::CONTENT_RANGE),
        }),
        StatusCode::NOT_FOUND | StatusCode::GONE => Err(FetchRecordingError::NotFound),
        StatusCode::TOO_MANY_REQUESTS => Err(FetchRecordingError::TooOften {
            retry_after: header(header::RETRY_AFTER),
        }),
        status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
            Err(FetchRecordingError::KeyRefused(status))
        }
        status if status.is_redirection() => Err(FetchRecordingError::Redirected(status)),
        status => Err(FetchRecordingError::Unexpected(status)),
    }
}

fn expect_audio(headers: &HeaderMap) -> Result<(), FetchRecordingError> {
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let lower = content_type.to_ascii_lowercase();
    if TYPES.iter().any(|known| lower.starts_with(known)) {
        Ok(())
    } else {
        Err(FetchRecordingError::NoAudio(content_type.to_owned()))
    }
}

fn kept(headers: &HeaderMap) -> Vec<(HeaderName, HeaderValue)> {
    let given = |name: HeaderName| headers.get(&name).cloned().map(|value| (name, value));
    KEPT_HEADERS.into_iter().filter_map(given).collect()
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

/// Reads a piece only when the one before was taken, and gives up when Twilio or the listener
/// takes longer than `limit`.
async fn hand_on(mut answer: ClientResponse, pieces: mpsc::Sender<Piece>, limit: Duration) {
    loop {
        let read = tokio::select! {
            () = pieces.closed() => break,
            read = timeout(limit, answer.next()) => read,
        };
        let piece = match read {
            Ok(Some(Ok(bytes))) => Piece::Some(bytes),
            Ok(None) => Piece::End,
            Ok(Some(Err(why))) => {
                warn!("a recording broke off on its way from Twilio: {why}");
                break;
            }
            Err(_) => {
                warn!("Twilio sent no more of a recording for {limit:?} (recording.timeout)");
                break;
            }
        };
        let is_end = matches!(piece, Piece::End);
        let taken = timeout(limit, pieces.send(piece)).await;
        if is_end || !matches!(taken, Ok(Ok(()))) {
            break;
        }
    }
}
