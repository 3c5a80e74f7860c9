//! `doctor`: checks all that may keep calls from arriving.
//!
//! Nothing is posted: the command reads only the certificate and the `Date` header of Acquire.

mod bridge;
mod calls;
mod certificate;
mod files;
mod network;
mod note;
mod notify;
mod twilio;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use self::note::{Note, NoteStatus};
use super::check::online::{Opened, open_store};
use super::output::{OutputArgs, OutputFormat, print_json, print_line, wrap};
use super::spool::{self, SpoolContents};
use super::{CliError, ConfigArgs, Exit, check};
use crate::clock::{Clock, Millis};
use crate::config::{Config, StoreUrl, doubtful_secrets};
use crate::domain::plural::counted;
use crate::store::{disk, open_to_read, sqlite};
use crate::twilio::callback::CallbackKind;
use crate::twilio::callback_url::{check, to_enter};

const EXAMPLE: &str = "Example:
  sudo -u twilio-acquire-bridge twilio-acquire-bridge doctor \\
    --config /etc/twilio-acquire-bridge/bridge.toml

A bridge may be running. Nothing is posted to Acquire. Run it as the user of the
bridge, so that it checks the files with that user's permissions. Exits with 0
if it found no problem, with 1 if it found some.";

/// Check configuration, store, disk, files, clock and network.
///
/// Each problem comes with what to do about it.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Doctor {
    #[command(flatten)]
    config: ConfigArgs,
    /// Connect only to the store, and to the bridge on this machine.
    #[arg(long)]
    offline: bool,
    /// Also send a test message to each receiver of [[notify]].
    #[arg(long, conflicts_with = "offline")]
    notify: bool,
    #[command(flatten)]
    output: OutputArgs,
}

impl Doctor {
    pub fn run(self) -> Result<Exit, CliError> {
        let notes = self.check();
        if self.output.format() == OutputFormat::Json {
            print_json(&as_json(&notes))?;
        } else {
            print_notes(&notes)?;
        }
        let has_problem = notes.iter().any(|note| note.status == NoteStatus::Problem);
        Ok(if has_problem {
            Exit::Failed
        } else {
            Exit::Done
        })
    }

    fn check(&self) -> Vec<Note> {
        let (config, settings) = match self.config.explain() {
            Ok(explained) => explained,
            // Without a valid configuration there is nothing else to check.
            Err(why) => {
                let mistake = |why: String| Note::problem("configuration", why);
                return why.0.into_iter().map(mistake).collect();
            }
        };
        let mut notes = vec![Note::ok("configuration", "every setting is valid")];
        notes.extend(of_public_urls(&config));
        notes.extend(
            doubtful_secrets(&config.accounts)
                .into_iter()
                .map(of_secret),
        );
        let now = Clock::system().now();
        let opened = open_store(&config.store.url);
        let store = opened.as_ref().ok().copied();
        notes.extend(of_store(&config, opened));
        notes.extend(of_spool(&config));
        notes.extend(of_writing(&config));
        notes.extend(bridge::check(&config, store));
        notes.extend(calls::check(&config.store.url, now));
        notes.extend(certificate::of_bridge(&config, now));
        notes.extend(of_disk(&config));
        notes.extend(files::check(
            own_file(&config),
            &settings,
            self.config.file(),
        ));
        notes.extend(of_clock(now));
        notes.extend(of_times(&config, now));
        if !self.offline {
            notes.extend(certificate::of_public_urls(&config, now));
            notes.extend(network::check(&config));
            notes.extend(twilio::check(&config));
        }
        if self.notify {
            notes.extend(notify::check(&config, now));
        }
        notes
    }
}

fn of_public_urls(config: &Config) -> Vec<Note> {
    let urls = &config.server.public_urls;
    let mut notes = Vec::new();
    for url in urls {
        let problems = check(&to_enter(url, CallbackKind::Status), urls);
        if problems.is_empty() {
            notes.push(Note::ok(
                "public url",
                format!("{url} can be called by Twilio"),
            ));
        }
        notes.extend(problems.into_iter().map(|problem| {
            Note::problem(
                "public url",
                format!("{url}: {} (server.public_url)", problem.sentence),
            )
        }));
    }
    notes
}

fn of_secret(sentence: String) -> Note {
    Note::problem("secret", sentence)
}

fn of_store(config: &Config, opened: anyhow::Result<Opened>) -> Vec<Note> {
    let url = &config.store.url;
    match opened {
        Err(why) => return vec![Note::problem("store", format!("{why:#} (store.url)"))],
        Ok(opened @ Opened::NotThereYet) => {
            return vec![Note::ok("store", format!("{url} {opened}"))];
        }
        Ok(_) => {}
    }
    match check::damages(url) {
        Err(CliError::Failed(why)) => vec![Note::problem("store", format!("{why:#} (store.url)"))],
        Err(CliError::Usage(why)) => vec![Note::problem("store", why)],
        Ok(damages) if damages.is_empty() => {
            vec![Note::ok(
                "store",
                format!("{url} is intact; every call is accounted for"),
            )]
        }
        Ok(damages) => damages
            .into_iter()
            .map(|damage| Note::problem("store", format!("{damage}; see check --store")))
            .collect(),
    }
}

/// Writes to the database server and to the file of this machine (SQLite or the spool), and takes it back.
fn of_writing(config: &Config) -> Vec<Note> {
    let url = &config.store.url;
    let mut notes = Vec::new();
    if let StoreUrl::Postgres(_) = url
        && let Ok(reader) = open_to_read(url)
    {
        notes.push(match reader.try_write() {
            Ok(()) => Note::ok("store", format!("{url} can be written")),
            Err(why) => Note::problem(
                "store",
                format!(
                    "{url} cannot be written: {why}; let store.url name the primary server, and a role \
                     that may write"
                ),
            ),
        });
    }
    let Some(file) = own_file(config).filter(|file| file.exists()) else {
        return notes;
    };
    let shown = file.display();
    match sqlite::look_from_outside(file) {
        Ok(found) if found.is_empty() => {
            notes.push(Note::ok("store", format!("{shown} can be written")));
        }
        Ok(found) => notes.extend(
            found
                .into_iter()
                .map(|warning| Note::problem("store", format!("{shown}: {warning}"))),
        ),
        Err(why) => {
            let sentence = format!(
                "{shown} cannot be written: {why}; make the user of the bridge its owner, and check the \
                 disk"
            );
            notes.push(Note::problem("store", sentence));
        }
    }
    notes
}

/// Callbacks that a bridge on this machine stored while the database was down.
fn of_spool(config: &Config) -> Option<Note> {
    let path = spool::path(&config.store.url, &config.store.spool)?;
    let shown = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let shown = format!("{} (store.spool)", shown.display());
    Some(match spool::read(path) {
        Ok(spooled @ SpoolContents::Calls { .. }) => {
            let sentence = format!(
                "{shown} {spooled}; a bridge with this spool moves them once it reaches the database"
            );
            Note::problem("spool", sentence)
        }
        Ok(spooled) => Note::ok("spool", format!("{shown} {spooled}")),
        Err(CliError::Failed(why)) => Note::problem("spool", format!("{why:#} (store.spool)")),
        Err(CliError::Usage(why)) => Note::problem("spool", why),
    })
}

/// The file that a bridge on this machine writes; the disk of a database server cannot be checked from
/// here.
fn own_file(config: &Config) -> Option<&Path> {
    match &config.store.url {
        StoreUrl::Sqlite(path) => Some(path),
        StoreUrl::Postgres(_) => spool::path(&config.store.url, &config.store.spool),
    }
}

fn of_disk(config: &Config) -> Vec<Note> {
    let Some(file) = own_file(config) else {
        return Vec::new();
    };
    let shown = file.display();
    let measured = folder_of(file).and_then(|folder| {
        let latency = disk::fsync_latency(&folder)?;
        Ok((latency, disk::free_space(&folder)?))
    });
    let (latency, free) = match measured {
        Ok(measured) => measured,
        Err(why) => {
            let sentence = format!(
                "cannot write to the folder of {shown}: {why}; create it, and make the user of the \
                 bridge its owner"
            );
            return vec![Note::problem("disk", sentence)];
        }
    };
    let sync = format!("fsync on the disk of {shown} takes {latency:.0?}");
    let space = format!("{} MiB are free on the disk of {shown}", free >> 20);
    vec![
        Note::measured("disk", sync, disk::latency_warning(latency)),
        Note::measured("disk", space, disk::low_space_warning(free)),
    ]
}

fn folder_of(file: &Path) -> std::io::Result<PathBuf> {
    let file = std::path::absolute(file)?;
    Ok(file.parent().unwrap_or(&file).to_owned())
}

/// From the year in which this program was written to 2100.
const PLAUSIBLE_TIMES: std::ops::Range<Millis> =
    Millis(1_767_225_600_000)..Millis(4_102_444_800_000);

fn of_clock(now: Millis) -> Option<Note> {
    let sentence = format!(
        "the clock of this machine says {now}; set it, and run a time service such as chrony"
    );
    (!PLAUSIBLE_TIMES.contains(&now)).then(|| Note::problem("clock", sentence))
}

/// Times in the store that only a wrong clock writes. A running bridge corrects those of calls.
fn of_times(config: &Config, now: Millis) -> Vec<Note> {
    let Ok(reader) = open_to_read(&config.store.url) else {
        return Vec::new();
    };
    let longest = config.longest_wait();
    let mut notes = Vec::new();
    if let Ok(calls @ 1..) = reader.due_after(now.plus(longest)) {
        let sentence = format!(
            "due more than {longest:?} from now, longer than any wait: {}; the clock was wrong, and a \
             running bridge corrects this within a minute",
            counted(calls, "call")
        );
        notes.push(Note::problem("clock", sentence));
    }
    if let Ok(Some(purge)) = reader.purge_clock()
        && now.since(purge.known) > LATE_PURGE
    {
        let sentence = format!(
            "expired calls are kept: the bridge was certain of {} at its last purge; it removes them while \
             it runs and Twilio's Timestamp of a new callback confirms the clock",
            purge.known
        );
        notes.push(Note::problem("clock", sentence));
    }
    notes
}

/// A running bridge purges every minute.
const LATE_PURGE: Duration = Duration::from_secs(24 * 3_600);

fn print_notes(notes: &[Note]) -> std::io::Result<()> {
    for note in notes {
        let label = match note.status {
            NoteStatus::Ok => "ok",
            NoteStatus::Unknown => "unknown",
            NoteStatus::Problem => "PROBLEM",
        };
        let sentence = wrap(&note.sentence, 23);
        print_line(format_args!("{label:<7}  {:<13} {sentence}", note.about))?;
    }
    let problems = notes
        .iter()
        .filter(|note| note.status == NoteStatus::Problem)
        .count();
    print_line(match problems {
        0 => "\nno problems".to_owned(),
        _ => format!("\n{}", counted(problems, "problem")),
    })
}

fn as_json(notes: &[Note]) -> serde_json::Value {
    let shown = |note: &Note| {
        let ok = note.status != NoteStatus::Problem;
        json!({ "about": note.about, "ok": ok, "sentence": note.sentence })
    };
    let notes: Vec<_> = notes.iter().map(shown).collect();
    json!({ "notes": notes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_never_set_is_a_problem() {
        assert!(of_clock(Millis(0)).is_some());
        assert!(of_clock(Millis(1_790_000_000_000)).is_none());
        assert!(of_clock(Millis(9_000_000_000_000)).is_some());
    }
}
