//! A bridge that lives for one command: on free ports, with a temporary store and a fake Acquire.
//!
//! It never opens the operator's store, and sends nothing to the real Acquire.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::Path;

use tokio_util::sync::CancellationToken;

use super::CliError;
use crate::config::{self, Config};
use crate::debugging::fake_acquire::FakeAcquire;
use crate::debugging::fake_twilio::{
    self, ReplayItem, ReplayRate, ReplaySummary, ReplayTarget, Sids, Signer,
};
use crate::twilio::signature::SigningKey;

/// A made-up token: only this bridge reads what it signs.
const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// A free port on the loopback interface.
pub fn any_port() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// A configuration with one account that sends to `acquire` and a store in `folder`. `settings` override
/// those of `file`.
pub fn configuration(
    folder: &Path,
    acquire: &FakeAcquire,
    file: Option<&Path>,
    settings: &[(&str, String)],
) -> Result<Config, CliError> {
    let store = folder.join("bridge.db");
    let own = [
        ("TWILIO_AUTH_TOKEN", TOKEN.to_owned()),
        ("BRIDGE__SERVER__LISTEN", any_port().to_string()),
        ("BRIDGE__ADMIN__LISTEN", any_port().to_string()),
        ("BRIDGE__STORE__URL", format!("sqlite:{}", store.display())),
        ("BRIDGE__ACQUIRE__BASE_URL", acquire.base_url()),
    ];
    let all = own.iter().chain(settings);
    let environment = all.map(|(key, value)| ((*key).to_owned(), value.clone()));
    Ok(config::load(file, environment)?)
}

/// Sends each item once, one after the other, to the bridge at `to`.
pub async fn send(items: Vec<ReplayItem>, to: SocketAddr) -> Result<ReplaySummary, CliError> {
    let target = ReplayTarget {
        to: format!("http://{to}"),
        public: None,
        ca_file: None,
    };
    let signer = Signer {
        key: SigningKey::auth_token(TOKEN),
        settings: None,
    };
    let speed = ReplayRate {
        concurrency: NonZeroUsize::MIN,
        rate: None,
        repeat: NonZeroU32::MIN,
        stop: CancellationToken::new(),
    };
    let sent = fake_twilio::send(items, target, signer, speed, Sids::Recorded, |_, _| ()).await;
    Ok(sent?)
}
