//! `doctor`: one look at everything that may keep calls from arriving.
//!
//! Nothing is posted: Acquire is asked for its certificate and its time, and for nothing else.

mod files;
mod network;

use std::path::{Path, PathBuf};

use serde_json::json;

use super::check::online::{Opened, open_store};
use super::spool::{self, SpoolContents};
use super::{CliError, ConfigArgs, Exit, check, environment, print_line, wrapped};
use crate::clock::{Clock, Millis};
use crate::config::{self, Config, StoreUrl};
use crate::domain::plural::counted;
use crate::store::disk;
use crate::twilio::callback::CallbackKind;
use crate::twilio::callback_url::{check, to_enter};

const EXAMPLE: &str = "Example:
  twilio-acquire-bridge doctor --config /etc/twilio-acquire-bridge/bridge.toml

A bridge may run meanwhile. Nothing is posted to Acquire. Run it as the user of
the bridge, or what it says of files is said of another. Exits with 0 if all is
well, with 1 if there are findings.";

/// Look at configuration, store, spool, disk, files, clock and network, and say what to do.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Doctor {
    #[command(flatten)]
    config: ConfigArgs,
    /// Look at nothing beyond this machine.
    #[arg(long)]
    offline: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Whether something is as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NoteStatus {
    Well,
    Finding,
}

/// What was seen of one thing, in a sentence, with what to do where that is needed.
struct Note {
    about: &'static str,
    health: NoteStatus,
    sentence: String,
}

impl Note {
    fn well(about: &'static str, sentence: impl Into<String>) -> Self {
        Self {
            about,
            health: NoteStatus::Well,
            sentence: sentence.into(),
        }
    }

    fn finding(about: &'static str, sentence: impl Into<String>) -> Self {
        Self {
            about,
            health: NoteStatus::Finding,
            sentence: sentence.into(),
        }
    }

    /// A finding where there is a doubt.
    fn doubted(about: &'static str, told: String, doubt: Option<&str>) -> Self {
        match doubt {
            Some(doubt) => Self::finding(about, format!("{told}: {doubt}")),
            None => Self::well(about, told),
        }
    }
}

impl Doctor {
    pub fn run(self) -> Result<Exit, CliError> {
        let notes = self.look();
        if self.json {
            print_line(as_json(&notes))?;
        } else {
            print_notes(&notes)?;
        }
        let found = notes.iter().any(|note| note.health == NoteStatus::Finding);
        Ok(if found { Exit::Failed } else { Exit::Done })
    }

    fn look(&self) -> Vec<Note> {
        let file = self.config.config.as_deref();
        let (config, settings) = match config::explain(file, environment()) {
            Ok(explained) => explained,
            Err(why) => {
                let mistake = |why: String| Note::finding("configuration", why);
                return why.0.into_iter().map(mistake).collect();
            }
        };
        let mut notes = vec![Note::well("configuration", "every setting is valid")];
        notes.extend(of_public_urls(&config));
        notes.extend(of_store(&config));
        notes.extend(of_spool(&config));
        notes.extend(of_disk(&config));
        notes.extend(files::look_at(&config, &settings, file));
        let now = Clock::system().now();
        notes.extend(of_clock(now));
        if !self.offline {
            notes.extend(network::look_at(&config));
        }
        notes
    }
}

fn of_public_urls(config: &Config) -> Vec<Note> {
    let urls = &config.server.public_urls;
    let mut notes = Vec::new();
    for url in urls {
        let remarks = check(&to_enter(url, CallbackKind::Status), urls);
        if remarks.is_empty() {
            notes.push(Note::well(
                "public url",
                format!("{url} is one that Twilio can call"),
            ));
        }
        notes.extend(remarks.into_iter().map(|remark| {
            Note::finding(
                "public url",
                format!("{url}: {} (server.public_url)", remark.sentence),
            )
        }));
    }
    notes
}

fn of_store(config: &Config) -> Vec<Note> {
    let url = &config.store.url;
    match open_store(url) {
        Err(why) => return vec![Note::finding("store", format!("{why:#} (store.url)"))],
        Ok(opened @ Opened::NotThereYet) => {
            return vec![Note::well("store", format!("{url} {opened}"))];
        }
        Ok(_) => {}
    }
    match check::damages(url) {
        Err(CliError::Failed(why)) => vec![Note::finding("store", format!("{why:#} (store.url)"))],
        Err(CliError::Usage(why)) => vec![Note::finding("store", why)],
        Ok(damages) if damages.is_empty() => {
            vec![Note::well(
                "store",
                format!("{url} is intact and conserves its calls"),
            )]
        }
        Ok(damages) => damages
            .into_iter()
            .map(|damage| Note::finding("store", format!("{damage}; see check --store")))
            .collect(),
    }
}

/// What a bridge on this machine keeps while the database is away.
fn of_spool(config: &Config) -> Option<Note> {
    let path = spool::path(&config.store.url, &config.store.spool)?;
    let shown = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let shown = format!("{} (store.spool)", shown.display());
    Some(match spool::look(path) {
        Ok(spooled @ SpoolContents::Calls { .. }) => {
            let sentence = format!(
                "{shown} {spooled}; a bridge with this spool moves them once it reaches the database"
            );
            Note::finding("spool", sentence)
        }
        Ok(spooled) => Note::well("spool", format!("{shown} {spooled}")),
        Err(CliError::Failed(why)) => Note::finding("spool", format!("{why:#} (store.spool)")),
        Err(CliError::Usage(why)) => Note::finding("spool", why),
    })
}

/// The file that a bridge on this machine writes; a server's disk is not seen from here.
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
        let cost = disk::fsync_latency(&folder)?;
        Ok((cost, disk::free_space(&folder)?))
    });
    let (cost, free) = match measured {
        Ok(measured) => measured,
        Err(why) => {
            let sentence = format!(
                "the folder of {shown} cannot be written: {why}; make it, and give it to the user \
                 of the bridge"
            );
            return vec![Note::finding("disk", sentence)];
        }
    };
    let sync = format!("a sync beside {shown} takes {cost:.0?}");
    let space = format!("{} MiB are free beside {shown}", free >> 20);
    vec![
        Note::doubted("disk", sync, disk::latency_warning(cost)),
        Note::doubted("disk", space, disk::low_space_warning(free)),
    ]
}

fn folder_of(file: &Path) -> std::io::Result<PathBuf> {
    let file = std::path::absolute(file)?;
    Ok(file.parent().unwrap_or(&file).to_owned())
}

/// Before this program was written, and longer after than it will run.
const PLAUSIBLE: std::ops::Range<Millis> = Millis(1_767_225_600_000)..Millis(4_102_444_800_000);

fn of_clock(now: Millis) -> Option<Note> {
    let sentence =
        format!("it is {now} here, which cannot be; set the clock, and run a time service");
    (!PLAUSIBLE.contains(&now)).then(|| Note::finding("clock", sentence))
}

fn print_notes(notes: &[Note]) -> std::io::Result<()> {
    for note in notes {
        let mark = match note.health {
            NoteStatus::Well => "ok",
            NoteStatus::Finding => "FIND",
        };
        let told = wrapped(&note.sentence, 20);
        print_line(format_args!("{mark:<4}  {:<13} {told}", note.about))?;
    }
    let findings = notes
        .iter()
        .filter(|note| note.health == NoteStatus::Finding)
        .count();
    print_line(match findings {
        0 => "\nall is well".to_owned(),
        _ => format!("\n{}", counted(findings, "finding")),
    })
}

fn as_json(notes: &[Note]) -> serde_json::Value {
    let shown = |note: &Note| {
        let ok = note.health == NoteStatus::Well;
        json!({ "about": note.about, "ok": ok, "sentence": note.sentence })
    };
    let notes: Vec<_> = notes.iter().map(shown).collect();
    json!({ "notes": notes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_never_set_is_a_finding() {
        assert!(of_clock(Millis(0)).is_some());
        assert!(of_clock(Millis(1_790_000_000_000)).is_none());
        assert!(of_clock(Millis(9_000_000_000_000)).is_some());
    }
}
