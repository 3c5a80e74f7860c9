//! Over TLS: Twilio's certificate is verified before the API key is sent.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use rcgen::CertifiedKey;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tempfile::NamedTempFile;

use super::*;
use crate::support::certified::{self_signed, showing};

/// A fake of Twilio's API behind TLS, and its certificate as a file.
struct TlsApi {
    api: Api,
    url: String,
    certificate: NamedTempFile,
}

impl TlsApi {
    /// With a certificate for `name`, reached as `localhost`.
    fn start(name: &str) -> Self {
        let CertifiedKey { cert, signing_key } = self_signed(name);
        let config = showing(&cert, &signing_key);
        let mut certificate = NamedTempFile::new().expect("a file can be made");
        certificate
            .write_all(cert.pem().as_bytes())
            .expect("a file can be written");

        let api = Api::start(Gives::Recording("audio/x-wav", b"0123456789".to_vec()));
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let (config, plain) = (config, api.url().replace("http://", ""));
        // Ends with the tests' process, waiting for a connection.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                // A client that does not trust the server ends the handshake.
                let _ = pass_on(stream.expect("a connection"), &config, &plain);
            }
        });
        Self {
            api,
            url: format!("https://localhost:{port}"),
            certificate,
        }
    }

    fn bridge(&self, trusted: &NamedTempFile) -> Bridge {
        let trusted = trusted.path().to_str().expect("a plain path");
        bridge_at(&self.url, &[("BRIDGE__TWILIO__CA_FILE", trusted)])
    }
}

/// One request without a body, and its answer to the end of the connection.
fn pass_on(stream: TcpStream, config: &Arc<ServerConfig>, plain: &str) -> std::io::Result<()> {
    let tls = ServerConnection::new(Arc::clone(config)).expect("a server's configuration");
    let mut tls = StreamOwned::new(tls, stream);
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        tls.read_exact(&mut byte)?;
        head.extend(byte);
    }
    let mut api = TcpStream::connect(plain)?;
    api.write_all(&head)?;
    std::io::copy(&mut api, &mut tls)?;
    tls.conn.send_close_notify();
    tls.flush()
}

fn played(bridge: &Bridge) -> Answer {
    get(bridge, &target(bridge), &[])
}

#[test]
fn a_recording_is_fetched_over_tls_from_a_server_that_ca_file_trusts() {
    let twilio = TlsApi::start("localhost");
    let answer = played(&twilio.bridge(&twilio.certificate));
    assert_eq!((answer.status, answer.body.as_str()), (200, "0123456789"));
    assert!(twilio.api.asked()[0].header("authorization").is_some());
}

#[test]
fn no_key_is_sent_to_an_untrusted_server() {
    let twilio = TlsApi::start("localhost");
    let another = TlsApi::start("localhost");
    let answer = played(&twilio.bridge(&another.certificate));
    assert_eq!(answer.status, 502, "{}", answer.body);
    assert_eq!(twilio.api.asked().len(), 0);
}

#[test]
fn no_key_is_sent_to_a_server_of_another_name() {
    let twilio = TlsApi::start("api.example.com");
    let answer = played(&twilio.bridge(&twilio.certificate));
    assert_eq!(answer.status, 502, "{}", answer.body);
    assert_eq!(twilio.api.asked().len(), 0);
}
