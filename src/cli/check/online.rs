//! `check --online`: can Acquire be reached from here, and is its certificate trusted?
//!
//! Nothing is posted: the connection is closed after the handshake.

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::config::Config;
use crate::config::url::HttpUrl;
use crate::store::{self, OpenError};
use crate::tls;

/// One line for the store and for each place that was reached; stops at the first that was not.
pub(super) fn reach(config: &Config) -> anyhow::Result<Vec<String>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut lines = vec![open_store(config)?];
    lines.extend(runtime.block_on(reach_acquire(config))?);
    Ok(lines)
}

fn open_store(config: &Config) -> anyhow::Result<String> {
    let url = &config.store.url;
    match store::open(url) {
        Ok(_) => Ok(format!("{url} can be written")),
        Err(OpenError::InUse { .. }) => {
            store::open_to_read(url)?;
            Ok(format!("{url} is owned by a running bridge"))
        }
        Err(why) => Err(why.into()),
    }
}

async fn reach_acquire(config: &Config) -> anyhow::Result<Vec<String>> {
    let mut urls: Vec<String> = config
        .accounts
        .iter()
        .map(|account| config.acquire.base_url_of(account))
        .collect();
    urls.sort();
    urls.dedup();
    let tls = TlsConnector::from(tls::trusting(config.acquire.ca_file.as_deref())?);
    let mut lines = Vec::with_capacity(urls.len());
    for base in urls {
        let line = connect(&base, &tls, config.delivery.timeout)
            .await
            .with_context(|| format!("{base} cannot be reached (acquire.base_url)"))?;
        lines.push(line);
    }
    Ok(lines)
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
