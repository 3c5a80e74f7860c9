//! `check --online`: can Acquire be reached from here, and is its certificate trusted?
//!
//! Nothing is posted: the connection is closed after the handshake.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::config::url::HttpUrl;
use crate::config::{Config, StoreUrl};
use crate::store::{self, OpenError};
use crate::tls;

/// Tells one line for the store and for each place that was reached; stops at the first that was
/// not.
pub(super) fn reach(
    config: &Config,
    mut tell: impl FnMut(String) -> std::io::Result<()>,
) -> anyhow::Result<()> {
    tell(open_store(&config.store.url)?)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let tls = TlsConnector::from(tls::trusting(config.acquire.ca_file.as_deref())?);
    let accounts = config.accounts.iter();
    let urls: BTreeSet<String> = accounts
        .map(|account| config.acquire.base_url_of(account))
        .collect();
    for base in urls {
        let connecting = connect(&base, &tls, config.delivery.timeout);
        let line = runtime
            .block_on(connecting)
            .with_context(|| format!("{base} cannot be reached (acquire.base_url)"))?;
        tell(line)?;
    }
    Ok(())
}

/// Makes no file: it would belong to whoever checks.
fn open_store(url: &StoreUrl) -> anyhow::Result<String> {
    let StoreUrl::Sqlite(path) = url;
    if !path.exists() {
        return Ok(format!("{url} is not there yet; serve will make it"));
    }
    match store::open(url) {
        Ok(_) => Ok(format!("{url} can be written")),
        Err(OpenError::InUse { .. }) => {
            store::open_to_read(url)?;
            Ok(format!("{url} is owned by a running bridge"))
        }
        Err(why) => Err(why.into()),
    }
}

async fn connect(base: &str, tls: &TlsConnector, limit: Duration) -> anyhow::Result<String> {
    let url = HttpUrl::parse(base).map_err(|why| anyhow!("it {why}"))?;
    let handshake = async {
        let tcp = TcpStream::connect((url.host.as_str(), url.port)).await?;
        let peer = tcp.peer_addr()?;
        if !url.is_https {
            return Ok(format!("{base} is reached at {peer}, without TLS"));
        }
        let name = ServerName::try_from(url.host.clone())?;
        tls.connect(name, tcp).await?;
        Ok(format!(
            "{base} is reached at {peer}, its certificate is trusted"
        ))
    };
    tokio::time::timeout(limit, handshake)
        .await
        .map_err(|_| anyhow!("no answer within delivery.timeout"))?
}
