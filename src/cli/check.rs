//! `check`: is the configuration right, what does it say, and how long is Acquire waited for?

pub(super) mod online;

use std::time::Duration;

use serde_json::json;

use super::{COLUMNS, CliError, ConfigArgs, Exit, environment, print_line, wrapped};
use crate::config::{self, Setting, StoreUrl, duration};
use crate::domain::retry::Jitter;
use crate::store;

const EXAMPLE: &str = "Example:
  TWILIO_AUTH_TOKEN=... ACQUIRE_ACCOUNT_ID=example \\
  BRIDGE__SERVER__PUBLIC_URL=https://bridge.example.com twilio-acquire-bridge check

Exits with 0 if all is well, 1 if --online failed or --store found damage, 2
with every mistake of the configuration on stderr.";

/// Validate the configuration and show it without secrets, with the retry schedule.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Check {
    #[command(flatten)]
    config: ConfigArgs,
    /// Also open the store and a connection to Acquire, without posting
    /// anything.
    #[arg(long)]
    online: bool,
    /// Also read the whole store: is the file intact, and does every call that was ever seen stand
    /// somewhere? A bridge may run meanwhile.
    #[arg(long)]
    store: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Check {
    pub fn run(self) -> Result<Exit, CliError> {
        let (config, settings) = config::explain(self.config.config.as_deref(), environment())?;
        let tries = tries(&config.delivery.policy.schedule);
        if !self.json {
            print_line(settings_text(&settings))?;
            print_line(schedule_text(&tries).trim_end())?;
        }
        let mut reached = Vec::new();
        if self.online {
            online::reach(&config, |line| {
                if !self.json {
                    print_line(&line)?;
                }
                reached.push(line);
                Ok(())
            })?;
        }
        let damages = if self.store {
            Some(damages(&config.store.url)?)
        } else {
            None
        };
        if self.json {
            print_line(as_json(&settings, &tries, &reached, damages.as_deref()))?;
        } else if damages.as_ref().is_some_and(Vec::is_empty) {
            print_line(format_args!(
                "{} is intact and conserves its calls",
                config.store.url
            ))?;
        }
        match damages {
            Some(damages) if !damages.is_empty() => {
                for damage in damages {
                    eprintln!("damaged: {damage}");
                }
                eprintln!("{REPAIR}");
                Ok(Exit::Failed)
            }
            _ => Ok(Exit::Done),
        }
    }
}

const REPAIR: &str =
    "Stop the bridge and keep a copy of the file with its -wal. Then start on the latest `backup`, or
on what `sqlite3 FILE .recover` saves; what Acquire took since then is sent again.";

/// What is wrong with the store, a sentence each.
pub(super) fn damages(url: &StoreUrl) -> Result<Vec<String>, CliError> {
    let reader = store::open_to_read(url)?;
    let damages = reader.verify_integrity()?;
    if !damages.is_empty() {
        // Counting on damaged pages tells nothing.
        return Ok(damages);
    }
    Ok(reader.verify_consistency()?)
}

/// One attempt of the schedule.
struct Try {
    number: usize,
    /// After the attempt before.
    wait: Duration,
    /// Since the end of the call.
    after: Duration,
}

fn tries(schedule: &[Duration]) -> Vec<Try> {
    let waits = std::iter::once(&Duration::ZERO).chain(schedule);
    let mut after = Duration::ZERO;
    (1..)
        .zip(waits)
        .map(|(number, wait)| {
            after += *wait;
            Try {
                number,
                wait: *wait,
                after,
            }
        })
        .collect()
}

fn settings_text(settings: &[Setting]) -> String {
    let line = |setting: &Setting| {
        let Setting {
            key, value, origin, ..
        } = setting;
        match value {
            Some(value) => {
                let line = format!("{key} = {value}  # {origin}\n");
                if line.trim_end().chars().count() <= COLUMNS {
                    line
                } else {
                    format!("# {origin}:\n{key} = {value}\n")
                }
            }
            None => format!("# {key} is not set\n"),
        }
    };
    settings.iter().map(line).collect()
}

fn schedule_text(tries: &[Try]) -> String {
    let line = |attempt: &Try| {
        let (wait, after) = (duration::show(attempt.wait), duration::show(attempt.after));
        format!("{:>7}  {wait:<8}  {after}\n", attempt.number)
    };
    let lines: String = tries.iter().map(line).collect();
    let (last, horizon) = tries
        .last()
        .map_or((0, Duration::ZERO), |last| (last.number, last.after));
    let end = format!(
        "A call that Acquire does not take is parked after attempt {last}, {} after its end or up \
         to {:.0} % later.",
        duration::show(horizon),
        Jitter::MAX * 100.0
    );
    let end = wrapped(&end, 0);
    format!("\nattempt  wait      since the end of the call\n{lines}\n{end}\n")
}

fn as_json(
    settings: &[Setting],
    tries: &[Try],
    reached: &[String],
    damages: Option<&[String]>,
) -> serde_json::Value {
    let settings: serde_json::Map<_, _> = settings
        .iter()
        .map(|setting| {
            let Setting {
                key, value, origin, ..
            } = setting;
            let shown = json!({ "value": value, "from": origin.to_string() });
            (key.clone(), shown)
        })
        .collect();
    let schedule: Vec<_> = tries
        .iter()
        .map(|attempt| {
            json!({
                "attempt": attempt.number,
                "wait_seconds": attempt.wait.as_secs_f64(),
                "after_seconds": attempt.after.as_secs_f64(),
            })
        })
        .collect();
    json!({ "settings": settings, "schedule": schedule, "online": reached, "store": damages })
}
