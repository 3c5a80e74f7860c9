//! `report`: prints what became of the calls of a period.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use unicode_width::UnicodeWidthStr as _;

use super::call_filter::time_in;
use super::output::{OutputArgs, OutputFormat, note, pad, print_line, print_pretty_json};
use super::{CliError, ConfigArgs, Exit};
use crate::clock::Clock;
use crate::config::partial;
use crate::debugging::report::{Period, Report, day_of};

/// Print what became of the calls of a month, by day.
///
/// A call belongs to the day of its first callback, in the time zone of the report. Calls that were removed are
/// counted too.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  twilio-acquire-bridge report --month 2026-11
  twilio-acquire-bridge report --since 2026-11-02 --until 2026-11-08 --csv
  twilio-acquire-bridge report --since 7d --until yesterday")]
pub struct ReportCommand {
    #[command(flatten)]
    config: ConfigArgs,
    /// The month; without it, the current one.
    #[arg(long, value_name = "YYYY-MM", value_parser = month, conflicts_with = "since")]
    month: Option<Period>,
    /// The first day: 2026-01-31, today, yesterday, or that of a time or of how long ago: 7d.
    #[arg(long, value_name = "DAY")]
    since: Option<String>,
    /// The last day; by default today.
    #[arg(long, value_name = "DAY", requires = "since")]
    until: Option<String>,
    /// Print a line of CSV for each day.
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    #[command(flatten)]
    output: OutputArgs,
}

impl ReportCommand {
    pub fn run(self) -> Result<Exit, CliError> {
        let settings = self.config.load_part(partial::report)?;
        let (reader, _) = self.config.open_to_read()?;
        let now = Clock::system().now();
        let zone = &settings.time_zone;
        let period = match (self.month, &self.since) {
            (_, Some(since)) => {
                let until = self.until.as_deref().unwrap_or("today");
                Period::days(day(since, zone)?, day(until, zone)?).ok_or_else(|| {
                    let why = "--since must not be after --until, nor ten years before it";
                    CliError::Usage(why.to_owned())
                })?
            }
            (Some(month), None) => month,
            (None, None) => Period::current(now, &settings.time_zone),
        };
        let rows = reader.ledger(period.time(&settings.time_zone))?;
        let report = Report::of(&rows, period, &settings);
        match self.output.format() {
            OutputFormat::Json => print_pretty_json(&report)?,
            OutputFormat::Text if self.csv => print_line(report.to_csv().trim_end())?,
            OutputFormat::Text => print(&report)?,
        }
        Ok(Exit::Done)
    }
}

fn print(report: &Report) -> Result<(), CliError> {
    let (since, until, zone) = (&report.since, &report.until, &report.time_zone);
    print_line(format_args!(
        "calls of {since} to {until} ({zone}); late: after {}",
        report.late
    ))?;
    for of in &report.days {
        print_line(format_args!("{}  {}", of.day, of.sums.identity()))?;
    }
    if report.accounts.len() > 1 {
        let widths = report.accounts.keys().map(|account| account.width());
        let widest = widths.max().unwrap_or_default();
        for (account, sums) in &report.accounts {
            print_line(format_args!(
                "{}  {}",
                pad(account, widest),
                sums.identity()
            ))?;
        }
    }
    print_line(format_args!("total       {}", report.total.identity()))?;
    for (cause, calls) in &report.total.skipped {
        print_line(format_args!("            {calls} skipped: {cause}"))?;
    }
    if let Some(slowest) = &report.slowest_day {
        print_line(format_args!("slowest day {slowest}"))?;
    }
    if report.total.reconciled > 0 {
        let calls = report.total.reconciled;
        print_line(format_args!(
            "            {calls} of them imported by reconcile"
        ))?;
    }
    if report.days.is_empty() {
        note!("no call came in this period");
    }
    Ok(())
}

fn month(text: &str) -> Result<Period, String> {
    Period::month(text).ok_or_else(|| "a month is YYYY-MM, such as 2026-11".to_owned())
}

/// The day of a time, which is read in the time zone of the report.
fn day(text: &str, zone: &TimeZone) -> Result<Date, CliError> {
    let time = time_in(text, zone).map_err(CliError::Usage)?;
    day_of(time, zone).ok_or_else(|| CliError::Usage(format!("there is no day for {text}")))
}
