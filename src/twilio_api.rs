//! A client for Twilio's REST API: recordings, and Twilio's own records of calls.
//!
//! It reads only; it compares and stores nothing. A client stays on the thread that made it, as each
//! client of awc does.

mod client;
mod lists;
pub mod recordings;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_tls::connect::Resolver;
use rustls::ClientConfig;

pub use client::{TwilioApi, TwilioApiError};
pub use lists::ListPages;

use crate::clock::Millis;
use crate::config::TwilioSettings;
use crate::net::tls::{self, PrivateCa, TlsError};
use crate::net::{self, OutboundConnector};

/// For the answer to [`server_time`].
const DATE_TIMEOUT: Duration = Duration::from_secs(5);

/// The `Date` of `twilio.api_url`, by a request without an API key.
pub async fn server_time(settings: &TwilioSettings) -> Option<Millis> {
    let http = http_client(settings, tls_config(settings).ok()?, DATE_TIMEOUT);
    net::server_time(&http, &settings.api_url, DATE_TIMEOUT).await
}

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

/// A client of this thread; `timeout` limits the opening of a connection.
fn http_client(
    settings: &TwilioSettings,
    tls: Option<Arc<ClientConfig>>,
    timeout: Duration,
) -> awc::Client {
    net::http_client(Rc::new(OutboundConnector {
        tls,
        proxy: settings.proxy.clone(),
        names: Resolver::default(),
        timeout,
    }))
}
