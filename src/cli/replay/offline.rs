//! Fixtures through a whole bridge that nobody else sees: a throw-away store, a clock that is turned,
//! and a stand-in for Acquire in the same process.

use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::super::CliError;
use super::super::ephemeral_bridge;
use super::files::FixtureGroup;
use crate::app::App;
use crate::clock::{Clock, Millis, pause};
use crate::config::{self, Config};
use crate::debugging::fake_acquire::{FakeAcquire, Faults, Retain};
use crate::debugging::fake_twilio::scenario::wait;
use crate::debugging::fake_twilio::{NotAccepted, ReplayItem};
use crate::domain::plan::Rules;
use crate::store::{CallSummary, ListFilter, State, Store};
use crate::twilio::CallSid;
use crate::twilio::callback::CallbackKind;

/// When each replay begins: 2026-01-01T00:00:00Z, whatever the time is.
const BEGINNING: Millis = Millis(1_767_225_600_000);

/// More turns of the clock than a schedule of waits can have.
const MAX_TURNS: usize = 1_000;

/// What Acquire gets of a group, in order, and what was refused.
pub(super) struct Played {
    pub requests: Vec<Value>,
    pub refused: Vec<String>,
}

/// Runs on an actix runtime.
pub(super) async fn play(group: &FixtureGroup, rules: &Rules) -> Result<Played, CliError> {
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
            clocks.turn(store.as_ref(), clocks.now().plus(wait)).await?;
        }
        let summary = ephemeral_bridge::send(vec![item.clone()], to).await?;
        refused.extend(summary.not_taken.iter().map(NotAccepted::why));
    }
    clocks.turn(store.as_ref(), Millis(i64::MAX)).await?;
    let requests = taken(store.as_ref()).await?;
    stop.cancel();
    drop(store);
    running.await.context("the bridge ended")??;
    Ok(Played { requests, refused })
}

/// The public URL that a fixture was sent to, with its prefix.
fn base(item: &ReplayItem) -> String {
    let fixture = &item.fixture;
    let target = fixture.target();
    let path = CallbackKind::of_url(&target).path();
    let prefix = target.split_once(path).map_or("", |(prefix, _)| prefix);
    format!("{}{prefix}", fixture.base())
}

/// One account, with the rules and nothing else of the operator's settings; one delivery at a time,
/// so that their order tells something.
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
        // Apart from the path of call-answered, which may be sent too.
        (
            "BRIDGE__ACQUIRE__CALL_END_PATH",
            "/api/v1/voip/call-end".to_owned(),
        ),
        ("BRIDGE__DELIVERY__CONCURRENCY", "1".to_owned()),
    ];
    ephemeral_bridge::configuration(folder, sink, Some(&file), &settings)
}

/// The worker's stands behind the bridge's while the callbacks of one moment are recorded: all of
/// them are known before the first is planned, in whatever order the threads turn.
struct Clocks {
    bridge: Clock,
    worker: Clock,
}

impl Clocks {
    fn new() -> Self {
        Self {
            bridge: Clock::manual(BEGINNING),
            worker: Clock::manual(BEGINNING.minus(Duration::from_millis(1))),
        }
    }

    fn now(&self) -> Millis {
        self.bridge.now()
    }

    /// Lets all be done that is due now and falls due before `end`, one due time after another.
    async fn turn(&self, store: &dyn Store, end: Millis) -> Result<(), CliError> {
        for _ in 0..MAX_TURNS {
            let next = self.settled(store).await?;
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
            "the replay does not come to an end"
        )))
    }

    /// When the next call is due, once none is due or claimed.
    async fn settled(&self, store: &dyn Store) -> Result<Option<Millis>, CliError> {
        let now = self.now();
        self.worker.advance(now.since(self.worker.now()));
        loop {
            let all = all(store).await?;
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

/// What Acquire took of all calls, those of each call together, as `expected.json` writes it.
async fn taken(store: &dyn Store) -> Result<Vec<Value>, CliError> {
    let mut sids: Vec<CallSid> = all(store).await?.into_iter().map(|call| call.sid).collect();
    sids.sort();
    let mut requests = Vec::new();
    for sid in sids {
        // One that became a part of another call is told there.
        let call = store
            .get(&sid)
            .await?
            .filter(|call| call.summary.sid == sid);
        let attempts = call.map(|call| call.attempts);
        for attempt in attempts.into_iter().flatten() {
            let body: Value = serde_json::from_str(&attempt.sent)?;
            requests.push(json!({ attempt.kind.as_str(): body }));
        }
    }
    Ok(requests)
}

async fn all(store: &dyn Store) -> Result<Vec<CallSummary>, CliError> {
    let filter = ListFilter {
        state: None,
        limit: usize::MAX,
    };
    Ok(store.list(filter).await?)
}
