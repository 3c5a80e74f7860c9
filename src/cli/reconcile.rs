//! `reconcile`: compares Twilio's own records with the store, and imports missing ones.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use indicatif::ProgressBar;
use serde_json::json;

use super::call_filter::time;
use super::output::{
    OutputArgs, OutputFormat, note, print_json, print_wrapped, progress_bar, time_bar, wrap,
};
use super::serve::stop_on_signals;
use super::spool::{self, SpoolContents};
use super::{CliError, ConfigArgs, Exit};
use crate::app;
use crate::app::reconcile::{
    AccountReport, HeldGaps, KnownStore, Mode, ReconcileError, ReconcileRequest, Reconciler,
    RecordLine, Reports,
};
use crate::cli::admin_client::AdminClient;
use crate::clock::{Clock, Millis};
use crate::config::{AdminSettings, partial};
use crate::store::{self, OpenError};
use crate::telemetry::metrics::Metrics;
use crate::twilio::{AccountSid, CallSid};

/// The window of a comparison that names neither times nor calls.
const ONE_DAY: Duration = Duration::from_secs(86_400);

const EXAMPLE: &str = "Examples:
  twilio-acquire-bridge reconcile --since 1d --dry-run
  twilio-acquire-bridge reconcile --since 2026-01-02T09:00:00Z \\
    --until 2026-01-02T12:00:00Z

A missing call is imported from Twilio's list or alert, and queued behind live
calls. Twilio's API needs an API key: see docs/reconcile.md. A progress bar
shows the rows. Exits with 0 if no record is missing or all missing records
were imported, with 3 if a record is missing and was not imported (also with
--dry-run) or is held, and with 1 if the comparison failed.";

/// Compare Twilio's own records with the store; import missing calls.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Reconcile {
    #[command(flatten)]
    config: ConfigArgs,
    /// Compare calls that ended at this time (UTC) or later: 2026-01-31T09:30:00Z, yesterday, 2h; by
    /// default 1d, unless --call names calls.
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Millis>,
    /// Compare calls that ended before this time (UTC).
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<Millis>,
    /// Only this Twilio account.
    #[arg(long, value_name = "ACCOUNTSID", value_parser = account)]
    account: Option<AccountSid>,
    /// Only this call (repeatable), also if no callback of it was expected.
    #[arg(long = "call", value_name = "CALLSID", value_parser = super::show::sid)]
    calls: Vec<CallSid>,
    /// Also import held calls: those that a bridge had answered 204.
    #[arg(long, conflicts_with = "dry_run")]
    take_held: bool,
    /// Import nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    output: OutputArgs,
}

fn account(text: &str) -> Result<AccountSid, String> {
    AccountSid::parse(text).map_err(|why| why.to_string())
}

impl Reconcile {
    pub fn run(self) -> Result<Exit, CliError> {
        let clock = Clock::system();
        let request = ReconcileRequest {
            from: Some(match self.since {
                Some(time) => time,
                None if self.calls.is_empty() => clock.now().minus(ONE_DAY),
                None => Millis(0),
            }),
            until: self.until,
            account: self.account.clone(),
            calls: self.calls.clone(),
            mode: if self.dry_run {
                Mode::DryRun
            } else {
                Mode::Import
            },
            held: if self.take_held {
                HeldGaps::TakeIn
            } else {
                HeldGaps::Keep
            },
        };
        if request
            .until
            .is_some_and(|until| request.from > Some(until))
        {
            let why = "--since (by default 1d) must not be after --until";
            return Err(CliError::Usage(why.to_owned()));
        }
        // Fails if there is no store: opening it for writing would create a file.
        self.config.open_to_read()?;
        let reports = app::block_on(self.reconcile(clock, &request))?;
        let Some(Reports { accounts, failed }) = reports else {
            return Ok(Exit::Partial);
        };
        let exit = self.print(&accounts)?;
        match failed {
            None => Ok(exit),
            Some(why) => Err(CliError::Failed(anyhow::anyhow!(why))),
        }
    }

    /// `None` if Ctrl-C stopped it.
    async fn reconcile(
        &self,
        clock: Clock,
        request: &ReconcileRequest,
    ) -> Result<Option<Reports>, CliError> {
        let act = self.config.load_part(partial::act)?;
        let spool = self.config.load_part(partial::spool)?;
        if let Some(path) = spool::path(&act.store, &spool)
            && let SpoolContents::Calls { .. } = spool::read(path)?
        {
            return Err(ReconcileError::Spooled.into());
        }
        let store = match request.mode {
            Mode::DryRun => None,
            Mode::Import => match store::open(&act.store) {
                Ok(store) => Some(store),
                // The bridge that owns the file runs the comparison, and has the secrets for it.
                Err(OpenError::InUse { .. }) => return ask_bridge(&act.admin, request).await,
                Err(why) => return Err(why.into()),
            },
        };
        let reconciler = Reconciler {
            store: KnownStore::open(&act.store, store).await?,
            config: Arc::new(self.config.load()?),
            clock,
            metrics: Arc::new(Metrics::default()),
        };
        let (bar, stop) = (RowsBar::default(), stop_on_signals()?);
        let show = |rows| bar.show(rows);
        let results = stop
            .run_until_cancelled(reconciler.run(request, &show))
            .await;
        bar.clear();
        if let Some(results) = results {
            return Ok(Some(Reports::of(results?)));
        }
        let (rows, imported) = (bar.rows(), reconciler.imported());
        Ok(stopped(&format!(
            "{rows} rows compared and {imported} records imported; run the command again to compare the \
             rest"
        )))
    }

    fn print(&self, reports: &[AccountReport]) -> Result<Exit, CliError> {
        match self.output.format() {
            OutputFormat::Json => print_json(&json!({ "accounts": reports }))?,
            OutputFormat::Text => {
                for report in reports {
                    report.records.iter().try_for_each(print_record)?;
                    print_wrapped(report)?;
                }
            }
        }
        Ok(if reports.iter().any(AccountReport::is_incomplete) {
            Exit::Partial
        } else {
            Exit::Done
        })
    }
}

fn print_record(line: &RecordLine) -> std::io::Result<()> {
    let ended = line.ended.as_deref().unwrap_or("-");
    let imported = line.imported.as_ref().map(|by| format!("imported ({by})"));
    let words = [
        line.call_sid.as_str(),
        ended,
        &line.call_status,
        &line.finding,
        &line.detail,
        imported.as_deref().unwrap_or_default(),
    ];
    let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
    print_wrapped(words.join("  "))
}

async fn ask_bridge(
    admin: &AdminSettings,
    request: &ReconcileRequest,
) -> Result<Option<Reports>, CliError> {
    let bridge = AdminClient::of(admin);
    note!("the bridge on {bridge} owns the store and runs the comparison");
    let body = serde_json::to_value(request)?;
    let (bar, stop) = (time_bar("comparing"), stop_on_signals()?);
    let answer = bridge.post_json("/api/reconcile", &body);
    let reports = stop.run_until_cancelled(answer).await;
    bar.finish_and_clear();
    match reports {
        Some(reports) => Ok(Some(serde_json::from_value(reports?)?)),
        None => Ok(stopped("the bridge may still compare and import")),
    }
}

/// Ends a comparison after Ctrl-C.
fn stopped(rest: &str) -> Option<Reports> {
    note!("{}", wrap(&format!("stopped; {rest}"), 0));
    None
}

/// The rows so far: Twilio gives no total.
#[derive(Default)]
struct RowsBar(RefCell<Option<ProgressBar>>);

impl RowsBar {
    fn show(&self, rows: u64) {
        let mut bar = self.0.borrow_mut();
        let bar = bar.get_or_insert_with(|| progress_bar(rows));
        bar.set_length(rows);
        bar.set_position(rows);
    }

    fn rows(&self) -> u64 {
        self.0.borrow().as_ref().map_or(0, ProgressBar::position)
    }

    fn clear(&self) {
        if let Some(bar) = &*self.0.borrow() {
            bar.finish_and_clear();
        }
    }
}
