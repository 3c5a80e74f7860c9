//! Refused requests told for people and programs. Nothing of them is verified.

use serde::Serialize;

use crate::store::{RefusedCause, StoredRefusedRequest};

/// One cause and how much is kept of it.
#[derive(Clone, Debug, Serialize)]
pub struct CauseLine {
    pub cause: String,
    pub count: u64,
    /// RFC 3339.
    pub first: String,
    pub last: String,
    /// The number of the latest.
    pub example: i64,
}

impl CauseLine {
    #[must_use]
    pub fn of(cause: &RefusedCause) -> Self {
        Self {
            cause: cause.cause.clone(),
            count: cause.count,
            first: cause.first.to_string(),
            last: cause.last.to_string(),
            example: cause.example,
        }
    }
}

/// One request as it arrived.
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
    /// What is no UTF-8 is replaced; `export` has the exact bytes.
    pub body: String,
    pub body_bytes: u64,
}

impl RefusedLine {
    #[must_use]
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
