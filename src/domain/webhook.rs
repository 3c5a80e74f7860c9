//! Signs messages as Standard Webhooks 1.0.0 says: HMAC-SHA256 over id, timestamp and body.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// The bytes of a secret.
const LENGTHS: std::ops::RangeInclusive<usize> = 24..=64;

/// The secret of a receiver. It is never shown.
#[derive(Clone)]
pub struct WebhookSecret(Hmac<Sha256>);

impl WebhookSecret {
    /// Reads `whsec_` and Base64, or only Base64.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix("whsec_").unwrap_or(text);
        let key = STANDARD.decode(text).ok()?;
        let mac = Hmac::new_from_slice(&key).ok()?;
        LENGTHS.contains(&key.len()).then_some(Self(mac))
    }

    /// The header `webhook-signature` of a message that is sent at `timestamp`, in seconds since 1970.
    pub fn sign(&self, id: &str, timestamp: i64, body: &str) -> String {
        let mut mac = self.0.clone();
        mac.update(format!("{id}.{timestamp}.{body}").as_bytes());
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example that the tests of the reference libraries use (github.com/standard-webhooks/standard-webhooks,
    /// `libraries/go/webhook_test.go`, `TestWebhookSign`).
    #[test]
    fn a_message_has_the_signature_of_the_published_example() {
        let secret = WebhookSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let secret = secret.expect("a secret");
        let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
        assert_eq!(
            secret.sign(id, 1_614_265_330, "{\"test\": 2432232314}"),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn a_secret_is_base64_of_24_to_64_bytes() {
        for (bytes, is_secret) in [(23, false), (24, true), (64, true), (65, false)] {
            let text = STANDARD.encode(vec![7; bytes]);
            assert_eq!(WebhookSecret::parse(&text).is_some(), is_secret, "{bytes}");
        }
        assert!(WebhookSecret::parse("whsec_not base64").is_none());
    }
}
