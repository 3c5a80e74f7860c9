//! `requeue`: makes all requests of a call owed again.

use super::running::Running;
use super::{ConfigArgs, Exit, Failure, say};
use crate::app;
use crate::clock::Clock;
use crate::config::Config;
use crate::store::{self, OpenError};
use crate::twilio::CallSid;

/// Make all requests of calls owed again, also those that Acquire took, on a fresh schedule.
///
/// Asks the bridge that owns the store to do it; where none runs, the store itself is written.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  twilio-acquire-bridge requeue CA00000000000000000000000000000001

Exits with 3 if some of the calls are not in the store.")]
pub struct Requeue {
    #[command(flatten)]
    config: ConfigArgs,
    /// The SIDs of the calls, or of legs of them.
    #[arg(value_name = "CALLSID", required = true, value_parser = super::show::sid)]
    sids: Vec<CallSid>,
}

impl Requeue {
    pub fn run(self) -> Result<Exit, Failure> {
        let config = self.config.load()?;
        // A store that is not there must not be made: the answer would be wrong, and so its owner.
        store::open_to_read(&config.store.url)?;
        let requeued = app::block_on(async {
            match store::open(&config.store.url) {
                Ok(store) => {
                    let now = Clock::system().now();
                    let mut requeued = Vec::new();
                    for sid in &self.sids {
                        let known = store.requeue(sid, now).await?;
                        requeued.push(known);
                    }
                    Ok(requeued)
                }
                Err(OpenError::InUse { .. }) => ask_the_bridge(&config, &self.sids).await,
                Err(why) => Err(anyhow::Error::from(why)),
            }
        })?;
        for (sid, requeued) in self.sids.iter().zip(&requeued) {
            if *requeued {
                say(format_args!("{sid}  requeued"))?;
            } else {
                eprintln!("{sid}  not in the store");
            }
        }
        Ok(if requeued.contains(&false) {
            Exit::Partial
        } else {
            Exit::Done
        })
    }
}

async fn ask_the_bridge(config: &Config, sids: &[CallSid]) -> anyhow::Result<Vec<bool>> {
    let mut requeued = Vec::new();
    for sid in sids {
        requeued.push(ask(config, sid).await?);
    }
    Ok(requeued)
}

async fn ask(config: &Config, sid: &CallSid) -> anyhow::Result<bool> {
    let running = Running::of(config);
    let answer = running.post(&format!("/api/calls/{sid}/requeue")).await?;
    match answer {
        202 => Ok(true),
        404 => Ok(false),
        401 => anyhow::bail!("the bridge on {running} asks for another admin.token"),
        status => anyhow::bail!("the bridge on {running} answered {status}"),
    }
}
