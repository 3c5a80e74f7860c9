//! The bytes of a server, through the connection and the client that talk to Acquire.
//!
//! The bytes are cut into pieces at each 0x1f. After the last piece the server closes the connection.
#![no_main]

use std::cell::RefCell;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc;

use libfuzzer_sys::fuzz_target;
use twilio_acquire_bridge::acquire::{Outcome, RequestKind};
use twilio_acquire_bridge::clock::Clock;
use twilio_acquire_bridge::config::{self, Config};
use twilio_acquire_bridge::delivery::acquire_client::AcquireClient;

struct Exchange {
    system: actix_rt::SystemRunner,
    config: Config,
    server: mpsc::Sender<Vec<u8>>,
}

impl Exchange {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let (server, responses) = mpsc::channel::<Vec<u8>>();
        std::thread::spawn(move || {
            for response in responses {
                let Ok((mut client, _)) = listener.accept() else {
                    continue;
                };
                let mut request = [0; 4096];
                let _ = client.read(&mut request);
                for piece in response.split(|byte| *byte == 0x1f) {
                    let _ = client.write_all(piece);
                }
            }
        });
        let environment = [
            (
                "TWILIO_AUTH_TOKEN",
                "0123456789abcdef0123456789abcdef".to_owned(),
            ),
            ("ACQUIRE_ACCOUNT_ID", "acme".to_owned()),
            (
                "BRIDGE__SERVER__PUBLIC_URL",
                "https://bridge.example.com".to_owned(),
            ),
            ("BRIDGE__ACQUIRE__BASE_URL", format!("http://{address}")),
            ("BRIDGE__DELIVERY__TIMEOUT", "1s".to_owned()),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value));
        let config = config::load(None, environment).expect("the settings are complete");
        let system = actix_rt::System::new();
        Self {
            system,
            config,
            server,
        }
    }
}

thread_local! {
    static EXCHANGE: RefCell<Exchange> = RefCell::new(Exchange::start());
}

fuzz_target!(|data: &[u8]| {
    EXCHANGE.with_borrow_mut(|exchange| {
        exchange
            .server
            .send(data.to_vec())
            .expect("the server runs");
        let account = &exchange.config.accounts[0];
        // A client of its own: what a server sends unasked must not answer the next request.
        let answer = exchange.system.block_on(async {
            let settings = (&exchange.config.acquire, &exchange.config.delivery);
            AcquireClient::new(settings.0, settings.1, Clock::system())
                .expect("http needs no certificates")
                .send(account, RequestKind::CallEnd, "{}".to_owned())
                .await
        });
        if let Some(status) = answer.status {
            assert!(status >= 200, "an interim response decided");
        }
        if matches!(answer.outcome, Outcome::Accepted) {
            let text = String::from_utf8_lossy(data);
            assert!(text.contains("success"), "no body confirmed it");
        }
    });
});
