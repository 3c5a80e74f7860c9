//! Twilio, as tests speak of it.

use std::net::SocketAddr;
use std::path::PathBuf;

use twilio_acquire_bridge::debugging::fixture::Fixture;
use twilio_acquire_bridge::twilio::signature::{Body, SigningKey, fields, sign};

use super::http::{Answer, exchange};

pub const TOKEN: &str = "0123456789abcdef0123456789abcdef";
pub const PUBLIC_URL: &str = "https://bridge.example.com";
pub const STATUS: &str = "/twilio/voice/status";

/// Signs and sends as Twilio does, with the test token.
pub struct Twilio {
    pub public: SocketAddr,
}

impl Twilio {
    /// Sends `fixtures/twilio/<case>.http`.
    pub fn sends(&self, case: &str) -> Answer {
        let fixture = fixture(case);
        let headers: Vec<(&str, &str)> = fixture
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        self.signs_and_sends(&fixture.url, &fixture.target(), &headers, &fixture.body)
    }

    /// Sends a status callback of a call that has ended, with one call's own SID.
    pub fn ends(&self, sid: &str, status: &str) -> Answer {
        self.sends_form(STATUS, &status_form(sid, status))
    }

    /// Sends a form to a path of the public URL.
    pub fn sends_form(&self, target: &str, form: &str) -> Answer {
        let url = format!("{PUBLIC_URL}{target}");
        let headers = [("Content-Type", "application/x-www-form-urlencoded")];
        self.signs_and_sends(&url, target, &headers, form.as_bytes())
    }

    pub fn signs_and_sends(
        &self,
        url: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let signature = signature(url, body);
        let mut headers = headers.to_vec();
        headers.push(("X-Twilio-Signature", &signature));
        exchange(self.public, "POST", target, &headers, body)
    }
}

/// As Twilio would have signed it with the test token.
pub fn signature(url: &str, body: &[u8]) -> String {
    sign(
        &SigningKey::auth_token(TOKEN),
        url,
        Body::Form(&fields(body)),
    )
}

/// The least that a status callback carries.
pub fn status_form(sid: &str, status: &str) -> String {
    format!(
        "CallSid={sid}&AccountSid=AC00000000000000000000000000000001&CallStatus={status}\
         &From=%2B12025550123&To=%2B12025550199&Direction=inbound&CallDuration=10\
         &CallbackSource=call-progress-events&SequenceNumber=0"
    )
}

/// The `n`th made-up `CallSid`.
pub fn sid(n: usize) -> String {
    format!("CA{n:032x}")
}

pub fn fixture(case: &str) -> Fixture {
    let path = PathBuf::from("fixtures/twilio").join(format!("{case}.http"));
    Fixture::read(&path).unwrap_or_else(|why| panic!("{why}"))
}
