//! `demo`: the whole way at once, with everything that it needs inside.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::serve::stop_on_signals;
use super::{Exit, Failure, say};
use crate::app::{self, App};
use crate::clock::Clock;
use crate::config;
use crate::fixture::{Fixture, builtin};
use crate::replay::{self, Item, Pace, Sids, Signer, Summary, Target};
use crate::sink::{Faults, Keep, Received, Sink};
use crate::store::{Counts, Filter, State};
use crate::twilio::signature::Key;

/// Signs the demonstration's callbacks; it opens nothing else.
const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// How long all calls together may take to reach the stand-in.
const PATIENCE: Duration = Duration::from_secs(20);

/// See it work: a stand-in for Acquire, a bridge, and callbacks of every kind.
///
/// Both run on free ports with a throw-away database. The callbacks are signed and sent as Twilio
/// does, and what reached Acquire is printed. It stays up for a look at the console until Ctrl-C.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  twilio-acquire-bridge demo --once")]
pub struct Demo {
    /// End once everything has arrived.
    #[arg(long)]
    once: bool,
}

impl Demo {
    pub fn run(self) -> Result<Exit, Failure> {
        let folder = tempfile::tempdir()?;
        let sink = Sink::start(any_port(), Faults::default(), Keep::All)?;
        let config = configuration(folder.path(), &sink)?;
        app::block_on(async {
            let stop = stop_on_signals()?;
            let app = App::build(config, Clock::system())?;
            let (public, admin) = (app.public_addr()?, app.admin_addr()?);
            eprintln!("sink     {}, the stand-in for Acquire", sink.base_url());
            eprintln!("bridge   http://{public}, Twilio's side");
            eprintln!("console  http://{admin}/");
            let store = app.store();
            let running = tokio::spawn(app.run(stop.clone()));

            let summary = send(&format!("http://{public}")).await?;
            let counts = settled(store.as_ref(), &stop).await?;
            for request in sink.received() {
                say(arrival(&request))?;
            }
            let filter = Filter {
                state: None,
                limit: usize::MAX,
            };
            for call in store.list(filter).await? {
                if let Some(reason) = &call.reason {
                    say(format_args!("{}  {}: {reason}", call.sid, call.state))?;
                }
            }
            for refused in &summary.not_taken {
                let status = refused
                    .status
                    .map(|status| status.to_string())
                    .unwrap_or_default();
                let reason = refused.reason.as_deref().unwrap_or("no answer");
                say(format_args!(
                    "{}  refused with {status}: {reason}",
                    refused.item
                ))?;
            }
            eprintln!("{}", ending(&summary, &counts));
            if !self.once {
                eprintln!("Look at http://{admin}/ now; Ctrl-C ends the demonstration.");
                stop.cancelled().await;
            }
            stop.cancel();
            drop(store);
            running.await.map_err(anyhow::Error::from)??;
            Ok(if counts.pending + counts.claimed == 0 {
                Exit::Done
            } else {
                Exit::Failed
            })
        })
    }
}

fn any_port() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

fn configuration(folder: &std::path::Path, sink: &Sink) -> Result<config::Config, Failure> {
    let database = folder.join("demo.db");
    let environment = [
        ("TWILIO_AUTH_TOKEN", TOKEN.to_owned()),
        ("ACQUIRE_ACCOUNT_ID", "demo".to_owned()),
        (
            "BRIDGE__SERVER__PUBLIC_URL",
            "https://bridge.example.com".to_owned(),
        ),
        ("BRIDGE__SERVER__LISTEN", any_port().to_string()),
        ("BRIDGE__ADMIN__LISTEN", any_port().to_string()),
        (
            "BRIDGE__STORE__URL",
            format!("sqlite:{}", database.display()),
        ),
        ("BRIDGE__ACQUIRE__BASE_URL", sink.base_url()),
    ];
    let environment = environment.map(|(key, value)| (key.to_owned(), value));
    Ok(config::load(None, environment)?)
}

async fn send(to: &str) -> Result<Summary, Failure> {
    let mut items = Vec::new();
    for case in builtin() {
        let fixture = Fixture::parse(case.name, case.request).map_err(anyhow::Error::from)?;
        items.push(Item {
            name: case.name.to_owned(),
            fixture,
        });
    }
    let target = Target {
        to: to.to_owned(),
        public: None,
    };
    let signer = Signer {
        key: Key::auth_token(TOKEN),
        settings: None,
    };
    let pace = Pace {
        concurrency: NonZeroUsize::MIN,
        rate: None,
        repeat: NonZeroU32::MIN,
    };
    let sent = replay::send(items, target, signer, pace, Sids::Recorded, |_, _| ()).await;
    Ok(sent.map_err(anyhow::Error::from)?)
}

/// The counts once nothing is due any more.
async fn settled(
    store: &dyn crate::store::Store,
    stop: &CancellationToken,
) -> Result<Counts, Failure> {
    let until = tokio::time::Instant::now() + PATIENCE;
    loop {
        let counts = store.counts().await?;
        let is_over = tokio::time::Instant::now() > until || stop.is_cancelled();
        if counts.pending + counts.claimed == 0 || is_over {
            return Ok(counts);
        }
        tokio::task::yield_now().await;
    }
}

fn arrival(request: &Received) -> String {
    let id = request.field("CallId").unwrap_or_default();
    format!("{id}  {}: {}", State::Delivered, request.body)
}

fn ending(summary: &Summary, counts: &Counts) -> String {
    let mut text = format!("\n{} callbacks sent", summary.sent);
    for state in State::ALL {
        let calls = counts.in_state(state);
        if calls > 0 {
            // Writing to a String cannot fail.
            let _ = write!(text, ", {calls} calls {state}");
        }
    }
    let refused: u64 = summary.not_taken.iter().map(|refused| refused.times).sum();
    let _ = write!(text, ", {refused} refused");
    text
}
