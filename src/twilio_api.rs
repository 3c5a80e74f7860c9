//! A client for Twilio's REST API: recordings, and Twilio's own records of calls.
//!
//! It reads only; it compares and stores nothing. A client stays on the thread that made it, as each
//! client of awc does.

mod client;
pub mod recordings;

use std::sync::Arc;

use rustls::ClientConfig;

pub use client::{ListPages, TwilioApi, TwilioApiError};

use crate::config::TwilioSettings;
use crate::net::tls::{self, PrivateCa, TlsError};

/// TLS for `twilio.api_url` and `twilio.monitor_url`, for the clients of all threads; `None` if
/// `twilio.api_url` is an `http` URL.
pub fn tls_config(settings: &TwilioSettings) -> Result<Option<Arc<ClientConfig>>, TlsError> {
    if settings.api_url.starts_with("https://") {
        let private = settings.ca_file.as_deref().map(|file| PrivateCa {
            setting: "twilio.ca_file",
            file,
        });
        tls::client_config(private, None).map(Some)
    } else {
        Ok(None)
    }
}
