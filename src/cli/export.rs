//! `export`: calls of the store as fixtures.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::call_filter::CallFilter;
use super::refused::People;
use super::{CliError, ConfigArgs, Exit, print_line, refused};
use crate::debugging::export::IncidentFolder;
use crate::debugging::redact::Redactor;
use crate::store::ReadStore;
use crate::twilio::CallSid;

const EXAMPLE: &str = "Examples:
  twilio-acquire-bridge export CA00000000000000000000000000000001 --out incident
  twilio-acquire-bridge export --state parked --since 1d --redact --out incident
  twilio-acquire-bridge replay incident --dry-run

Each call becomes a folder: its callbacks byte for byte (*.http), the settings
that it is planned by (bridge.toml), and what Acquire took (expected.json; not
for a call that is pending or parked). With --redact numbers, SIDs, names and
e-mails become made-up ones of the same form and length, the same one always
the same; headers with signatures are left out, and the callback URL gets
another host. Exits with 3 if some of the SIDs are not in the store.";

/// Write calls of the store as fixtures that `replay` takes, also without the people in them.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Export {
    #[command(flatten)]
    config: ConfigArgs,
    /// The SIDs of calls, or of legs of them; without any, all calls that the filters admit.
    #[arg(value_name = "CALLSID", value_parser = super::show::sid)]
    sids: Vec<CallSid>,
    /// A request that was refused, by its number in `list --refused`, for `verify`. Not verified.
    #[arg(long, value_name = "ID", conflicts_with_all = ["CallFilter", "sids"])]
    refused: Option<i64>,
    /// The folder to write to; made where there is none.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Replace what tells of people.
    #[arg(long)]
    redact: bool,
    /// At most this many.
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    limit: usize,
    #[command(flatten)]
    which: CallFilter,
}

impl Export {
    pub fn run(self) -> Result<Exit, CliError> {
        if let Some(id) = self.refused {
            return self.export_refused(id);
        }
        let search = self.which.search();
        if self.sids.is_empty() == search.is_empty() {
            return Err(CliError::Usage(
                "say which calls: either their CALLSIDs, or a filter such as --since 1d".to_owned(),
            ));
        }
        let (reader, rules) = self.config.open_to_read()?;
        let (sids, is_searched) = if self.sids.is_empty() {
            let found = search.run(&*reader, self.limit)?;
            (found.into_iter().map(|call| call.sid).collect(), true)
        } else {
            (self.sids.clone(), false)
        };
        let mut exit = Exit::Done;
        let mut all: Vec<IncidentFolder> = Vec::new();
        for sid in &sids {
            match evidence(&*reader, sid, &rules)? {
                // Several legs may have been named of one call.
                Some(one) if all.iter().any(|other| other.name == one.name) => {}
                Some(one) => all.push(one),
                None => {
                    eprintln!("{sid}  not in the store");
                    exit = Exit::Partial;
                }
            }
        }
        if self.redact {
            all = redacted(&all);
        }
        for one in &all {
            let folder = self.out.join(&one.name);
            write(&folder, one)?;
            print_line(folder.display())?;
        }
        if is_searched && all.len() == self.limit {
            eprintln!("note: ended at --limit {}; there may be more", self.limit);
        }
        if all.is_empty() {
            eprintln!("no calls to export");
        }
        Ok(exit)
    }

    fn export_refused(&self, id: i64) -> Result<Exit, CliError> {
        let (reader, _) = self.config.open_to_read()?;
        let people = if self.redact {
            People::Redacted
        } else {
            People::Kept
        };
        let path = refused::export(&*reader, id, &self.out, people)?;
        let Some(path) = path else {
            eprintln!("{id}  not in the store");
            return Ok(Exit::Partial);
        };
        print_line(path)?;
        Ok(Exit::Done)
    }
}

fn evidence(
    reader: &dyn ReadStore,
    sid: &CallSid,
    rules: &crate::domain::plan::Rules,
) -> Result<Option<IncidentFolder>, CliError> {
    let call = reader.get(sid)?;
    Ok(call.map(|call| IncidentFolder::of(&call, rules)))
}

/// All are learned before one is written, so that nothing made up is the original of another.
fn redacted(all: &[IncidentFolder]) -> Vec<IncidentFolder> {
    let mut redactor = Redactor::default();
    for one in all {
        let _ = one.redacted(&mut redactor);
    }
    let mut redactor = redactor.replacing();
    all.iter().map(|one| one.redacted(&mut redactor)).collect()
}

fn write(folder: &Path, evidence: &IncidentFolder) -> Result<(), CliError> {
    if folder.exists() {
        return Err(CliError::Failed(anyhow::anyhow!(
            "{} is there already; choose another folder with --out",
            folder.display()
        )));
    }
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for file in evidence.files() {
        let path = folder.join(&file.name);
        std::fs::write(&path, file.text)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
