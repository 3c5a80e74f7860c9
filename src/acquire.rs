//! Acquire's types: the call-end and event messages, and the outcome of a request.
//!
//! It does no I/O and does not know Twilio.

pub mod response;

use std::time::Duration;

use serde::{Deserialize, Serialize};

words! {
    /// The message of Acquire's phone API in a request
    /// (developer.acquire.io, branch 2.0.0, "Phone").
    #[derive(Hash)]
    pub enum RequestKind {
        CallInQueue = "call-in-queue",
        CallRinging = "call-ringing",
        CallAnswered = "call-answered",
        CallEnd = "call-end",
        /// A second call-end, with a recording that arrived after the first (`recording.late`).
        CallEndAgain = "call-end-again",
    }
}

/// The body of call-end (developer.acquire.io, `telecommunication-outsider/call-end.md`, 67bcb64).
///
/// The field order is that of the page's sample. The sample has `email`; the table above it has
/// `CalleeEmail`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallEnd {
    #[serde(rename = "From")]
    pub from: String,
    #[serde(rename = "To")]
    pub to: String,
    #[serde(rename = "CallId")]
    pub call_id: String,
    /// Of the callee; "optional for the incoming call".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    #[serde(rename = "CallStatus")]
    pub call_status: CallStatus,
    #[serde(rename = "RecordingUrl", skip_serializing_if = "Option::is_none")]
    pub recording_url: Option<String>,
    /// Seconds, as a string.
    #[serde(rename = "Duration", skip_serializing_if = "Option::is_none")]
    pub duration: Option<String>,
    #[serde(rename = "Direction")]
    pub direction: Direction,
}

/// The body of call-in-queue, call-ringing and call-answered, which report a call before its end
/// (developer.acquire.io, `telecommunication-outsider`, 273cf39). A field that an endpoint does not
/// document is left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallEvent {
    #[serde(rename = "From")]
    pub from: String,
    #[serde(rename = "To")]
    pub to: String,
    #[serde(rename = "CallId")]
    pub call_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    #[serde(rename = "Direction", skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CallStatus {
    Busy,
    NoAnswer,
    Canceled,
    Failed,
    Completed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    Incoming,
    Outgoing,
}

/// The outcome of a request, with or without a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Acquire accepted the call.
    Accepted,
    /// Acquire had accepted the call before (`ERROR_DUPLICATE_RECORD_FOUND`).
    AcceptedAsRepeat,
    /// A retry may help; `after` is the wait that Acquire requested.
    Retry {
        fault: DeliveryFault,
        after: Option<Duration>,
    },
    /// A retry cannot help.
    Refused,
}

impl Outcome {
    /// The name in metrics: the name of the fault, if there is one.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::AcceptedAsRepeat => "accepted-as-repeat",
            Self::Retry { fault, .. } => fault.as_str(),
            Self::Refused => "refused",
        }
    }

    /// The fault, if a retry may help.
    pub fn fault(&self) -> Option<DeliveryFault> {
        match self {
            Self::Retry { fault, .. } => Some(*fault),
            Self::Accepted | Self::AcceptedAsRepeat | Self::Refused => None,
        }
    }
}

words! {
    /// Why a request failed that a retry may complete.
    #[derive(Hash, Serialize, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    pub enum DeliveryFault {
        Dns = "dns",
        Connect = "connect",
        Tls = "tls",
        TimeOut = "time-out",
        Reset = "reset",
        /// The forward proxy opened no tunnel: it is unreachable or slow, or cannot reach Acquire.
        Proxy = "proxy",
        /// The forward proxy wants credentials (407), or its rules forbid the target: a setting is wrong.
        ProxyRefused = "proxy-refused",
        /// 408, 425, 429 or 5xx.
        Busy = "busy",
        /// 3xx, 401, 403 or 404: a setting is wrong.
        Configuration = "configuration",
        /// 2xx, but its body reports a failure.
        SuccessFalse = "success-false",
        /// 2xx, but its body is not Acquire's JSON.
        Unreadable = "unreadable",
    }
}

impl DeliveryFault {
    /// The first thing that the operator should check.
    pub fn advice(self) -> &'static str {
        match self {
            Self::Dns => "check acquire.base_url and the machine's name servers",
            Self::Connect => "check acquire.base_url and outbound network access",
            Self::Tls => {
                "check acquire.ca_file, acquire.client_cert_file and the certificate of \
                 acquire.base_url"
            }
            Self::TimeOut => "Acquire is slow, or delivery.timeout is too short",
            Self::Reset => "Acquire or something before it closed the connection",
            Self::Proxy => "check acquire.proxy, and whether the proxy reaches acquire.base_url",
            Self::ProxyRefused => "check acquire.proxy, its credentials and the proxy's rules",
            Self::Busy => "Acquire is busy or failing",
            Self::Configuration => {
                "check acquire_account_id, acquire.api_key, acquire.base_url and \
                 acquire.call_end_path"
            }
            Self::SuccessFalse | Self::Unreadable => {
                "check acquire.success and the recorded response"
            }
        }
    }

    /// Whether Acquire may have accepted the call although its response (a 2xx) does not say so.
    pub fn is_unclear(self) -> bool {
        matches!(self, Self::SuccessFalse | Self::Unreadable)
    }
}

/// Acquire's response to one request, or the network error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcquireResponse {
    pub outcome: Outcome,
    /// The HTTP status, if one arrived.
    pub status: Option<u16>,
    /// The start of the response's body, or the network error in words.
    pub excerpt: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_end_is_written_as_acquire_documents_it() {
        let call_end = CallEnd {
            from: "+12025550123".into(),
            to: "+12025550199".into(),
            call_id: "CA00000000000000000000000000000001".into(),
            email: None,
            call_status: CallStatus::NoAnswer,
            recording_url: None,
            duration: Some("10".into()),
            direction: Direction::Incoming,
        };
        assert_eq!(
            serde_json::to_string(&call_end).expect("a call-end is always JSON"),
            r#"{"From":"+12025550123","To":"+12025550199","CallId":"CA00000000000000000000000000000001","CallStatus":"no-answer","Duration":"10","Direction":"incoming"}"#
        );
    }

    #[test]
    fn every_fault_is_parsed_from_its_name() {
        for fault in DeliveryFault::ALL {
            assert_eq!(DeliveryFault::parse(fault.as_str()), Some(fault));
            assert_eq!(serde_json::json!(fault), fault.as_str());
        }
    }
}
