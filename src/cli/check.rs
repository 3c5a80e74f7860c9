//! `check`: validates the configuration, prints it with the retry schedule, and checks the store and
//! Acquire on request.

pub(super) mod online;

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::json;

use super::output::{
    COLUMNS, OutputArgs, OutputFormat, note, print_json, print_line, print_pretty_json, time_bar,
    wrap,
};
use super::watched::watched;
use super::{CliError, ConfigArgs, Exit};
use crate::config::{self, ConfigError, Explained, MASK, SecretGap, Setting, StoreUrl, duration};
use crate::domain::plain_text::plain;
use crate::domain::retry::Jitter;
use crate::store::{self, StoreError};

const EXAMPLE: &str = "Example:
  export TWILIO_AUTH_TOKEN=0123456789abcdef0123456789abcdef
  export ACQUIRE_ACCOUNT_ID=example
  export BRIDGE__SERVER__PUBLIC_URL=https://bridge.example.com
  twilio-acquire-bridge check

Exits with 0 if the configuration is valid, with 1 if --online failed or --store
found damage, with 2 and every mistake on stderr if the configuration is wrong.";

/// Validate the configuration; print it, and the retry schedule.
///
/// The output is a configuration file, which check accepts too. In place of secrets and personal data it has
/// "***", with which the bridge does not start.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Check {
    #[command(flatten)]
    config: ConfigArgs,
    /// Also open the store and a connection to Acquire; nothing is posted.
    #[arg(long)]
    online: bool,
    /// Also read the whole store: whether the file is intact and every call is accounted for. A bridge
    /// may be running.
    #[arg(long)]
    store: bool,
    /// Print the JSON Schema of a configuration file instead, for editors and for taplo.
    #[arg(long, conflicts_with_all = ["online", "store", "json"])]
    schema: bool,
    #[command(flatten)]
    output: OutputArgs,
}

impl Check {
    pub fn run(self) -> Result<Exit, CliError> {
        if self.schema {
            print_pretty_json(&config::schema())?;
            return Ok(Exit::Done);
        }
        let Explained {
            config,
            settings,
            gaps,
        } = self.config.explain()?;
        let unreadable = |gap: &&SecretGap| matches!(gap, SecretGap::Unreadable(_));
        let mistakes: Vec<String> = gaps
            .iter()
            .filter(unreadable)
            .map(SecretGap::to_string)
            .collect();
        if !mistakes.is_empty() {
            return Err(ConfigError(mistakes).into());
        }
        let is_text = self.output.format() == OutputFormat::Text;
        let attempts = scheduled_attempts(&config.delivery.policy.schedule);
        let mut warnings = config.doubts();
        warnings.extend(gaps.iter().map(SecretGap::to_string));
        for warning in warnings.iter().filter(|_| is_text) {
            note!("warning: {warning}");
        }
        // Printed before the checks, which may take long or fail.
        if is_text {
            print_line(settings_text(&settings))?;
            print_line(schedule_text(&attempts).trim_end())?;
        }
        let mut reached = Vec::new();
        if self.online {
            online::reach(&config, |line| {
                if is_text {
                    print_line(format_args!("# {}", plain(&line)))?;
                }
                reached.push(line);
                Ok(())
            })?;
        }
        let damages = if self.store {
            let bar = time_bar("reading the store");
            let stopped = || "stopped before the whole store was read".to_owned();
            Some(watched(
                &bar,
                || 0,
                stopped,
                || damages(&config.store.url),
            )??)
        } else {
            None
        };
        if !is_text {
            let mut json = as_json(&settings, &attempts, &reached, damages.as_deref());
            json["warnings"] = warnings.into();
            print_json(&json)?;
        } else if damages.as_ref().is_some_and(Vec::is_empty) {
            print_line(format_args!(
                "# {} is intact; every call is accounted for",
                config.store.url
            ))?;
        }
        match damages {
            Some(damages) if !damages.is_empty() => {
                for damage in damages {
                    note!("damaged: {damage}");
                }
                note!("{REPAIR}");
                Ok(Exit::Failed)
            }
            _ => Ok(Exit::Done),
        }
    }
}

const REPAIR: &str =
    "Stop the bridge and keep a copy of the file and its -wal. Then start on the latest `backup`, or
on the output of `sqlite3 FILE .recover`. Calls that Acquire accepted since then are sent again.";

/// The damage to the store, one sentence each.
pub(super) fn damages(url: &StoreUrl) -> Result<Vec<String>, CliError> {
    let reader = store::open_to_read(url)?;
    let damages = match reader.verify_integrity() {
        // Counts from damaged pages mean nothing.
        Ok(damages) if damages.is_empty() => reader.verify_consistency(),
        found => found,
    };
    match damages {
        // The error names this command for details.
        Err(StoreError::Damaged(why)) => Ok(vec![why]),
        damages => Ok(damages?),
    }
}

/// One attempt of the retry schedule.
struct ScheduledAttempt {
    number: usize,
    /// After the attempt before.
    wait: Duration,
    /// Since the end of the call.
    after: Duration,
}

fn scheduled_attempts(schedule: &[Duration]) -> Vec<ScheduledAttempt> {
    let waits = std::iter::once(&Duration::ZERO).chain(schedule);
    let mut after = Duration::ZERO;
    (1..)
        .zip(waits)
        .map(|(number, wait)| {
            after += *wait;
            ScheduledAttempt {
                number,
                wait: *wait,
                after,
            }
        })
        .collect()
}

/// The settings as a configuration file. Hidden values have a mask, which `check` accepts and `serve` does
/// not.
fn settings_text(settings: &[Setting]) -> String {
    let (of_entries, others): (Vec<_>, Vec<_>) = settings
        .iter()
        .partition(|setting| setting.key.contains('['));
    let mut text: String = others
        .into_iter()
        .map(|setting| setting_text(setting, &setting.key))
        .collect();
    let mut entry = "";
    for setting in of_entries {
        let (of, key) = setting.key.split_once('.').unwrap_or_default();
        if of != entry {
            entry = of;
            let list = of.split('[').next().unwrap_or_default();
            let _ = write!(text, "\n[[{list}]]\n");
        }
        text.push_str(&setting_text(setting, key));
    }
    text
}

fn setting_text(setting: &Setting, key: &str) -> String {
    let Setting { value, origin, .. } = setting;
    let Some(value) = value else {
        return format!("# {key} is not set\n");
    };
    let (mut key, mut value, mut origin) = (key.to_owned(), value.clone(), origin.to_string());
    if let Some(count) = value.strip_prefix('(') {
        if count != "set)" {
            origin = format!("{origin}, {}", count.trim_end_matches(')'));
        }
        value = format!("\"{MASK}\"");
    }
    if let Some(path) = &setting.file {
        key.push_str("_file");
        value = serde_json::Value::from(path.to_string_lossy()).to_string();
    }
    let line = format!("{key} = {value}  # {origin}\n");
    if line.trim_end().chars().count() > COLUMNS {
        return format!("# {origin}:\n{key} = {value}\n");
    }
    line
}

fn schedule_text(attempts: &[ScheduledAttempt]) -> String {
    let line = |attempt: &ScheduledAttempt| {
        let (wait, after) = (duration::show(attempt.wait), duration::show(attempt.after));
        format!("# {:>7}  {wait:<8}  {after}\n", attempt.number)
    };
    let lines: String = attempts.iter().map(line).collect();
    let (last, horizon) = attempts
        .last()
        .map_or((0, Duration::ZERO), |last| (last.number, last.after));
    let end = format!(
        "The bridge parks a call that Acquire does not accept after attempt {last}, {} after the \
         end of the call or up to {:.0} % later.",
        duration::show(horizon),
        Jitter::MAX * 100.0
    );
    let end = wrap(&end, 2).replace("\n  ", "\n# ");
    format!("\n# attempt  wait      since the end of the call\n{lines}#\n# {end}\n")
}

fn as_json(
    settings: &[Setting],
    attempts: &[ScheduledAttempt],
    reached: &[String],
    damages: Option<&[String]>,
) -> serde_json::Value {
    let settings: serde_json::Map<_, _> = settings
        .iter()
        .map(|setting| {
            let Setting {
                key, value, origin, ..
            } = setting;
            let shown = json!({ "value": value, "origin": origin.to_string() });
            (key.clone(), shown)
        })
        .collect();
    let schedule: Vec<_> = attempts
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
