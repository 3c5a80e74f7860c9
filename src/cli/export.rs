//! `export`: writes calls of the store, or a refused request, as fixtures.
//!
//! The content of the files is made in `debugging/export.rs`, and made anonymous in
//! `debugging/redact.rs`.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::call_filter::{CallFilter, number};
use super::erase::each_call;
use serde_json::json;

use super::output::{OutputArgs, note};
use super::refused::PersonalData;
use super::watched::each_watched;
use super::{CliError, ConfigArgs, Exit, private_files, refused};
use crate::debugging::export::IncidentFolder;
use crate::debugging::missing_call::{self, SEARCHED};
use crate::debugging::redact::Redactor;
use crate::debugging::repair::repaired;
use crate::domain::plan::Rules;
use crate::store::erasure::is_in_refused;
use crate::store::{Detail, ReadStore, StoredCall};
use crate::twilio::{AccountSid, CallSid};

const EXAMPLE: &str = "Examples:
  twilio-acquire-bridge export CA00000000000000000000000000000001 --out incident
  twilio-acquire-bridge export --state parked --since 1d --redact --out parked
  twilio-acquire-bridge export --number +12025550123 --out access-request
  twilio-acquire-bridge replay incident --dry-run

Each call becomes a folder: its callbacks byte for byte (*.http), the settings
by which it is planned (bridge.toml), and the requests that Acquire accepted
(expected.json; not for a call that is pending or parked). --redact replaces
numbers, SIDs, names and e-mails by made-up ones of the same form and length,
consistently; it omits signature headers and replaces the host of the callback
URL. If all callbacks of a call were refused, the folder has these callbacks
with the right path, method and content type. With --number alone, in full or an
e-mail, it writes all that the bridge has of a person, as erase would find it:
calls that have the value in any field, refused requests and the spool. Only
the owner can read the files. Exits with 3 if some of the SIDs are not in the
store.";

/// Calls that are written without `--limit`.
const DEFAULT_LIMIT: usize = 1_000;

/// Write calls of the store as fixtures for `replay`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Export {
    #[command(flatten)]
    config: ConfigArgs,
    /// SIDs of calls or of their legs; without any, all calls that match the filters.
    #[arg(value_name = "CALLSID", value_parser = super::show::sid)]
    sids: Vec<CallSid>,
    /// Write this refused request, by its number in `list --refused`, for `verify`.
    #[arg(long, value_name = "ID", conflicts_with_all = ["CallFilter", "sids"])]
    refused: Option<i64>,
    /// Folder to write to; it is created if it does not exist.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Replace personal data by made-up values.
    #[arg(long)]
    redact: bool,
    /// Maximum number of items; by default 1000, and all of one person.
    #[arg(long, value_name = "N", value_parser = number::<usize>)]
    limit: Option<usize>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    filter: CallFilter,
}

impl Export {
    pub fn run(self) -> Result<Exit, CliError> {
        if let Some(id) = self.refused {
            return self.export_refused(id);
        }
        if self.sids.is_empty() == self.filter.is_empty()? {
            return Err(CliError::Usage(
                "choose calls: pass either CALLSIDs or a filter such as --since 1d".to_owned(),
            ));
        }
        let (reader, rules) = self.config.open_to_read()?;
        let mut exit = Exit::Done;
        let mut incidents = Incidents::default();
        let limit = self.limit.unwrap_or(DEFAULT_LIMIT);
        let subject = self.filter.subject().filter(|_| self.limit.is_none());
        let mut refused = Vec::new();
        if let Some(subject) = &subject {
            each_call(&*reader, subject, &mut |call| incidents.add(&call, &rules))?;
            refused = reader.refused(&SEARCHED)?;
            refused.retain(|stored| is_in_refused(subject, &stored.request));
            if let Some(spool) = self.config.open_spool()? {
                each_call(&spool, subject, &mut |call| incidents.add(&call, &rules))?;
            }
        } else if self.sids.is_empty() {
            let found = self.filter.find(&*reader, &rules, (Detail::Whole, limit))?;
            // A merged leg has no callbacks: they are in the call of its parent.
            for call in found.iter().filter(|call| !call.callbacks.is_empty()) {
                incidents.add(call, &rules);
            }
        }
        for sid in &self.sids {
            let calls = reader.get_all(sid)?;
            if calls.is_empty() {
                exit = self.export_repaired(&*reader, sid, exit)?;
            }
            for call in &calls {
                incidents.add(call, &rules);
            }
        }
        let mut all = incidents.folders;
        if self.redact {
            let redacted = |redactor: &mut Redactor| {
                let all = all.iter().map(|incident| incident.redacted(redactor));
                all.collect()
            };
            all = Redactor::redact(redacted);
        }
        each_watched(&all, "folders are written", |incident, bar| {
            let folder = self.out.join(&incident.name);
            write(&folder, incident)?;
            bar.suspend(|| self.print(&folder))?;
            Ok::<_, CliError>(())
        })?;
        for stored in &refused {
            let path = refused::export(&*reader, stored.id, &self.out, self.personal_data())?;
            path.map_or(Ok(()), |path| self.print(Path::new(&path)))?;
        }
        if self.sids.is_empty() && subject.is_none() && all.len() == limit {
            note!("note: stopped at --limit {limit}; more calls may match");
        }
        if all.is_empty() && refused.is_empty() && exit == Exit::Done {
            note!("no calls to export");
        }
        Ok(exit)
    }

    /// Writes the callbacks of a call of which all were refused, repaired for `replay`. Redacted ones
    /// would have no use: each names another call.
    fn export_repaired(
        &self,
        reader: &dyn ReadStore,
        sid: &CallSid,
        exit: Exit,
    ) -> Result<Exit, CliError> {
        let naming = refused::naming(reader, sid)?;
        let repaired = naming
            .iter()
            .filter_map(|stored| Some((stored.id, repaired(stored)?)));
        let repaired: Vec<_> = repaired.filter(|_| !self.redact).collect();
        if repaired.is_empty() {
            match missing_call::summary_with_command(&naming) {
                Some(summary) => note!("{sid}  not in the store; {summary}"),
                None => note!("{sid}  not in the store"),
            }
            return Ok(Exit::Partial);
        }
        let folder = self.out.join(sid.as_str());
        private_files::create_folder(&folder)?;
        for (id, fixture) in repaired {
            let path = folder.join(format!("refused-{id}.http"));
            private_files::write(&path, &fixture.to_string())?;
        }
        self.print(&folder)?;
        note!(
            "{sid} has refused requests only; nothing of them is verified: read them before a replay"
        );
        Ok(exit)
    }

    fn print(&self, path: &Path) -> std::io::Result<()> {
        let path = path.display().to_string();
        self.output.print(&json!({ "path": path }), || &path)
    }

    fn personal_data(&self) -> PersonalData {
        if self.redact {
            PersonalData::Redacted
        } else {
            PersonalData::Kept
        }
    }

    fn export_refused(&self, id: i64) -> Result<Exit, CliError> {
        let (reader, _) = self.config.open_to_read()?;
        let path = refused::export(&*reader, id, &self.out, self.personal_data())?;
        let Some(path) = path else {
            note!("{id}  not in the store");
            return Ok(Exit::Partial);
        };
        self.print(Path::new(&path))?;
        Ok(Exit::Done)
    }
}

#[derive(Default)]
struct Incidents {
    folders: Vec<IncidentFolder>,
    calls: HashSet<(CallSid, AccountSid)>,
}

impl Incidents {
    /// Each call once: several given SIDs may be legs of one.
    fn add(&mut self, call: &StoredCall, rules: &Rules) {
        let StoredCall { summary, .. } = call;
        if !self
            .calls
            .insert((summary.sid.clone(), summary.account.clone()))
        {
            return;
        }
        let mut incident = IncidentFolder::of(call, rules);
        // Two accounts may have signed one SID.
        if self.folders.iter().any(|other| other.name == incident.name) {
            incident.name = format!("{}-{}", incident.name, summary.account);
        }
        self.folders.push(incident);
    }
}

fn write(folder: &Path, incident: &IncidentFolder) -> Result<(), CliError> {
    private_files::create_folder(folder)?;
    for file in incident.files() {
        private_files::write(&folder.join(&file.name), &file.text)?;
    }
    Ok(())
}
