//! An HTTP client for the admin listener of a running bridge.
//!
//! Commands use it when a bridge owns the store, or to show state that only its memory has.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use awc::ClientRequest;
use awc::error::SendRequestError;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

use super::{CliError, ConfigArgs};
use crate::app;
use crate::config::{AdminSettings, partial};
use crate::debugging::search::OutageOf;
use crate::domain::outage::AccountOutage;
use crate::server::shared::PING_TIMEOUT;
use crate::twilio::CallSid;

/// A command that only reads must not wait for a bridge that hangs.
const ADMIN_REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// The largest JSON that a bridge answers, in bytes.
const MAX_JSON: usize = 16 << 20;

/// Longer than `/readyz` itself waits for the store.
const READYZ_TIMEOUT: Duration = PING_TIMEOUT.saturating_add(Duration::from_secs(2));

/// The outages that a running bridge knows. Commands that read also work without a bridge and without its
/// secrets, so errors are ignored.
pub fn outage_of(config: &ConfigArgs) -> OutageOf {
    let admin = config.load_part(partial::admin).ok();
    let status = admin.and_then(|admin| {
        app::block_on(async { AdminClient::of(&admin).get("/api/status").await })
    });
    let outages = status.map(|mut status| status["outages"].take());
    let outages = outages.and_then(|outages| serde_json::from_value(outages).ok());
    let outages: Vec<AccountOutage> = outages.unwrap_or_default();
    Arc::new(move |account| {
        let mut outages = outages.iter();
        let is_own = |sid: &String| sid == account.as_str();
        let of = outages.find(|of| of.accounts.is_empty() || of.accounts.iter().any(is_own));
        of.map(|of| of.outage.clone())
    })
}

/// The calls that a running bridge is sending now, as far as it answers.
pub fn claimed_calls(config: &ConfigArgs) -> Vec<CallSid> {
    let admin = config.load_part(partial::admin).ok();
    let page = admin.and_then(|admin| {
        app::block_on(async {
            let path = "/api/calls?state=claimed&limit=1000";
            AdminClient::of(&admin).get(path).await
        })
    });
    let calls = page.and_then(|page| Some(page["calls"].as_array()?.clone()));
    let sid = |call: &Value| CallSid::parse(call["call_sid"].as_str()?).ok();
    calls.iter().flatten().filter_map(sid).collect()
}

/// Why the bridge that owns the store did not handle a request.
#[derive(Debug, thiserror::Error)]
pub enum AdminClientError {
    /// The bridge received nothing, so the request can be repeated.
    #[error("a bridge owns the store but does not answer on admin.listen ({address}): {why}")]
    NotConnected { address: SocketAddr, why: String },
    #[error("the bridge on admin.listen ({address}) did not answer: {why}")]
    Broken { address: SocketAddr, why: String },
}

/// The admin listener of a bridge with this configuration.
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
    /// For commands that read: with `admin.token`, or the token of any operator.
    pub fn of(admin: &'a AdminSettings) -> Self {
        let mut tokens = admin.operators.iter().filter_map(|of| of.token.as_ref());
        Self {
            token: tokens.next(),
            ..Self::on(admin.listen)
        }
    }

    /// For commands that change calls: as this operator, or with `admin.token`.
    pub fn acting(admin: &'a AdminSettings, name: Option<&str>) -> Result<Self, CliError> {
        let token = match name {
            None => admin.token.as_ref(),
            Some(name) => {
                let operator = admin.operators.iter().find(|of| of.name == name);
                let token = operator.and_then(|operator| operator.token.as_ref());
                Some(token.ok_or_else(|| {
                    CliError::Usage(format!(
                        "--operator {name}: [[operators]] has no token for this name"
                    ))
                })?)
            }
        };
        Ok(Self {
            token,
            ..Self::on(admin.listen)
        })
    }

    /// Without a token: the probes need none.
    pub fn on(listen: SocketAddr) -> Self {
        // A bridge that listens on all addresses is reached on the loopback interface.
        let mut address = listen;
        if address.ip().is_unspecified() {
            address.set_ip(Ipv4Addr::LOCALHOST.into());
        }
        let token = None;
        Self { address, token }
    }

    /// The body of `/readyz`; an error if the bridge is not ready or does not answer.
    pub async fn is_ready(&self) -> anyhow::Result<String> {
        let request = awc::Client::default().get(self.url("/readyz"));
        let answer = request.timeout(READYZ_TIMEOUT).send().await;
        let mut answer = answer
            .map_err(|why| anyhow::anyhow!("no bridge answers on admin.listen ({self}): {why}"))?;
        let body = answer.body().await.unwrap_or_default();
        let report = String::from_utf8_lossy(&body).trim_end().to_owned();
        let problem: Value = serde_json::from_str(&report).unwrap_or_default();
        let report = problem["detail"].as_str().map_or(report, str::to_owned);
        let is_ready = answer.status().is_success();
        anyhow::ensure!(is_ready, "the bridge on {self} is not ready: {report}");
        Ok(report)
    }

    /// Returns the status of the response, and its detail if it is an error.
    pub async fn post(&self, path: &str, body: &Value) -> Result<(u16, String), AdminClientError> {
        let request = awc::Client::default().post(self.url(path));
        match self.with_token(request).send_json(body).await {
            Ok(mut answer) => {
                let text = answer.body().await.unwrap_or_default();
                let json: Value = serde_json::from_slice(&text).unwrap_or_default();
                let detail = json["detail"].as_str().unwrap_or_default().to_owned();
                Ok((answer.status().as_u16(), detail))
            }
            // Only a failed connection guarantees that the bridge received nothing.
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

    /// Posts JSON and waits for the JSON of a success, however long the bridge works.
    pub async fn post_json(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let client = awc::Client::builder().disable_timeout().finish();
        let request = self.with_token(client.post(self.url(path)));
        let answer = request.send_json(body).await;
        let mut answer = answer.map_err(|why| {
            anyhow::anyhow!("the bridge on admin.listen ({self}) did not answer: {why}")
        })?;
        let text = answer.body().limit(MAX_JSON).await?;
        let json: Value = serde_json::from_slice(&text).unwrap_or_default();
        let status = answer.status().as_u16();
        let detail = json
            .get("detail")
            .and_then(Value::as_str)
            .unwrap_or_default();
        anyhow::ensure!(
            (200..300).contains(&status),
            "the bridge on {self} answered {status}: {detail}"
        );
        Ok(json)
    }

    /// The JSON of a 200; `None` if no bridge answers.
    pub async fn get(&self, path: &str) -> Option<Value> {
        serde_json::from_str(&self.text(path).await?).ok()
    }

    /// The text of a 200; `None` if no bridge answers.
    pub async fn text(&self, path: &str) -> Option<String> {
        let request = awc::Client::default()
            .get(self.url(path))
            .timeout(ADMIN_REQUEST_TIMEOUT);
        let mut answer = self.with_token(request).send().await.ok()?;
        let is_found = answer.status().as_u16() == 200;
        let body = answer.body().limit(MAX_JSON).await.ok()?;
        String::from_utf8(body.to_vec()).ok().filter(|_| is_found)
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
