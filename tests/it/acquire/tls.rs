//! Over TLS: certificates are verified.

use std::sync::Arc;

use actix_tls::connect::Resolver;
use rcgen::{Certificate, CertificateParams, CertifiedKey, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use tempfile::NamedTempFile;
use twilio_acquire_bridge::acquire::{AcquireResponse, DeliveryFault, Outcome};
use twilio_acquire_bridge::config::AcquireSettings;
use twilio_acquire_bridge::delivery::acquire_client::AcquireClientError;
use twilio_acquire_bridge::net::tls::CertificatePair;
use twilio_acquire_bridge::net::tls::TlsError;

use super::certificates::{Authority, Clients, file};
use super::raw::{Raw, Step};
use super::{Bridge, LONG_TIMEOUT, SAVED, acquire, again, http};
use crate::support::certified::{self_signed, showing};

/// A TLS server that would accept everything, and its own certificate as a file.
fn server(name: &str) -> (Raw, NamedTempFile) {
    let CertifiedKey { cert, signing_key } = self_signed(name);
    server_with(&cert, &signing_key)
}

fn server_with(cert: &Certificate, key: &KeyPair) -> (Raw, NamedTempFile) {
    let twice = || {
        let saved = || Step::Send(http("200 OK", SAVED));
        vec![Step::Request, saved(), Step::Request, saved()]
    };
    let raw = Raw::start_tls(showing(cert, key), [twice(), twice()]);
    (raw, file(&cert.pem()))
}

/// The outcome of a request to this server by a bridge that trusts `authority`.
async fn sent_with(
    authority: &Authority,
    server: Arc<ServerConfig>,
    certificate: Option<CertificatePair>,
) -> AcquireResponse {
    let saved = || Step::Send(http("200 OK", SAVED));
    let raw = Raw::start_tls(server, [vec![Step::Request, saved()]]);
    let trusted = authority.file();
    let acquire = AcquireSettings {
        ca_file: Some(trusted.path().to_owned()),
        client_certificate: certificate,
        ..acquire(format!("https://localhost:{}", raw.addr.port()))
    };
    let bridge = Bridge::build(LONG_TIMEOUT, Resolver::default(), &acquire);
    bridge.expect("the files are right").sends().await
}

fn assert_refused(answer: &AcquireResponse, why: &str) {
    assert_eq!(answer.outcome, again(DeliveryFault::Tls), "{answer:?}");
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
async fn a_certificate_of_a_private_authority_is_accepted() {
    let authority = Authority::new();
    let server = authority.server("localhost", Clients::All);
    let answer = sent_with(&authority, server, None).await;
    assert_eq!(answer.outcome, Outcome::Accepted, "{answer:?}");

    let server = Authority::new().server("localhost", Clients::All);
    assert_refused(
        &sent_with(&authority, server, None).await,
        "no known authority",
    );
}

#[actix_web::test]
async fn a_server_that_asks_for_a_client_certificate_gets_it() {
    let authority = Authority::new();
    let server = || authority.server("localhost", Clients::CertifiedBy(&authority));
    let (certificate, _files) = authority.client();
    let answer = sent_with(&authority, server(), Some(certificate)).await;
    assert_eq!(answer.outcome, Outcome::Accepted, "{answer:?}");

    let answer = sent_with(&authority, server(), None).await;
    assert_refused(&answer, "acquire.client_cert_file");
    let (foreign, _files) = Authority::new().client();
    let answer = sent_with(&authority, server(), Some(foreign)).await;
    assert_refused(&answer, "acquire.client_cert_file");
}

#[actix_web::test]
async fn the_check_of_the_network_names_the_objection_of_a_server() {
    let authority = Authority::new();
    let (certificate, _files) = authority.client();
    for (certificate, said) in [
        (Some(certificate), Ok("its certificate is trusted")),
        (None, Err("acquire.client_cert_file")),
    ] {
        let server = authority.server("localhost", Clients::CertifiedBy(&authority));
        let mut raw = Raw::start_tls(server, [vec![Step::Request]]);
        let trusted = authority.file();
        let acquire = AcquireSettings {
            ca_file: Some(trusted.path().to_owned()),
            client_certificate: certificate,
            ..acquire(format!("https://localhost:{}", raw.addr.port()))
        };
        let bridge = Bridge::build(LONG_TIMEOUT, Resolver::default(), &acquire);
        let bridge = bridge.expect("the files are right");
        let reached = bridge.client.reach(&bridge.account).await;
        assert_eq!(reached.is_ok(), said.is_ok(), "{reached:?}");
        let (Ok(words) | Err(words)) = &reached;
        let (Ok(expected) | Err(expected)) = said;
        assert!(words.contains(expected), "{words}");
        assert_eq!(raw.closed().await, 0, "nothing is posted");
    }
}

#[actix_web::test]
async fn a_certificate_and_a_key_that_do_not_go_together_make_no_client() {
    let authority = Authority::new();
    let (mut certificate, _files) = authority.client();
    let (other, _others) = authority.client();
    certificate.key_file = other.key_file;
    let acquire = AcquireSettings {
        client_certificate: Some(certificate),
        ..acquire("https://acme.example".to_owned())
    };
    let Err(why) = Bridge::build(LONG_TIMEOUT, Resolver::default(), &acquire) else {
        panic!("they do not go together");
    };
    assert!(why.to_string().contains("acquire.client_key_file"), "{why}");
}

#[actix_web::test]
async fn an_expired_certificate_is_refused() {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
    params.not_before = date_time_ymd(2001, 1, 1);
    params.not_after = date_time_ymd(2002, 1, 1);
    let cert = params.self_signed(&key).expect("a certificate");
    let (raw, trusted) = server_with(&cert, &key);
    let base_url = format!("https://localhost:{}", raw.addr.port());
    let bridge = Bridge::trusting(base_url, Some(trusted.path().to_owned()));
    let answer = bridge.expect("the file is right").sends().await;
    assert_refused(&answer, "has expired");
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
        Err(error @ AcquireClientError::Tls(TlsError::Unreadable { .. })) => {
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
        assert!(
            matches!(bridge, Err(AcquireClientError::BaseUrl(_))),
            "{base_url}"
        );
    }
}
