//! Fetches recordings from Twilio's API, chunk by chunk.
//!
//! It requests only URLs built from `twilio.api_url` and two parsed SIDs. A client stays on the
//! thread that made it, as each client of awc does.
//!
//! It does not decide who may play a recording (`play`).

use std::sync::Arc;
use std::time::Duration;

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

use super::http_client;
use crate::config::{ApiKey, PlaybackSettings};
use crate::net::{OutboundUrl, USER_AGENT};
use crate::twilio::{AccountSid, RecordingSid};

/// Chunks that may wait for the player. A chunk is at most one read of a socket.
const CHUNKS_AHEAD: usize = 1;

/// Media types that no browser shows as a page, whatever the content is.
const AUDIO_TYPES: [&str; 3] = ["audio/", "application/octet-stream", "binary/octet-stream"];

/// Headers that are passed to the player, besides the length.
const KEPT_HEADERS: [HeaderName; 5] = [
    header::CONTENT_TYPE,
    header::CONTENT_RANGE,
    header::ACCEPT_RANGES,
    header::ETAG,
    header::LAST_MODIFIED,
];

/// Fetches recordings. Its connections to Twilio stay open for the next request.
pub struct RecordingClient {
    http: awc::Client,
    api_url: String,
    format: &'static str,
    timeout: Duration,
    /// Ends the recordings that are being played.
    stop: CancellationToken,
}

/// Which recording to fetch, and how.
pub struct RecordingRequest<'a> {
    /// GET or HEAD.
    pub method: Method,
    pub account: &'a AccountSid,
    pub recording: &'a RecordingSid,
    /// `Range` and `If-Range`, if the player sent them.
    pub conditions: Vec<(HeaderName, HeaderValue)>,
}

/// Twilio's answer, if Twilio has the recording.
#[derive(Debug)]
pub struct RecordingResponse {
    /// 200 or 206.
    pub status: StatusCode,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// In bytes, if Twilio sent it.
    pub length: Option<u64>,
    pub audio: AudioStream,
}

/// The audio as it arrives. If Twilio's answer is cut short, or the player is too slow, the stream ends
/// with an error: the player must not believe that the recording is complete.
#[derive(Debug)]
pub struct AudioStream(mpsc::Receiver<Chunk>);

#[derive(Debug)]
enum Chunk {
    Audio(Bytes),
    End,
}

/// The recording did not arrive completely, or the player was too slow.
#[derive(Debug, thiserror::Error)]
#[error("the recording was cut short")]
pub struct TruncatedRecordingError;

impl AudioStream {
    /// The next chunk; `None` at the end.
    pub async fn next(&mut self) -> Option<Result<Bytes, TruncatedRecordingError>> {
        match self.0.recv().await {
            Some(Chunk::Audio(bytes)) => Some(Ok(bytes)),
            Some(Chunk::End) => None,
            None => Some(Err(TruncatedRecordingError)),
        }
    }
}

/// Why a recording cannot be fetched. The sentences are for the operator's log.
#[derive(Debug, thiserror::Error)]
pub enum FetchRecordingError {
    #[error("Twilio has no such recording: it was deleted, is stored elsewhere, or is not ready")]
    NotFound,
    #[error("the recording has no such range")]
    NoSuchRange { content_range: Option<HeaderValue> },
    #[error("Twilio limits the request rate (429)")]
    TooOften { retry_after: Option<HeaderValue> },
    #[error("Twilio refused the API key with {0} (twilio.api_key_sid, or twilio_api_key_sid)")]
    KeyRefused(StatusCode),
    #[error("Twilio answered {0}, a redirect, which is not followed (twilio.api_url)")]
    Redirected(StatusCode),
    #[error("Twilio answered {0}")]
    Unexpected(StatusCode),
    #[error("Twilio sent {0:?} instead of audio")]
    NoAudio(String),
    #[error("Twilio did not answer within {0:?} (recording.timeout)")]
    TimeOut(Duration),
    #[error("Twilio cannot be reached (twilio.api_url, twilio.proxy): {0}")]
    Network(String),
}

impl RecordingClient {
    /// Opens no connection yet. `stop` cuts recordings short: a player then requests the rest from the
    /// next process.
    pub fn new(
        settings: &PlaybackSettings,
        tls: Option<Arc<ClientConfig>>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            http: http_client(&settings.twilio, tls, settings.timeout),
            api_url: settings.twilio.api_url.clone(),
            format: settings.format,
            timeout: settings.timeout,
            stop,
        }
    }

    /// Sends one request. `permit` is released after the last chunk, or when the player disconnects.
    pub async fn fetch(
        &self,
        recording: &RecordingRequest<'_>,
        key: &ApiKey,
        permit: OwnedSemaphorePermit,
    ) -> Result<RecordingResponse, FetchRecordingError> {
        let request = self.request(recording, key)?;
        let answer = timeout(self.timeout, request.send())
            .await
            .map_err(|_| FetchRecordingError::TimeOut(self.timeout))?
            .map_err(|why| FetchRecordingError::Network(why.to_string()))?;
        expect_recording(&answer)?;
        let (sender, chunks) = mpsc::channel(CHUNKS_AHEAD);
        let response = RecordingResponse {
            status: answer.status(),
            headers: kept_headers(answer.headers()),
            length: length(answer.headers()),
            audio: AudioStream(chunks),
        };
        if recording.method == Method::HEAD {
            // Cannot fail: the channel is empty and its receiver exists.
            let _ = sender.try_send(Chunk::End);
        } else {
            let stopped = self.stop.clone().cancelled_owned();
            let limit = self.timeout;
            // A task of its own, so that the permit is released when the player disconnects.
            actix_rt::spawn(async move {
                tokio::select! {
                    () = forward(answer, sender, limit) => {}
                    () = stopped => {}
                }
                drop(permit);
            });
        }
        Ok(response)
    }

    fn request(
        &self,
        recording: &RecordingRequest<'_>,
        key: &ApiKey,
    ) -> Result<awc::ClientRequest, FetchRecordingError> {
        let (api, account, sid) = (&self.api_url, recording.account, recording.recording);
        let url = format!(
            "{api}/2010-04-01/Accounts/{account}/Recordings/{sid}{}",
            self.format
        );
        let target = OutboundUrl::of(&url)
            .ok_or_else(|| FetchRecordingError::Network(format!("{api:?} is not a URL")))?;
        let request = self
            .http
            .request(recording.method.clone(), target.uri)
            .insert_header((header::HOST, target.authority))
            .insert_header((header::USER_AGENT, USER_AGENT))
            // Ranges count bytes of the file, not of a compressed answer.
            .insert_header((header::ACCEPT_ENCODING, "identity"))
            .basic_auth(&key.sid, key.secret.expose_secret());
        let with = |request: awc::ClientRequest, condition: &(HeaderName, HeaderValue)| {
            request.insert_header(condition.clone())
        };
        Ok(recording.conditions.iter().fold(request, with))
    }
}

fn expect_recording(answer: &ClientResponse) -> Result<(), FetchRecordingError> {
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
    if AUDIO_TYPES.iter().any(|known| lower.starts_with(known)) {
        Ok(())
    } else {
        Err(FetchRecordingError::NoAudio(content_type.to_owned()))
    }
}

fn kept_headers(headers: &HeaderMap) -> Vec<(HeaderName, HeaderValue)> {
    let header = |name: HeaderName| headers.get(&name).cloned().map(|value| (name, value));
    KEPT_HEADERS.into_iter().filter_map(header).collect()
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

/// Reads a chunk when the player has read the one before, so that a slow player does not fill the
/// memory. Gives up when Twilio or the player takes longer than `limit`.
async fn forward(mut answer: ClientResponse, chunks: mpsc::Sender<Chunk>, limit: Duration) {
    loop {
        let read = tokio::select! {
            () = chunks.closed() => break,
            read = timeout(limit, answer.next()) => read,
        };
        let chunk = match read {
            Ok(Some(Ok(bytes))) => Chunk::Audio(bytes),
            Ok(None) => Chunk::End,
            Ok(Some(Err(why))) => {
                warn!("Twilio cut a recording short: {why}");
                break;
            }
            Err(_) => {
                warn!("Twilio sent nothing of a recording for {limit:?} (recording.timeout)");
                break;
            }
        };
        let is_end = matches!(chunk, Chunk::End);
        let sent = timeout(limit, chunks.send(chunk)).await;
        if is_end || !matches!(sent, Ok(Ok(()))) {
            break;
        }
    }
}
