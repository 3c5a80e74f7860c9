//! The client for Acquire, over real sockets.

mod answers;
mod certificates;
mod names;
mod proxy;
mod raw;
mod tls;
mod wire;

use std::path::PathBuf;
use std::time::Duration;

use actix_tls::connect::Resolver;
use twilio_acquire_bridge::acquire::response::SuccessRule;
use twilio_acquire_bridge::acquire::{AcquireResponse, DeliveryFault, Outcome, RequestKind};
use twilio_acquire_bridge::clock::{Clock, Millis};
use twilio_acquire_bridge::config::{Account, AcquirePaths, AcquireSettings, DeliverySettings};
use twilio_acquire_bridge::delivery::acquire_client::{AcquireClient, AcquireClientError};
use twilio_acquire_bridge::domain::retry::Policy;

/// What the client's clock says: 2023-11-14T22:13:20Z.
const NOW: Millis = Millis(1_700_000_000_000);

const LONG_TIMEOUT: Duration = Duration::from_secs(60);
const SHORT_TIMEOUT: Duration = Duration::from_millis(200);

/// Where something must pass before the time is up, also on a busy machine.
const MEDIUM_TIMEOUT: Duration = Duration::from_secs(4);

const CALL_END: &str = r#"{"CallId":"CA00000000000000000000000000000001","CallStatus":"busy"}"#;
const SAVED: &str = r#"{"data":{"success":true,"message":"Successfully saved"}}"#;

/// A client and the account it sends for.
struct Bridge {
    client: AcquireClient,
    account: Account,
}

impl Bridge {
    fn to(base_url: String) -> Self {
        Self::with_timeout(LONG_TIMEOUT, base_url)
    }

    fn with_timeout(timeout: Duration, base_url: String) -> Self {
        Self::build(timeout, Resolver::default(), &acquire(base_url))
            .expect("the settings are right")
    }

    fn trusting(base_url: String, ca_file: Option<PathBuf>) -> Result<Self, AcquireClientError> {
        let acquire = AcquireSettings {
            ca_file,
            ..acquire(base_url)
        };
        Self::build(LONG_TIMEOUT, Resolver::default(), &acquire)
    }

    fn build(
        timeout: Duration,
        names: Resolver,
        acquire: &AcquireSettings,
    ) -> Result<Self, AcquireClientError> {
        let delivery = DeliverySettings {
            probe_max: Duration::from_secs(60),
            timeout,
            concurrency: 32,
            max_rate: None,
            lease: 6 * timeout,
            policy: Policy {
                schedule: Vec::new(),
                retry_after_max: Duration::ZERO,
                unclear_tries: 1,
            },
        };
        let account = Account {
            twilio_account_sid: None,
            auth_tokens: Vec::new(),
            shared_keys: Vec::new(),
            acquire_account_id: "acme".to_owned(),
            twilio_api_key: None,
            acquire_api_key: None,
        };
        let client = AcquireClient::with_names(acquire, &delivery, Clock::manual(NOW), names)?;
        Ok(Self { client, account })
    }

    /// One attempt, which must end soon whatever the server does.
    async fn sends(&self) -> AcquireResponse {
        let sending = self
            .client
            .send(&self.account, RequestKind::CallEnd, CALL_END.to_owned());
        tokio::time::timeout(2 * LONG_TIMEOUT, sending)
            .await
            .expect("an attempt ends within its time limit")
    }
}

/// The settings of a plain account at this URL.
fn acquire(base_url: String) -> AcquireSettings {
    AcquireSettings {
        base_url,
        paths: AcquirePaths {
            call_in_queue: "/api/v1/voip/call-in-queue".to_owned(),
            call_ringing: "/api/v1/voip/call-ringing".to_owned(),
            call_answered: "/api/v1/voip/call-answered".to_owned(),
            call_end: "/api/v1/voip/call-answered".to_owned(),
        },
        ca_file: None,
        client_certificate: None,
        proxy: None,
        success: SuccessRule::Body,
    }
}

fn again(fault: DeliveryFault) -> Outcome {
    Outcome::Retry { fault, after: None }
}

/// A whole answer that lets the connection live on.
fn http(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}
