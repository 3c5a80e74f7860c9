//! The bytes of a client: a PROXY protocol header, then HTTP requests, to the public listener of a bridge.
//!
//! The bytes are cut into pieces at each 0x1f. After the last piece the client sends no more.
#![no_main]

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{LazyLock, mpsc};

use libfuzzer_sys::fuzz_target;
use tempfile::tempdir;
use tokio_util::sync::CancellationToken;
use twilio_acquire_bridge::app::{self, App};
use twilio_acquire_bridge::clock::Clock;
use twilio_acquire_bridge::config;

/// A bridge whose token signed no request of the corpus, so that it records none.
static BRIDGE: LazyLock<SocketAddr> = LazyLock::new(|| {
    let (sender, address) = mpsc::channel();
    std::thread::spawn(move || {
        let folder = tempdir().expect("a folder for the store");
        let store = folder.path().join("bridge.db");
        let environment = [
            ("TWILIO_AUTH_TOKEN", "fedcba9876543210fedcba9876543210"),
            ("ACQUIRE_ACCOUNT_ID", "acme"),
            ("BRIDGE__SERVER__PUBLIC_URL", "https://bridge.example.com"),
            ("BRIDGE__SERVER__LISTEN", "127.0.0.1:0"),
            ("BRIDGE__SERVER__PROXY_PROTOCOL", "required"),
            ("BRIDGE__SERVER__TRUSTED_PROXIES", "127.0.0.0/8"),
            ("BRIDGE__SERVER__REQUEST_TIMEOUT", "1s"),
            ("BRIDGE__ADMIN__LISTEN", "127.0.0.1:0"),
            ("BRIDGE__STORE__URL", &format!("sqlite:{}", store.display())),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let config = config::load(None, environment).expect("the settings are complete");
        app::block_on(async {
            let app = App::build(config, Clock::system()).expect("a bridge");
            let public = app.public_addr().expect("it is bound");
            sender.send(public).expect("the fuzzer waits");
            app.run(CancellationToken::new()).await.expect("it runs");
        });
    });
    address.recv().expect("the bridge starts")
});

fuzz_target!(|data: &[u8]| {
    let mut client = TcpStream::connect(*BRIDGE).expect("the bridge accepts connections");
    for piece in data.split(|byte| *byte == 0x1f) {
        // The bridge may have closed the connection.
        let _ = client.write_all(piece);
    }
    let _ = client.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    let _ = client.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    assert!(!answer.contains("HTTP/1.1 2"), "a request without a valid signature was accepted: {answer}");
    assert!(!answer.contains("HTTP/1.1 500"), "{answer}");
});
