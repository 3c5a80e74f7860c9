//! `status`: says in one sentence whether everything is fine.

use serde_json::{Value, json};

use super::admin_client::AdminClient;
use super::output::{OutputArgs, OutputFormat, print_line, print_pretty_json, wrap};
use super::{CliError, ConfigArgs, Exit};
use crate::app;
use crate::clock::Clock;
use crate::config::partial;
use crate::debugging::bridge_status::{BridgeFacts, BridgeStatus};
use crate::debugging::recent_calls::{RecentCalls, RecentTimes};

/// Show whether everything is fine right now.
///
/// Asks the running bridge. Without one, prints what the store has.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exits with 0 if nothing needs an operator, with 1 if something does.")]
pub struct Status {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    output: OutputArgs,
}

impl Status {
    pub fn run(self) -> Result<Exit, CliError> {
        let admin = self.config.load_part(partial::admin)?;
        let client = AdminClient::of(&admin);
        let answer = app::block_on(async { client.get("/api/status").await });
        let status = match answer {
            Some(answer) => answer,
            None => self.of_store(&client)?,
        };
        match self.output.format() {
            OutputFormat::Json => print_pretty_json(&status)?,
            OutputFormat::Text => print(&status)?,
        }
        let is_well = status["is_well"] == true;
        Ok(if is_well { Exit::Done } else { Exit::Failed })
    }

    /// The status without a bridge.
    fn of_store(&self, client: &AdminClient<'_>) -> Result<Value, CliError> {
        let (reader, _) = self.config.open_to_read()?;
        let counts = reader.counts()?;
        let (report, now) = (
            self.config.load_part(partial::report)?,
            Clock::system().now(),
        );
        let times = RecentTimes::of(now, &report.time_zone);
        let [rows, then] = times.ranges().map(|time| reader.ledger(time));
        let recent = RecentCalls::of(&rows?, &then?, &times);
        let facts = BridgeFacts {
            not_stored: Some(format!(
                "no bridge answers on admin.listen ({client}) with this configuration"
            )),
            counts: Some(counts.clone()),
            recent: Some(recent.clone()),
            late: report.late,
            ..BridgeFacts::default()
        };
        let status = BridgeStatus::of(&facts, now);
        Ok(json!({
            "sentence": status.sentence,
            "is_well": status.is_well,
            "conditions": status.conditions,
            "calls": {
                "pending": counts.pending,
                "claimed": counts.claimed,
                "delivered": counts.delivered,
                "skipped": counts.skipped,
                "parked": counts.parked,
            },
            "today": recent.today,
            "week_ago": recent.week_ago,
        }))
    }
}

/// The sentence of each condition, the most urgent first.
fn print(status: &Value) -> std::io::Result<()> {
    let conditions = status["conditions"].as_array().into_iter().flatten();
    let sentences: Vec<&str> = conditions
        .filter_map(|view| view["sentence"].as_str())
        .collect();
    if sentences.is_empty() {
        return print_line(wrap(status["sentence"].as_str().unwrap_or_default(), 0));
    }
    sentences
        .into_iter()
        .try_for_each(|sentence| print_line(wrap(sentence, 0)))
}
