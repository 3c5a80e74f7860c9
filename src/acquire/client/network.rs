//! The network's errors in plain words.

use std::error::Error;
use std::io::{self, ErrorKind};

use awc::error::{ConnectError, SendRequestError};
use rustls::CertificateError;

use crate::acquire::Fault;
use crate::outward::HandshakeFailed;

/// Why no whole answer arrived.
pub struct Failure {
    pub fault: Fault,
    pub words: String,
}

/// Puts an error of awc, met while talking to `peer`, into words.
pub fn explain(error: &SendRequestError, peer: &str) -> Failure {
    let (fault, words) = match error {
        SendRequestError::Connect(error) => of_connecting(error, peer),
        SendRequestError::Timeout => (Fault::TimeOut, format!("{peer} did not answer in time")),
        SendRequestError::Send(error) => of_talking(error, peer),
        SendRequestError::Response(error) => {
            match error.source().and_then(<dyn Error>::downcast_ref) {
                Some(error) => of_talking(error, peer),
                None => (
                    Fault::Reset,
                    format!("the answer of {peer} is not HTTP: {error}"),
                ),
            }
        }
        SendRequestError::Url(error) => (Fault::Configuration, error.to_string()),
        SendRequestError::Http(error) => (
            Fault::Configuration,
            format!("the request cannot be written (acquire.api_key?): {error}"),
        ),
        other => (
            Fault::Reset,
            format!("the connection to {peer} broke off: {other}"),
        ),
    };
    Failure { fault, words }
}

fn of_connecting(error: &ConnectError, peer: &str) -> (Fault, String) {
    match error {
        ConnectError::Resolver(error) => (
            Fault::Dns,
            format!("the name in {peer} cannot be resolved: {}", root(&**error)),
        ),
        ConnectError::NoRecords | ConnectError::Unresolved => {
            (Fault::Dns, format!("the name in {peer} has no address"))
        }
        ConnectError::Timeout => (Fault::TimeOut, format!("{peer} cannot be reached in time")),
        ConnectError::Disconnected => (
            Fault::Reset,
            format!("{peer} closed the connection without an answer"),
        ),
        ConnectError::Io(error) => match handshake_failure(error) {
            Some(error) => (Fault::Tls, tls_words(error, peer)),
            None => (Fault::Connect, io_words(error, peer)),
        },
        other => (Fault::Connect, format!("{peer} cannot be reached: {other}")),
    }
}

fn of_talking(error: &io::Error, peer: &str) -> (Fault, String) {
    if tls_error(error).is_some() {
        return (Fault::Tls, tls_words(error, peer));
    }
    (Fault::Reset, io_words(error, peer))
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

fn handshake_failure(error: &io::Error) -> Option<&io::Error> {
    let failed = error.get_ref()?.downcast_ref::<HandshakeFailed>()?;
    Some(&failed.0)
}

fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

fn tls_words(error: &io::Error, peer: &str) -> String {
    use CertificateError as Why;
    let Some(error) = tls_error(error) else {
        return format!("TLS handshake: {}", io_words(error, peer));
    };
    match error {
        // An authority of the same name with another key is as unknown as one of another name.
        rustls::Error::InvalidCertificate(Why::UnknownIssuer | Why::BadSignature) => format!(
            "the certificate of {peer} is from no known authority (acquire.ca_file can name one)"
        ),
        rustls::Error::InvalidCertificate(
            Why::NotValidForName | Why::NotValidForNameContext { .. },
        ) => format!("the certificate of {peer} is for another name"),
        rustls::Error::InvalidCertificate(Why::Expired | Why::ExpiredContext { .. }) => {
            format!("the certificate of {peer} has expired")
        }
        error => format!("TLS with {peer} failed: {error}"),
    }
}

/// The innermost cause: the only one that says more than that something failed.
fn root<'a>(mut error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    while let Some(cause) = error.source() {
        error = cause;
    }
    error
}
