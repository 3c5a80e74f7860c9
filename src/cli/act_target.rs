//! Where an operator's act on a call is carried out: in the store, or by the bridge that owns it.
//!
//! It does not choose the calls, and knows no rate (`requeue/paced`).

use std::sync::Arc;

use serde_json::json;

use super::admin_client::{AdminClient, AdminClientError};
use super::config_args::unix_user;
use super::output::{OutputArgs, OutputFormat, note, print_json};
use super::{CliError, ConfigArgs, Exit};
use crate::app;
use crate::clock::Clock;
use crate::config::StoreUrl;
use crate::config::partial::{self, ActSettings};
use crate::domain::audit::{Actor, KnownBy, Reason};
use crate::store::{self, Dismissal, OpenError, State, Store, StoreError};
use crate::twilio::CallSid;

/// The option `--operator`.
#[derive(Debug, clap::Args)]
pub struct OperatorArgs {
    /// On a running bridge, act as this operator of the configuration; by default as that of admin.token.
    #[arg(long, value_name = "NAME")]
    operator: Option<String>,
}

/// The component that changes calls.
pub enum ActTarget<'a> {
    /// A SQLite file that no bridge owns.
    File(Arc<dyn Store>),
    /// A PostgreSQL database, which bridges poll.
    Shared(Arc<dyn Store>),
    /// The admin listener of the bridge that owns the SQLite file.
    Bridge(AdminClient<'a>),
}

impl<'a> ActTarget<'a> {
    pub fn open(config: &'a ActSettings, operator: &OperatorArgs) -> Result<Self, CliError> {
        // Checked first, whether or not it is needed.
        let bridge = AdminClient::acting(&config.admin, operator.operator.as_deref())?;
        match (store::open(&config.store), &config.store) {
            (Ok(store), StoreUrl::Sqlite(_)) => Ok(Self::File(store)),
            (Ok(store), StoreUrl::Postgres(_)) => Ok(Self::Shared(store)),
            (Err(OpenError::InUse { .. }), _) => Ok(Self::Bridge(bridge)),
            (Err(why), _) => Err(why.into()),
        }
    }

    /// Whether a bridge may send calls while others are requeued.
    pub fn is_served(&self) -> bool {
        !matches!(self, Self::File(_))
    }

    /// Requeues a call; `false` if there is no such call.
    pub async fn requeue(&self, sid: &CallSid, reason: Option<&Reason>) -> Result<bool, ActError> {
        match self {
            Self::File(store) | Self::Shared(store) => {
                let now = Clock::system().now();
                Ok(store.requeue(sid, actor(), reason.cloned(), now).await?)
            }
            Self::Bridge(bridge) => {
                let answer = post(bridge, sid, "requeue", reason).await?;
                Ok(answer != Dismissal::Unknown)
            }
        }
    }

    /// Dismisses a parked call.
    pub async fn dismiss(&self, sid: &CallSid, reason: &Reason) -> Result<Dismissal, ActError> {
        match self {
            Self::File(store) | Self::Shared(store) => {
                let now = Clock::system().now();
                Ok(store.dismiss(sid, actor(), reason.clone(), now).await?)
            }
            Self::Bridge(bridge) => post(bridge, sid, "dismiss", Some(reason)).await,
        }
    }
}

/// Carries an act out on each call. It returns the word for what it did, or why the call stays as it is.
pub fn on_each(
    args: &ConfigArgs,
    operator: &OperatorArgs,
    (sids, output): (&[CallSid], OutputArgs),
    act: &impl AsyncFn(&ActTarget<'_>, &CallSid) -> Result<Result<&'static str, String>, ActError>,
) -> Result<Exit, CliError> {
    let config = args.load_part(partial::act)?;
    // Fails if there is no store: opening it for writing would create a file.
    args.open_to_read()?;
    let mut exit = Exit::Done;
    app::block_on(async {
        let target = ActTarget::open(&config, operator)?;
        for sid in sids {
            match act(&target, sid).await? {
                Ok(done) => {
                    let json = json!({ "call_sid": sid, "done": true, "result": done });
                    output.print(&json, || format_args!("{sid}  {done}").to_string())?;
                }
                Err(why) => {
                    exit = Exit::Partial;
                    match output.format() {
                        OutputFormat::Json => {
                            print_json(&json!({ "call_sid": sid, "done": false, "result": why }))?;
                        }
                        OutputFormat::Text => note!("{sid}  {why}"),
                    }
                }
            }
        }
        Ok(exit)
    })
}

/// The actor of a command on the store itself.
pub fn actor() -> Actor {
    Actor::new(unix_user(), KnownBy::Cli)
}

/// Why an act failed.
#[derive(Debug, thiserror::Error)]
pub enum ActError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    AdminFailed(#[from] AdminClientError),
    #[error(
        "the bridge on {0} rejects the token; use the admin.token of its configuration, as a user who can read \
         it, or --operator"
    )]
    Token(String),
    #[error("the bridge on {0} answered {1}: {2}")]
    Status(String, u16, String),
}

impl ActError {
    /// Whether it may succeed once the bridge has restarted or the database is up.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Store(why) => why.is_unavailable(),
            Self::AdminFailed(AdminClientError::NotConnected { .. }) => true,
            Self::AdminFailed(AdminClientError::Broken { .. })
            | Self::Token(_)
            | Self::Status(..) => false,
        }
    }
}

async fn post(
    bridge: &AdminClient<'_>,
    sid: &CallSid,
    act: &str,
    reason: Option<&Reason>,
) -> Result<Dismissal, ActError> {
    let body = reason.map_or(json!({}), |reason| json!({ "reason": reason.as_str() }));
    let path = format!("/api/calls/{sid}/{act}");
    match bridge.post(&path, &body).await? {
        (200 | 202, _) => Ok(Dismissal::Dismissed),
        (404, _) => Ok(Dismissal::Unknown),
        (401, _) => Err(ActError::Token(bridge.to_string())),
        (409, detail) => {
            let state = State::ALL
                .into_iter()
                .find(|state| detail.contains(state.as_str()));
            Ok(Dismissal::NotParked(state.unwrap_or(State::Pending)))
        }
        (status, detail) => Err(ActError::Status(bridge.to_string(), status, detail)),
    }
}
