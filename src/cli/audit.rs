//! `audit`: prints who did what.

use super::call_filter::time;
use super::output::{OutputArgs, OutputFormat, note, wrap};
use super::{CliError, ConfigArgs, Exit};
use crate::clock::Millis;
use crate::domain::audit::{Act, Head};
use crate::domain::plural::counted;
use crate::store::{AuditFilter, StoredAuditRow};

const EXAMPLE: &str = "Examples:
  twilio-acquire-bridge audit --since 7d
  twilio-acquire-bridge audit --head

Each row's hash is the SHA-256 of the hash of the row before (64 zeros before
the first) and of the row as JSON, which `jq -cS 'del(.hash)'` makes of a line
of --json. `check --store` verifies them. Keep the hash that --head prints
somewhere else: it also shows that no later row was removed.";

/// Print the audit log: who did what and why, newest first.
///
/// It has requeues, dismissals, operations, reloads and expiries. A bridge may be running. With --json
/// each line is one JSON object.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Audit {
    #[command(flatten)]
    config: ConfigArgs,
    /// Only rows of this time (UTC) or later: 2026-01-31, 2026-01-31T09:30:00Z, today, yesterday, or 2h
    /// for two hours ago.
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Millis>,
    /// Only rows of this actor.
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
    /// Only rows of this act, such as requeue.
    #[arg(long, value_name = "ACT", value_parser = act)]
    act: Option<Act>,
    /// Print only the hash of the last row.
    #[arg(long, conflicts_with_all = ["since", "actor", "act"])]
    head: bool,
    #[command(flatten)]
    output: OutputArgs,
}

fn act(text: &str) -> Result<Act, String> {
    Act::parse(text).ok_or_else(|| format!("the acts are {}", Act::ALL.map(Act::as_str).join(", ")))
}

impl Audit {
    pub fn run(self) -> Result<Exit, CliError> {
        let (reader, _) = self.config.open_to_read()?;
        let rows = reader.audit(&AuditFilter {
            actor: self.actor,
            act: self.act,
            since: self.since,
            before: None,
            limit: if self.head { 1 } else { usize::MAX },
        })?;
        if self.head {
            let last = rows
                .first()
                .map(|last| (last.row.number, last.hash.clone()));
            let head = last.map_or_else(Head::default, |(number, hash)| Head { number, hash });
            let json = serde_json::json!({ "number": head.number, "hash": head.hash });
            self.output.print(&json, || &head.hash)?;
            return Ok(Exit::Done);
        }
        for row in &rows {
            self.output.print(row, || as_text(row))?;
        }
        if rows.is_empty() && self.output.format() == OutputFormat::Text {
            note!("no change was made yet, or none matches");
        }
        Ok(Exit::Done)
    }
}

fn as_text(StoredAuditRow { row, .. }: &StoredAuditRow) -> String {
    let (known, act) = (row.known_by.as_str(), row.act.as_str());
    let mut about = vec![format!("{}  {} ({known})  {act}", row.at, row.actor)];
    about.extend(row.target.clone());
    about.extend(row.filter.clone());
    about.extend(row.count.map(|count| counted(count, "call")));
    let head = wrap(&about.join("  "), 4);
    let rest = [&row.reason, &row.result].map(|text| text.as_deref().unwrap_or_default());
    match rest.join("  ").trim() {
        "" => head,
        rest => format!("{head}\n    {}", wrap(rest, 4)),
    }
}
