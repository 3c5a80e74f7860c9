//! Over TLS: certificates are verified.

use std::io::Write as _;
use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tempfile::NamedTempFile;
use twilio_acquire_bridge::acquire::client::ClientError;
use twilio_acquire_bridge::acquire::{Answer, Fault, Outcome};
use twilio_acquire_bridge::tls::TlsError;

use crate::raw::{Raw, Step};
use crate::{Bridge, SAVED, again, http};

/// A TLS server that would accept everything, and its certificate as a file.
fn server(name: &str) -> (Raw, NamedTempFile) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed([name.to_owned()]).expect("a certificate can be made");
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).expect("it is a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring speaks TLS")
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .expect("key and certificate belong together");
    let twice = || {
        let saved = || Step::Send(http("200 OK", SAVED));
        vec![Step::Request, saved(), Step::Request, saved()]
    };
    let raw = Raw::start_tls(Arc::new(config), [twice(), twice()]);

    let mut file = NamedTempFile::new().expect("a file can be made");
    file.write_all(cert.pem().as_bytes())
        .expect("a file can be written");
    (raw, file)
}

fn assert_refused(answer: &Answer, why: &str) {
    assert_eq!(answer.outcome, again(Fault::Tls), "{answer:?}");
    assert_eq!(answer.status, None);
    assert!(answer.excerpt.contains(why), "{answer:?}");
}

#[actix_web::test]
async fn a_self_signed_certificate_is_refused() {
    let (raw, trusted) = server("localhost");
    let base_url = format!("https://localhost:{}", raw.addr.port());
    // Another server's certificate: there is an authority, but not this one.
    let (_, another) = server("localhost");
    let bridge = Bridge::trusting(base_url, Some(another.path().to_owned()));
    let answer = bridge.expect("the file is right").sends().await;
    assert_refused(&answer, "no known authority");
    drop(trusted);
}

#[actix_web::test]
async fn a_certificate_named_by_ca_file_is_accepted() {
    let (mut raw, trusted) = server("localhost");
    let base_url = format!("https://localhost:{}", raw.addr.port());
    let bridge = Bridge::trusting(base_url, Some(trusted.path().to_owned()));
    let bridge = bridge.expect("the file is right");
    for _ in 0..2 {
        let answer = bridge.sends().await;
        assert_eq!(answer.outcome, Outcome::Accepted, "{answer:?}");
    }
    assert_eq!(raw.closed().await, 2, "one connection served both");
}

#[actix_web::test]
async fn a_certificate_for_another_name_is_refused() {
    let (raw, trusted) = server("acme.example");
    let base_url = format!("https://localhost:{}", raw.addr.port());
    let bridge = Bridge::trusting(base_url, Some(trusted.path().to_owned()));
    let answer = bridge.expect("the file is right").sends().await;
    assert_refused(&answer, "another name");
}

#[actix_web::test]
async fn a_server_without_tls_is_a_fault_of_tls() {
    let plain = http("400 Bad Request", "");
    let raw = Raw::start([vec![Step::Send(plain), Step::Hold]]);
    let (_, trusted) = server("localhost");
    let base_url = format!("https://{}", raw.addr);
    let bridge = Bridge::trusting(base_url, Some(trusted.path().to_owned()));
    let answer = bridge.expect("the file is right").sends().await;
    assert_refused(&answer, &raw.addr.to_string());
}

#[actix_web::test]
async fn a_ca_file_that_is_not_there_makes_no_client() {
    let bridge = Bridge::trusting(
        "https://acme.invalid".to_owned(),
        Some("/nowhere/ca.pem".into()),
    );
    match bridge {
        Err(error @ ClientError::Tls(TlsError::CaUnreadable { .. })) => {
            assert!(error.to_string().contains("/nowhere/ca.pem"), "{error}");
        }
        Err(error) => panic!("another error: {error}"),
        Ok(_) => panic!("there is no such file"),
    }
}

#[actix_web::test]
async fn a_base_url_that_is_not_http_makes_no_client() {
    for base_url in ["acme.acquire.io", "ftp://acme.acquire.io", ""] {
        let bridge = Bridge::trusting(base_url.to_owned(), None);
        assert!(matches!(bridge, Err(ClientError::BaseUrl(_))), "{base_url}");
    }
}
