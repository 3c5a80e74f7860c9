//! Network errors in plain words, each with its fault; decides nothing about a retry.

use std::error::Error;
use std::io::{self, ErrorKind};

use awc::error::{ConnectError, SendRequestError};
use rustls::{AlertDescription, CertificateError};

use crate::acquire::DeliveryFault;
use crate::net::{ProxyTunnelError, TlsHandshakeError, root_cause};

/// Why no complete answer arrived.
pub struct NetworkError {
    pub fault: DeliveryFault,
    pub words: String,
}

/// Describes an error of awc in an exchange with `peer`.
pub fn explain(error: &SendRequestError, peer: &str) -> NetworkError {
    let (fault, words) = match error {
        SendRequestError::Connect(error) => connecting(error, peer),
        SendRequestError::Timeout => (
            DeliveryFault::TimeOut,
            format!("{peer} did not answer in time"),
        ),
        SendRequestError::Send(error) => talking(error, peer),
        SendRequestError::Response(error) => {
            match error.source().and_then(<dyn Error>::downcast_ref) {
                Some(error) => talking(error, peer),
                None => (
                    DeliveryFault::Reset,
                    format!("the answer of {peer} is not HTTP: {error}"),
                ),
            }
        }
        SendRequestError::Url(error) => (DeliveryFault::Configuration, error.to_string()),
        SendRequestError::Http(error) => (
            DeliveryFault::Configuration,
            format!("the request cannot be written (acquire.api_key?): {error}"),
        ),
        other => (
            DeliveryFault::Reset,
            format!("the connection to {peer} broke off: {other}"),
        ),
    };
    NetworkError { fault, words }
}

/// Why no connection to `peer` was opened.
pub fn of_connecting(error: &ConnectError, peer: &str) -> NetworkError {
    let (fault, words) = connecting(error, peer);
    NetworkError { fault, words }
}

fn connecting(error: &ConnectError, peer: &str) -> (DeliveryFault, String) {
    match error {
        ConnectError::Resolver(error) => (
            DeliveryFault::Dns,
            format!(
                "the name in {peer} cannot be resolved: {}",
                root_cause(&**error)
            ),
        ),
        ConnectError::NoRecords | ConnectError::Unresolved => (
            DeliveryFault::Dns,
            format!("the name in {peer} has no address"),
        ),
        ConnectError::Timeout => (
            DeliveryFault::TimeOut,
            format!("{peer} cannot be reached in time"),
        ),
        ConnectError::Disconnected => (
            DeliveryFault::Reset,
            format!("{peer} closed the connection without an answer"),
        ),
        ConnectError::Io(error) => of_opening(error, peer),
        other => (
            DeliveryFault::Connect,
            format!("{peer} cannot be reached: {other}"),
        ),
    }
}

fn of_opening(error: &io::Error, peer: &str) -> (DeliveryFault, String) {
    if let Some(error) = inside::<ProxyTunnelError>(error) {
        let fault = if error.is_by_rule() {
            DeliveryFault::ProxyRefused
        } else {
            DeliveryFault::Proxy
        };
        return (fault, error.to_string());
    }
    match inside::<TlsHandshakeError>(error) {
        Some(TlsHandshakeError(error)) => (DeliveryFault::Tls, tls_words(error, peer)),
        None if error.kind() == ErrorKind::TimedOut => {
            (DeliveryFault::TimeOut, io_words(error, peer))
        }
        None => (DeliveryFault::Connect, io_words(error, peer)),
    }
}

/// Why talking to `peer` over an open connection failed.
pub fn of_talking(error: &io::Error, peer: &str) -> NetworkError {
    let (fault, words) = talking(error, peer);
    NetworkError { fault, words }
}

fn talking(error: &io::Error, peer: &str) -> (DeliveryFault, String) {
    if inside::<rustls::Error>(error).is_some() {
        return (DeliveryFault::Tls, tls_words(error, peer));
    }
    (DeliveryFault::Reset, io_words(error, peer))
}

fn io_words(error: &io::Error, peer: &str) -> String {
    match error.kind() {
        ErrorKind::ConnectionRefused => format!("connection refused by {peer}"),
        ErrorKind::ConnectionReset => format!("connection reset by {peer}"),
        ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof | ErrorKind::ConnectionAborted => {
            format!("connection closed by {peer}")
        }
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
            format!("no route to {peer}")
        }
        ErrorKind::TimedOut => format!("{peer} cannot be reached in time"),
        ErrorKind::InvalidData => format!("the answer of {peer} cannot be read: {error}"),
        _ => format!("the connection to {peer} failed: {error}"),
    }
}

fn inside<E: Error + 'static>(error: &io::Error) -> Option<&E> {
    error.get_ref()?.downcast_ref()
}

fn tls_words(error: &io::Error, peer: &str) -> String {
    use CertificateError as Why;
    let Some(error) = inside::<rustls::Error>(error) else {
        return format!("TLS handshake: {}", io_words(error, peer));
    };
    match error {
        // A CA with the same name and another key is unknown too: webpki reports a bad signature.
        rustls::Error::InvalidCertificate(Why::UnknownIssuer | Why::BadSignature) => format!(
            "the certificate of {peer} is from no known authority (acquire.ca_file can name one)"
        ),
        rustls::Error::InvalidCertificate(
            Why::NotValidForName | Why::NotValidForNameContext { .. },
        ) => format!("the certificate of {peer} is for another name"),
        rustls::Error::InvalidCertificate(Why::Expired | Why::ExpiredContext { .. }) => {
            format!("the certificate of {peer} has expired")
        }
        rustls::Error::AlertReceived(alert) if is_about_the_client(*alert) => format!(
            "{peer} does not accept the client certificate, or requires one \
             (acquire.client_cert_file): {error}"
        ),
        error => format!("TLS with {peer} failed: {error}"),
    }
}

/// Whether a server sends this alert about a missing or untrusted client certificate (RFC 8446,
/// section 6.2). Before TLS 1.3 some servers only send `handshake_failure`.
fn is_about_the_client(alert: AlertDescription) -> bool {
    use AlertDescription as Alert;
    matches!(
        alert,
        Alert::CertificateRequired
            | Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::AccessDenied
            | Alert::DecryptError
            | Alert::HandshakeFailure
    )
}
