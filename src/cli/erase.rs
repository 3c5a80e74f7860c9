//! `erase`: removes all data about a person or a call, and prints a receipt.

use serde_json::json;

use super::act_target::{OperatorArgs, actor};
use super::dismiss::reason;
use super::operate::{self, confirm};
use super::output::{OutputArgs, note, time_bar, wrap, wrapped};
use super::watched::{not_all_read, watched};
use super::{CliError, ConfigArgs, Exit};
use crate::clock::Clock;
use crate::config::partial;
use crate::debugging::missing_call::SEARCHED;
use crate::domain::audit::Reason;
use crate::domain::operation::OperationKind;
use crate::domain::subject::Subject;
use crate::store::erasure::{
    Compaction, NewErasure, Removed, calls_with, is_in_refused, with_legs,
};
use crate::store::{Detail, NewOperation, ReadStore, StoreError, StoredCall};
use crate::twilio::CallSid;

const EXAMPLE: &str = "Examples:
  twilio-acquire-bridge erase --number +12025550123 --dry-run \\
    --reason 'request 17'
  twilio-acquire-bridge erase --email ann@example.com --reason 'request 18'
  twilio-acquire-bridge export --number +12025550123 --out access-request

The command searches every field of every stored callback, request and refused
request, and the spools, for each form of the value. It prints the counts and
asks for confirmation. The bridge then removes all; without a bridge the command
does. Calls that are not delivered are not sent. A later callback of an erased
call stores nothing. The receipt names what is not reached, such as Acquire,
backups and logs. Exits with 1 if a file still has the value. With --json the
receipt is a field of the operation; --dry-run prints only the counts.";

/// Remove all data about a person or a call, and print a receipt.
#[derive(Debug, clap::Args)]
#[command(
    after_help = EXAMPLE,
    override_usage = "twilio-acquire-bridge erase --number <NUMBER> --reason <TEXT> [OPTIONS]"
)]
pub struct Erase {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    subject: SubjectArgs,
    /// Why, without a name or number: the audit log is kept for ever.
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    reason: Reason,
    /// Print what would be removed, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Do not ask for confirmation.
    #[arg(long)]
    yes: bool,
    /// Rewrite the tables (PostgreSQL: VACUUM FULL; callbacks go to the spools meanwhile) or the file
    /// (SQLite: only while no bridge runs), so that no free page has a copy.
    #[arg(long)]
    compact: bool,
    #[command(flatten)]
    operator: OperatorArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Whom or what an erasure is about.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct SubjectArgs {
    /// A number in full, with + and the country code.
    #[arg(long, value_name = "NUMBER")]
    number: Option<String>,
    /// An e-mail address.
    #[arg(long, value_name = "E-MAIL")]
    email: Option<String>,
    /// The SID of a call, or of one of its legs.
    #[arg(long, value_name = "CALLSID")]
    call: Option<String>,
}

impl SubjectArgs {
    /// The key and the value of the API.
    fn pair(&self) -> (&'static str, &str) {
        let pairs = [
            ("number", &self.number),
            ("email", &self.email),
            ("call", &self.call),
        ];
        let mut given = pairs
            .into_iter()
            .filter_map(|(key, value)| Some((key, value.as_deref()?)));
        given.next().unwrap_or(("", ""))
    }
}

impl Erase {
    pub fn run(self) -> Result<Exit, CliError> {
        let config = self.config.load_part(partial::act)?;
        let (key, value) = self.subject.pair();
        let subject = Subject::parse(key, value).map_err(|why| CliError::Usage(why.to_string()))?;
        let (reader, _) = self.config.open_to_read()?;
        let subject = match &subject {
            Subject::Call(sids) => {
                let sid =
                    CallSid::parse(&sids[0]).map_err(|why| CliError::Usage(why.to_string()))?;
                with_legs(subject.clone(), &reader.get_all(&sid)?)
            }
            _ => subject,
        };
        let mut found = Removed::default();
        each_call(&*reader, &subject, &mut |call| found.add_call(&call))?;
        for stored in reader.refused(&SEARCHED)? {
            found.refused += u64::from(is_in_refused(&subject, &stored.request));
        }
        if let Some(spool) = self.config.open_spool()? {
            let spooled = found.spooled.insert(0);
            each_call(&spool, &subject, &mut |call| {
                *spooled += call.callbacks.len() as u64;
            })?;
        }
        let words = subject.words(&reader.address_hasher()?);
        drop(reader);
        let compaction = if self.compact {
            Compaction::Full
        } else {
            Compaction::Off
        };
        if self.dry_run {
            let json = json!({ "found": found });
            self.output
                .print(&json, || wrapped(format_args!("found: {found}")))?;
            return Ok(Exit::Done);
        }
        note!("{}", wrap(&format!("found: {found}"), 4));
        let calls = usize::try_from(found.calls).unwrap_or(usize::MAX);
        if !self.yes && !confirm(OperationKind::Erase, calls)? {
            note!("nothing was erased");
            return operate::nothing(OperationKind::Erase, self.output);
        }
        let order = json!({
            "kind": OperationKind::Erase, "filter": { key: value },
            "reason": self.reason.as_str(), "compaction": compaction,
        });
        let erasure = NewErasure {
            subject,
            words,
            compaction,
        };
        let new = NewOperation {
            reason: Some(self.reason),
            ..erasure.operation(actor(), Clock::system().now())
        };
        operate::run(&config, &self.operator, (new, &order), self.output)
    }
}

/// Reads all calls that have a subject.
pub fn each_call(
    reader: &dyn ReadStore,
    subject: &Subject,
    found: &mut dyn FnMut(StoredCall),
) -> Result<(), CliError> {
    let mut query = calls_with(subject, Detail::Whole, 500);
    let bar = time_bar("reading the calls");
    let read = watched(
        &bar,
        || 0,
        not_all_read,
        || {
            loop {
                let page = reader.search(&query)?;
                page.calls.into_iter().for_each(&mut *found);
                match page.start {
                    Some(start) => query.from = Some(start),
                    None => return Ok::<_, StoreError>(()),
                }
            }
        },
    );
    Ok(read??)
}
