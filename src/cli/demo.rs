//! `demo`: runs a bridge, a fake Twilio and a fake Acquire in one process.
//!
//! It uses no file and no network outside this machine.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::ephemeral_bridge;
use super::output::{note, print_line};
use super::serve::stop_on_signals;
use super::{CliError, Exit};
use crate::app::{self, App};
use crate::clock::{self, Clock};
use crate::debugging::fake_acquire::{CapturedRequest, FakeAcquire, Faults, Retain};
use crate::debugging::fake_twilio::{ReplayItem, ReplaySummary};
use crate::debugging::fixture::Fixture;
use crate::debugging::fixture::builtin::{self, BuiltinCase};
use crate::domain::plain_text::plain;
use crate::domain::plural::counted;
use crate::store::{Counts, ListFilter, State};

/// The interval between two looks at the counts of the store.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// The time in which all calls must have reached the fake Acquire.
const DEMO_TIMEOUT: Duration = Duration::from_secs(20);

/// Run a bridge with a fake Acquire and send it callbacks of every kind.
///
/// Both use free ports and a temporary database. The command signs and sends the callbacks as Twilio
/// does, and prints the requests that reached Acquire. The console stays up until Ctrl-C.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  twilio-acquire-bridge demo --once")]
pub struct Demo {
    /// Exit once every call is delivered, skipped or parked.
    #[arg(long)]
    once: bool,
}

impl Demo {
    pub fn run(self) -> Result<Exit, CliError> {
        let folder = tempfile::tempdir()?;
        let sink =
            FakeAcquire::start(ephemeral_bridge::any_port(), Faults::default(), Retain::All)?;
        let settings = [
            ("ACQUIRE_ACCOUNT_ID", "demo".to_owned()),
            (
                "BRIDGE__SERVER__PUBLIC_URL",
                "https://bridge.example.com".to_owned(),
            ),
        ];
        let config = ephemeral_bridge::configuration(folder.path(), &sink, None, &settings)?;
        app::block_on(async {
            let stop = stop_on_signals()?;
            let app = App::build(config, Clock::system())?;
            let (public, admin) = (app.public_addr()?, app.admin_addr()?);
            note!("sink     {}, the fake Acquire", sink.base_url());
            note!("bridge   http://{public}, the public listener");
            note!("console  http://{admin}/");
            let store = app.store();
            let running = tokio::task::spawn_local(app.run(stop.clone()));

            let summary = ephemeral_bridge::send(items()?, public).await?;
            let counts = settled(store.as_ref(), &stop).await?;
            let requests = sink.received();
            for request in &requests {
                print_line(arrival(request))?;
            }
            for call in store.list(ListFilter::ALL).await? {
                if let Some(reason) = &call.reason {
                    print_line(format_args!(
                        "{}  {}: {}",
                        call.sid,
                        call.state,
                        plain(reason)
                    ))?;
                }
            }
            for refused in &summary.not_accepted {
                print_line(format_args!("{}  {}", refused.item, plain(&refused.why())))?;
            }
            note!("{}", ending(&summary, &counts, requests.len()));
            if !self.once {
                note!("Open http://{admin}/ now; Ctrl-C ends the demonstration.");
                stop.cancelled().await;
            }
            stop.cancel();
            // The stopping bridge waits until all handles of its store are dropped.
            drop(store);
            running.await??;
            Ok(if counts.pending + counts.claimed == 0 {
                Exit::Done
            } else {
                Exit::Failed
            })
        })
    }
}

/// The fixtures that are compiled into the program.
fn items() -> Result<Vec<ReplayItem>, CliError> {
    let item = |case: &BuiltinCase| {
        let fixture = Fixture::parse(case.name, case.request)?;
        Ok(ReplayItem {
            name: case.name.to_owned(),
            fixture,
        })
    };
    builtin::cases().iter().map(item).collect()
}

/// The counts once nothing is due any more.
async fn settled(
    store: &dyn crate::store::Store,
    stop: &CancellationToken,
) -> Result<Counts, CliError> {
    let until = tokio::time::Instant::now() + DEMO_TIMEOUT;
    loop {
        let counts = store.counts().await?;
        let is_over = tokio::time::Instant::now() > until || stop.is_cancelled();
        if counts.pending + counts.claimed == 0 || is_over {
            return Ok(counts);
        }
        clock::pause(POLL_INTERVAL).await;
    }
}

fn arrival(request: &CapturedRequest) -> String {
    let id = request.field("CallId").unwrap_or_default();
    format!("{id}  accepted: {}", request.body)
}

/// Acquire receives a request for each reported leg, so there are more requests than delivered calls.
fn ending(summary: &ReplaySummary, counts: &Counts, requests: usize) -> String {
    let refused = summary.not_accepted.iter();
    let refused: u64 = refused.map(|refused| refused.times).sum();
    let states = State::ALL.map(|state| (counts.in_state(state), state));
    let calls: u64 = states.iter().map(|(calls, _)| calls).sum();
    let states = states.iter().filter(|(calls, _)| *calls > 0);
    let states: Vec<String> = states
        .map(|(calls, state)| match state {
            State::Delivered => format!("{calls} {state} ({requests} requests accepted)"),
            _ => format!("{calls} {state}"),
        })
        .collect();
    format!(
        "\n{} sent: {} recorded, {refused} refused\n{}: {}",
        counted(summary.sent, "callback"),
        summary.sent - refused,
        counted(calls, "call"),
        states.join(", ")
    )
}
