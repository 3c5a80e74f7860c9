//! Asks a bridge that runs with the same configuration, on its operator's side.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use awc::ClientRequest;
use awc::error::SendRequestError;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

use crate::config::AdminSettings;

/// A look must not wait for a bridge that hangs.
const ADMIN_REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// `/readyz` itself gives the store two seconds.
const LONGER_THAN_READYZ: Duration = Duration::from_secs(4);

/// Why a bridge that owns the store could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum AdminClientError {
    /// It got nothing, so it may be asked again.
    #[error("a bridge owns the store but does not answer on admin.listen ({address}): {why}")]
    NotConnected { address: SocketAddr, why: String },
    #[error("the bridge on admin.listen ({address}) did not answer: {why}")]
    Broken { address: SocketAddr, why: String },
}

/// Where a bridge with this configuration can be asked.
pub struct AdminClient<'a> {
    address: SocketAddr,
    token: Option<&'a SecretString>,
}

impl fmt::Display for AdminClient<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

impl<'a> AdminClient<'a> {
    pub fn of(admin: &'a AdminSettings) -> Self {
        Self {
            token: admin.token.as_ref(),
            ..Self::on(admin.listen)
        }
    }

    /// Without a token, which the probes do not ask for.
    pub fn on(listen: SocketAddr) -> Self {
        let mut address = listen;
        if address.ip().is_unspecified() {
            address.set_ip(Ipv4Addr::LOCALHOST.into());
        }
        let token = None;
        Self { address, token }
    }

    /// What `/readyz` says; an error where it is red or nobody answers.
    pub async fn is_ready(&self) -> anyhow::Result<String> {
        let request = awc::Client::default().get(self.url("/readyz"));
        let answer = request.timeout(LONGER_THAN_READYZ).send().await;
        let mut answer = answer
            .map_err(|why| anyhow::anyhow!("no bridge answers on admin.listen ({self}): {why}"))?;
        let body = answer.body().await.unwrap_or_default();
        let told = String::from_utf8_lossy(&body).trim_end().to_owned();
        let is_ready = answer.status().is_success();
        anyhow::ensure!(is_ready, "the bridge on {self} is not ready: {told}");
        Ok(told)
    }

    /// The status of the answer.
    pub async fn post(&self, path: &str) -> Result<u16, AdminClientError> {
        let request = awc::Client::default().post(self.url(path));
        match self.with_token(request).send().await {
            Ok(answer) => Ok(answer.status().as_u16()),
            Err(SendRequestError::Connect(why)) => Err(AdminClientError::NotConnected {
                address: self.address,
                why: why.to_string(),
            }),
            Err(why) => Err(AdminClientError::Broken {
                address: self.address,
                why: why.to_string(),
            }),
        }
    }

    /// The JSON of a 200; nothing where no bridge answers.
    pub async fn look(&self, path: &str) -> Option<Value> {
        let request = awc::Client::default()
            .get(self.url(path))
            .timeout(ADMIN_REQUEST_TIMEOUT);
        let mut answer = self.with_token(request).send().await.ok()?;
        let is_found = answer.status().as_u16() == 200;
        answer.json().await.ok().filter(|_| is_found)
    }

    fn url(&self, path: &str) -> String {
        format!("http://{self}{path}")
    }

    fn with_token(&self, request: ClientRequest) -> ClientRequest {
        match self.token {
            Some(token) => request.bearer_auth(token.expose_secret()),
            None => request,
        }
    }
}
