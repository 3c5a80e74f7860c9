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

use self::note::{Note, NoteStatus, Notes};
use super::check::online::{Opened, open_store};
use super::output::{OutputArgs, OutputFormat, Tone, paint, print_json, print_line, wrap};
use super::spool::{self, SpoolContents};
use super::{CliError, ConfigArgs, Exit, check};
use crate::clock::{Clock, Millis};
use crate::config::{Config, Explained, SecretGap, StoreUrl, doubtful_secrets};
use crate::domain::plural::counted;
use crate::store::{disk, open_to_read, sqlite};
use crate::twilio::callback::CallbackKind;
use crate::twilio::callback_url::{UrlProblem, check, to_enter};

const EXAMPLE: &str = "Examples:
  twilio-acquire-bridge doctor
  sudo -u twilio-acquire-bridge twilio-acquire-bridge doctor

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
        let mut notes = Notes::default();
        self.check(&mut notes);
        if self.output.format() == OutputFormat::Json {
            print_json(&as_json(&notes))?;
        } else {
            print_notes(&notes)?;
        }
        Ok(match notes.problems() {
            0 => Exit::Done,
            _ => Exit::Failed,
        })
    }

    fn check(&self, notes: &mut Notes) {
        let Explained {
            config,
            settings,
            gaps,
        } = match self.config.explain() {
            Ok(explained) => explained,
            // Without a valid configuration there is nothing else to check.
            Err(why) => {
                let mistakes = why.0.iter();
                return mistakes.for_each(|why| notes.problem("configuration", why));
            }
        };
        let now = Clock::system().now();
        match self.config.file() {
            Some(file) => notes.ok("configuration", format_args!("{} is valid", file.display())),
            None => notes.ok("configuration", "every setting is valid"),
        }
        for gap in gaps {
            let help = match gap {
                SecretGap::Masked(_) => "",
                SecretGap::Unreadable(_) => {
                    "; create it, or run doctor as root or as the user of the bridge"
                }
            };
            notes.problem("secret", format_args!("{gap}{help}"));
        }
        of_public_urls(notes, &config);
        for sentence in doubtful_secrets(&config.accounts) {
            notes.problem("secret", sentence);
        }
        let opened = of_store(notes, &config);
        of_spool(notes, &config);
        of_writing(notes, &config);
        bridge::check(notes, &config, opened);
        calls::check(notes, &config.store.url, now);
        certificate::of_bridge(notes, &config, now);
        of_disk(notes, &config);
        files::check(notes, own_file(&config), &settings, self.config.file());
        of_clock(notes, now);
        of_times(notes, &config, now);
        if !self.offline {
            certificate::of_public_urls(notes, &config, now);
            network::check(notes, &config);
            twilio::check(notes, &config);
        }
        if self.notify {
            notify::check(notes, &config, now);
        }
    }
}

fn of_public_urls(notes: &mut Notes, config: &Config) {
    let urls = &config.server.public_urls;
    for url in urls {
        let problems = check(&to_enter(url, CallbackKind::Status), urls);
        if problems.is_empty() {
            notes.ok("public url", format_args!("{url} can be called by Twilio"));
        }
        for UrlProblem { sentence, .. } in problems {
            let sentence = format!("{url}: {sentence} (server.public_url)");
            notes.problem("public url", sentence);
        }
    }
}

/// Returns the state of the store, if it could be opened.
fn of_store(notes: &mut Notes, config: &Config) -> Option<Opened> {
    let url = &config.store.url;
    let opened = match open_store(url) {
        Ok(opened) => opened,
        Err(why) => {
            notes.problem("store", format_args!("{why:#} (store.url)"));
            return None;
        }
    };
    if opened == Opened::NotThereYet {
        notes.ok("store", format_args!("{url} {opened}"));
        return Some(opened);
    }
    match check::damages(url) {
        Err(why) => notes.problem("store", format_args!("{why} (store.url)")),
        Ok(damages) if damages.is_empty() => {
            let sentence = format!("{url} is intact; every call is accounted for");
            notes.ok("store", sentence);
        }
        Ok(damages) => {
            for damage in damages {
                notes.problem("store", format_args!("{damage}; see check --store"));
            }
        }
    }
    Some(opened)
}

/// Writes to the database server and to the file of this machine (SQLite or the spool), and takes it back.
fn of_writing(notes: &mut Notes, config: &Config) {
    let url = &config.store.url;
    if let StoreUrl::Postgres(_) = url
        && let Ok(reader) = open_to_read(url)
    {
        match reader.try_write() {
            Ok(()) => notes.ok("store", format_args!("{url} can be written")),
            Err(why) => notes.problem(
                "store",
                format_args!(
                    "{url} cannot be written: {why}; let store.url name the primary server, and a role \
                     that may write"
                ),
            ),
        }
    }
    let Some(file) = own_file(config).filter(|file| file.exists()) else {
        return;
    };
    let shown = file.display();
    match sqlite::look_from_outside(file) {
        Ok(found) if found.is_empty() => {
            notes.ok("store", format_args!("{shown} can be written"));
        }
        Ok(found) => {
            for warning in found {
                notes.problem("store", format_args!("{shown}: {warning}"));
            }
        }
        Err(why) => notes.problem(
            "store",
            format_args!(
                "{shown} cannot be written: {why}; make the user of the bridge its owner, and check the \
                 disk"
            ),
        ),
    }
}

/// Callbacks that a bridge on this machine stored while the database was down.
fn of_spool(notes: &mut Notes, config: &Config) {
    let Some(path) = spool::path(&config.store.url, &config.store.spool) else {
        return;
    };
    let shown = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let shown = format!("{} (store.spool)", shown.display());
    match spool::read(path) {
        Ok(spooled @ SpoolContents::Calls { .. }) => {
            let sentence = format!(
                "{shown} {spooled}; a bridge with this spool moves them once it reaches the database"
            );
            notes.problem("spool", sentence);
        }
        Ok(spooled) => notes.ok("spool", format_args!("{shown} {spooled}")),
        Err(why) => notes.problem("spool", format_args!("{why} (store.spool)")),
    }
}

/// The file that a bridge on this machine writes; the disk of a database server cannot be checked from
/// here.
fn own_file(config: &Config) -> Option<&Path> {
    match &config.store.url {
        StoreUrl::Sqlite(path) => Some(path),
        StoreUrl::Postgres(_) => spool::path(&config.store.url, &config.store.spool),
    }
}

fn of_disk(notes: &mut Notes, config: &Config) {
    let Some(file) = own_file(config) else {
        return;
    };
    let shown = file.display();
    let measured = folder_of(file).and_then(|folder| {
        let latency = disk::fsync_latency(&folder)?;
        Ok((latency, disk::free_space(&folder)?))
    });
    match measured {
        Ok((latency, free)) => {
            let sync = format!("fsync on the disk of {shown} takes {latency:.0?}");
            notes.measured("disk", sync, disk::latency_warning(latency));
            let space = format!("{} MiB are free on the disk of {shown}", free >> 20);
            notes.measured("disk", space, disk::low_space_warning(free));
        }
        Err(why) => notes.problem(
            "disk",
            format_args!(
                "cannot write to the folder of {shown}: {why}; create it, and make the user of the \
                 bridge its owner"
            ),
        ),
    }
}

fn folder_of(file: &Path) -> std::io::Result<PathBuf> {
    let file = std::path::absolute(file)?;
    Ok(file.parent().unwrap_or(&file).to_owned())
}

/// From the year in which this program was written to 2100.
const PLAUSIBLE_TIMES: std::ops::Range<Millis> =
    Millis(1_767_225_600_000)..Millis(4_102_444_800_000);

fn of_clock(notes: &mut Notes, now: Millis) {
    if !PLAUSIBLE_TIMES.contains(&now) {
        let sentence = format!(
            "the clock of this machine says {now}; set it, and run a time service such as chrony"
        );
        notes.problem("clock", sentence);
    }
}

/// Times in the store that only a wrong clock writes. A running bridge corrects those of calls.
fn of_times(notes: &mut Notes, config: &Config, now: Millis) {
    let Ok(reader) = open_to_read(&config.store.url) else {
        return;
    };
    let longest = config.longest_wait();
    if let Ok(calls @ 1..) = reader.due_after(now.plus(longest)) {
        let calls = counted(calls, "call");
        let sentence = format!(
            "due more than {longest:?} from now, longer than any wait: {calls}; the clock was wrong, and a \
             running bridge corrects this within a minute"
        );
        notes.problem("clock", sentence);
    }
    if let Ok(Some(purge)) = reader.purge_clock()
        && now.since(purge.known) > LATE_PURGE
    {
        let sentence = format!(
            "expired calls are kept: the bridge was certain of {} at its last purge; it removes them while \
             it runs and Twilio's Timestamp of a new callback confirms the clock",
            purge.known
        );
        notes.problem("clock", sentence);
    }
}

/// A running bridge purges every minute.
const LATE_PURGE: Duration = Duration::from_secs(24 * 3_600);

fn print_notes(notes: &Notes) -> std::io::Result<()> {
    for note in &notes.0 {
        let (label, tone) = match note.status {
            NoteStatus::Ok => ("ok", Tone::Good),
            NoteStatus::Unknown => ("unknown", Tone::Waiting),
            NoteStatus::Problem => ("PROBLEM", Tone::Bad),
        };
        let label = paint(tone, format_args!("{label:<7}"));
        let sentence = wrap(&note.sentence, 23);
        print_line(format_args!("{label}  {:<13} {sentence}", note.about))?;
    }
    print_line(match notes.problems() {
        0 => "\nno problems".to_owned(),
        problems => format!("\n{}", counted(problems, "problem")),
    })
}

fn as_json(notes: &Notes) -> serde_json::Value {
    let shown = |note: &Note| {
        let ok = note.status != NoteStatus::Problem;
        json!({ "about": note.about, "ok": ok, "sentence": note.sentence })
    };
    let notes: Vec<_> = notes.0.iter().map(shown).collect();
    json!({ "notes": notes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_never_set_is_a_problem() {
        for (now, problems) in [(0, 1), (1_790_000_000_000, 0), (9_000_000_000_000, 1)] {
            let mut notes = Notes::default();
            of_clock(&mut notes, Millis(now));
            assert_eq!(notes.problems(), problems, "{now}");
        }
    }
}
