//! Refused requests, for `list`, `show`, the console and the API. Their content is not verified.

use serde::Serialize;

use crate::store::{RefusedCause, StoredRefusedRequest};

/// One cause and the number of its refused requests.
#[derive(Clone, Debug, Serialize)]
pub struct CauseLine {
    pub cause: String,
    pub count: u64,
    /// Requests of this cause that the bridge refused since its start, if fewer are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counted: Option<u64>,
    /// RFC 3339.
    pub first: String,
    pub last: String,
    /// The id of the latest request.
    pub example: i64,
}

impl CauseLine {
    pub fn of(cause: &RefusedCause) -> Self {
        Self {
            cause: cause.cause.clone(),
            count: cause.count,
            counted: None,
            first: cause.first.to_string(),
            last: cause.last.to_string(),
            example: cause.example,
        }
    }
}

/// One refused request as received.
#[derive(Clone, Debug, Serialize)]
pub struct RefusedLine {
    pub id: i64,
    /// RFC 3339.
    pub at: String,
    pub cause: String,
    pub explanation: String,
    pub status: u16,
    pub peer: String,
    pub method: String,
    pub target: String,
    pub url: String,
    pub headers: Vec<String>,
    /// Invalid UTF-8 is replaced; `export` has the exact bytes.
    pub body: String,
    pub body_bytes: u64,
}

impl RefusedLine {
    pub fn of(stored: &StoredRefusedRequest) -> Self {
        let request = &stored.request;
        Self {
            id: stored.id,
            at: request.at.to_string(),
            cause: request.cause.clone(),
            explanation: request.explanation.clone(),
            status: request.status,
            peer: request.peer.clone(),
            method: request.method.clone(),
            target: request.target.clone(),
            url: request.url.clone(),
            headers: request.headers.lines().map(str::to_owned).collect(),
            body: String::from_utf8_lossy(&request.body).into_owned(),
            body_bytes: request.body_bytes,
        }
    }
}
