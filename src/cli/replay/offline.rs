//! Sends fixtures through a bridge in this process, with a temporary store, a simulated clock and a
//! fake Acquire.

use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::files::FixtureGroup;
use crate::app::App;
use crate::cli::{CliError, ephemeral_bridge};
use crate::clock::{Clock, Millis, pause};
use crate::config::{self, Config};
use crate::debugging::fake_acquire::{FakeAcquire, Faults, Retain};
use crate::debugging::fake_twilio::scenario::wait;
use crate::debugging::fake_twilio::{NotAccepted, ReplayItem};
use crate::debugging::fixture::Fixture;
use crate::domain::plan::Rules;
use crate::store::{ListFilter, NewCallback, SignedRequest, State, Store};
use crate::twilio::callback::CallbackKind;
use crate::twilio::listed::RequestSource;

/// The simulated start of each replay, 2026-01-01T00:00:00Z, so that the output does not depend on the
/// time.
const START: Millis = Millis(1_767_225_600_000);

/// More steps of the clock than a retry schedule has; stops a replay that never ends.
const MAX_STEPS: usize = 1_000;

/// The requests that Acquire received for a group, in order, and why callbacks were refused.
pub(super) struct OfflineResult {
    pub requests: Vec<Value>,
    pub refused: Vec<String>,
}

/// Sends one group through a new bridge; runs on an actix runtime.
pub(super) async fn play(group: &FixtureGroup, rules: &Rules) -> Result<OfflineResult, CliError> {
    let folder = tempfile::tempdir()?;
    let sink = FakeAcquire::start(
        ephemeral_bridge::any_port(),
        Faults::default(),
        Retain::Nothing,
    )?;
    let clocks = Clocks::new();
    let mut refused = Vec::new();
    let bases: Vec<String> = group.items.iter().map(base).collect();
    let config = configuration(folder.path(), &sink, &bases, rules)?;
    let app = App::build(config, clocks.bridge.clone())?.delivering_by(clocks.worker.clone());
    let to = app.public_addr()?;
    let store = app.store();
    let stop = CancellationToken::new();
    let running = tokio::task::spawn_local(app.run(stop.clone()));
    for item in &group.items {
        let wait = wait(&item.fixture);
        if !wait.is_zero() {
            clocks
                .advance_to(store.as_ref(), clocks.now().plus(wait))
                .await?;
        }
        if item.fixture.source() != RequestSource::Signed {
            import(store.as_ref(), &item.fixture, clocks.now()).await?;
            continue;
        }
        let summary = ephemeral_bridge::send(vec![item.clone()], to).await?;
        refused.extend(summary.not_accepted.iter().map(NotAccepted::why));
    }
    clocks.advance_to(store.as_ref(), Millis(i64::MAX)).await?;
    let requests = accepted(store.as_ref()).await?;
    stop.cancel();
    // The stopping bridge waits until all handles of its store are dropped.
    drop(store);
    running.await.context("the bridge ended")??;
    Ok(OfflineResult { requests, refused })
}

/// Stores what was imported from Twilio's own records, as the bridge that imported it did.
async fn import(store: &dyn Store, fixture: &Fixture, now: Millis) -> Result<(), CliError> {
    let callback = fixture.callback()?;
    let request = SignedRequest {
        url: fixture.url.clone(),
        headers: fixture.header_lines(),
        body: fixture.body.clone().into(),
    };
    store
        .record(NewCallback::of(callback, request), now)
        .await?;
    Ok(())
}

/// The public URL of a fixture, with its path prefix.
fn base(item: &ReplayItem) -> String {
    let fixture = &item.fixture;
    let target = fixture.target();
    let path = CallbackKind::of_url(&target).path();
    let prefix = target.split_once(path).map_or("", |(prefix, _)| prefix);
    format!("{}{prefix}", fixture.base())
}

/// One account, with the operator's rules but no other settings. One delivery at a time, so that the
/// order of the requests is fixed.
fn configuration(
    folder: &std::path::Path,
    sink: &FakeAcquire,
    bases: &[String],
    rules: &Rules,
) -> Result<Config, CliError> {
    let file = folder.join("bridge.toml");
    std::fs::write(&file, config::to_toml(rules))?;
    let mut bases = bases.to_vec();
    bases.sort();
    bases.dedup();
    let settings = [
        ("ACQUIRE_ACCOUNT_ID", "replay".to_owned()),
        ("BRIDGE__SERVER__PUBLIC_URL", bases.join(",")),
        // The default is the path of call-answered, which the rules may also send.
        (
            "BRIDGE__ACQUIRE__CALL_END_PATH",
            "/api/v1/voip/call-end".to_owned(),
        ),
        ("BRIDGE__DELIVERY__CONCURRENCY", "1".to_owned()),
    ];
    ephemeral_bridge::configuration(folder, sink, Some(&file), &settings)
}

/// Two simulated clocks. The worker's clock is behind while the callbacks of one moment are recorded:
/// so all of them are stored before the worker plans the first, whatever the thread scheduling.
struct Clocks {
    bridge: Clock,
    worker: Clock,
}

impl Clocks {
    fn new() -> Self {
        Self {
            bridge: Clock::manual(START),
            worker: Clock::manual(START.minus(Duration::from_millis(1))),
        }
    }

    fn now(&self) -> Millis {
        self.bridge.now()
    }

    /// Advances to `end`, and waits at each due time before it until its calls are sent.
    async fn advance_to(&self, store: &dyn Store, end: Millis) -> Result<(), CliError> {
        for _ in 0..MAX_STEPS {
            let next = self.next_due(store).await?;
            match next.filter(|due| *due < end) {
                Some(due) => self.bridge.advance(due.since(self.now())),
                None if end == Millis(i64::MAX) => return Ok(()),
                None => {
                    self.bridge.advance(end.since(self.now()));
                    return Ok(());
                }
            }
        }
        Err(CliError::Failed(anyhow::anyhow!(
            "the replay did not end after {MAX_STEPS} steps of its clock"
        )))
    }

    /// Waits until no call is due or claimed, and returns the time at which the next one is due.
    async fn next_due(&self, store: &dyn Store) -> Result<Option<Millis>, CliError> {
        let now = self.now();
        self.worker.advance(now.since(self.worker.now()));
        loop {
            let all = store.list(ListFilter::ALL).await?;
            let due: Vec<Millis> = all.iter().filter_map(|call| call.due).collect();
            let is_busy = all.iter().any(|call| call.state == State::Claimed)
                || due.iter().any(|due| *due <= now);
            if !is_busy {
                return Ok(due.into_iter().min());
            }
            pause(Duration::from_millis(1)).await;
        }
    }
}

/// The attempts of all calls, grouped by call, in the format of `expected.json`.
async fn accepted(store: &dyn Store) -> Result<Vec<Value>, CliError> {
    let mut listed = store.list(ListFilter::ALL).await?;
    listed.sort_by(|one, other| one.sid.cmp(&other.sid));
    let mut requests = Vec::new();
    for listed in listed {
        // A leg that was merged into another call is part of that call.
        let call = store
            .get_listed(&listed)
            .await?
            .filter(|call| call.summary.sid == listed.sid);
        let attempts = call.map(|call| call.attempts);
        for attempt in attempts.into_iter().flatten() {
            let body: Value = serde_json::from_str(&attempt.sent)?;
            requests.push(json!({ attempt.kind.as_str(): body }));
        }
    }
    Ok(requests)
}
