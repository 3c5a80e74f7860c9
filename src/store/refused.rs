//! Requests that were refused, kept as evidence of why. Nothing of them is verified: whoever reaches
//! the listener writes them.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::StoreError;
use crate::clock::Millis;

/// A refused request as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedRequest {
    pub at: Millis,
    /// Why, in the word that is counted and logged.
    pub cause: String,
    /// Why, in sentences, and what to do.
    pub explanation: String,
    /// The HTTP status of the answer.
    pub status: u16,
    /// The address that it came from.
    pub peer: String,
    pub method: String,
    /// Path and query as they arrived.
    pub target: String,
    /// The URL that was held against the signature: a public URL with the target.
    pub url: String,
    /// The headers that matter, `name: value` a line.
    pub headers: String,
    /// What was read of the body, and kept of that.
    pub body: Bytes,
    /// How many bytes were read; more than `body` has where that was cut.
    pub body_bytes: u64,
}

/// A refused request and the number by which it is found, which is never used twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRefusedRequest {
    pub id: i64,
    pub request: RefusedRequest,
}

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefusedLimits {
    /// The most requests. Where there are more, the oldest of the cause that has most of them goes: no
    /// cause can push out another that is rarer.
    pub most: usize,
    /// For how long.
    pub retention: Duration,
}

/// What is kept of one cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedCause {
    pub cause: String,
    pub count: u64,
    pub first: Millis,
    pub last: Millis,
    /// The number of the latest.
    pub example: i64,
}

/// Which refused requests: all that is asked for must hold. The latest come first.
#[derive(Clone, Debug)]
pub struct RefusedFilter {
    pub id: Option<i64>,
    pub cause: Option<String>,
    pub limit: usize,
}

/// Keeps refused requests, within bounds and behind everything else.
#[async_trait]
pub trait Refusals {
    /// Keeps these, and removes what is over the bounds or its time.
    async fn refuse(
        &self,
        requests: Vec<RefusedRequest>,
        keep: RefusedLimits,
        now: Millis,
    ) -> Result<(), StoreError>;

    /// What is kept by cause, the latest cause first.
    async fn refused_by_cause(&self) -> Result<Vec<RefusedCause>, StoreError>;

    async fn refused(&self, filter: RefusedFilter)
    -> Result<Vec<StoredRefusedRequest>, StoreError>;
}
