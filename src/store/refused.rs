//! Refused requests, kept for diagnosis. They are not verified: any client of the listener can write
//! them.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::StoreError;
use crate::clock::Millis;

/// A refused request as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedRequest {
    pub at: Millis,
    /// The cause, as metrics and logs name it.
    pub cause: String,
    /// The cause in sentences, with the next step.
    pub explanation: String,
    /// The HTTP status of the answer.
    pub status: u16,
    /// The address of the client.
    pub peer: String,
    pub method: String,
    /// Path and query as they arrived.
    pub target: String,
    /// The URL that was verified: a public URL with the target.
    pub url: String,
    /// The headers for diagnosis, one `name: value` per line.
    pub headers: String,
    /// The kept start of the body.
    pub body: Bytes,
    /// The number of bytes that were read; more than in `body` if that was cut.
    pub body_bytes: u64,
}

/// A refused request with its number, which is never used twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRefusedRequest {
    pub id: i64,
    pub request: RefusedRequest,
}

/// The limits of refused requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefusedLimits {
    /// The most requests. Above it, the oldest request of the most frequent cause is removed, so that no
    /// cause displaces a rarer one.
    pub most: usize,
    /// How long a request is kept.
    pub retention: Duration,
}

/// The kept requests of one cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedCause {
    pub cause: String,
    pub count: u64,
    pub first: Millis,
    pub last: Millis,
    /// The number of the latest request.
    pub example: i64,
}

/// Selects the refused requests that match all fields. The latest come first.
#[derive(Clone, Debug)]
pub struct RefusedFilter {
    pub id: Option<i64>,
    pub cause: Option<String>,
    pub limit: usize,
}

/// Keeps refused requests within limits, with the lowest priority.
#[async_trait]
pub trait Refusals {
    /// Stores `requests`, and removes those beyond the limits.
    async fn refuse(
        &self,
        requests: Vec<RefusedRequest>,
        limits: RefusedLimits,
        now: Millis,
    ) -> Result<(), StoreError>;

    /// The kept requests by cause, the latest cause first.
    async fn refused_by_cause(&self) -> Result<Vec<RefusedCause>, StoreError>;

    async fn refused(&self, filter: RefusedFilter)
    -> Result<Vec<StoredRefusedRequest>, StoreError>;
}
