//! The files that a power cut can leave.
//!
//! A sync covers the operations on its file that had returned before it was entered, and holds once it
//! has returned. Of the other operations of a file, a power cut keeps any: none, all, some, or half of
//! one write. The name of a new file needs a sync of its folder, as POSIX has it.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs;
use std::path::Path;

use super::recorded::{Operation, Recorded, Recording};

/// A disk writes so many bytes at once.
const SECTOR: usize = 512;

/// Which of the operations that no sync covers are on disk.
#[derive(Clone, Copy, Debug)]
enum Kept {
    Nothing,
    All,
    AllBut(usize),
    Only(usize),
    /// Of this one half the sectors, and all others.
    HalfOf(usize),
    /// By chance, from a seed.
    Some(u64),
}

/// A moment, and what of its unsynced operations is on disk.
pub struct CrashState<'a> {
    recording: &'a Recording,
    moment: usize,
    kept: Kept,
}

/// Up to a number of states, spread over all moments.
pub struct CrashStates;

impl CrashStates {
    pub fn of(recording: &Recording, most: u64, seed: u64) -> Vec<CrashState<'_>> {
        let mut states = Vec::new();
        let moments = recording
            .operations
            .iter()
            .flat_map(|recorded| [recorded.entered, recorded.returned]);
        let mut moments: Vec<usize> = moments.collect();
        moments.sort_unstable();
        moments.dedup();
        for moment in moments {
            let unsynced = unsynced(recording, moment).len();
            let mut kept = vec![Kept::Nothing, Kept::All];
            if unsynced > 1 {
                kept.extend(
                    (0..unsynced)
                        .flat_map(|one| [Kept::AllBut(one), Kept::Only(one), Kept::HalfOf(one)]),
                );
                kept.extend((0..3).map(|one| Kept::Some(seed ^ (moment as u64) << 2 ^ one)));
            }
            states.extend(kept.into_iter().map(|kept| CrashState {
                recording,
                moment,
                kept,
            }));
        }
        let mut chance = fastrand::Rng::with_seed(seed);
        chance.shuffle(&mut states);
        states.truncate(usize::try_from(most).expect("small"));
        states
    }
}

/// The operations that were entered before `moment` and that no completed sync covers, by index.
fn unsynced(recording: &Recording, moment: usize) -> Vec<usize> {
    let before = |recorded: &&Recorded| recorded.entered < moment;
    // By file or folder, the entry of its latest completed sync.
    let mut synced: HashMap<&str, usize> = HashMap::new();
    for recorded in recording.operations.iter().filter(before) {
        if matches!(recorded.operation, Operation::Synced) && recorded.returned < moment {
            let latest = synced.entry(&recorded.file).or_default();
            *latest = recorded.entered.max(*latest);
        }
    }
    let is_covered = |recorded: &Recorded| {
        let by = match recorded.operation {
            Operation::Created | Operation::Removed => folder(&recorded.file),
            _ => &recorded.file,
        };
        synced.get(by).is_some_and(|sync| *sync > recorded.returned)
    };
    (0..)
        .zip(&recording.operations)
        .filter(|(_, recorded)| before(recorded) && is_of_disk(recorded) && !is_covered(recorded))
        .map(|(index, _)| index)
        .collect()
}

fn is_of_disk(recorded: &Recorded) -> bool {
    !matches!(recorded.operation, Operation::Synced | Operation::Answered)
}

fn folder(file: &str) -> &str {
    file.rsplit_once('/').map_or("", |(folder, _)| folder)
}

impl CrashState<'_> {
    /// The callbacks that were answered before the power cut.
    pub fn answered(&self) -> Vec<&str> {
        let operations = self.recording.operations.iter();
        operations
            .filter(|recorded| {
                matches!(recorded.operation, Operation::Answered) && recorded.entered < self.moment
            })
            .map(|recorded| recorded.file.as_str())
            .collect()
    }

    /// Writes the files into `target`.
    pub fn write(&self, target: &Path) {
        let unsynced = unsynced(self.recording, self.moment);
        let mut chance = fastrand::Rng::with_seed(match self.kept {
            Kept::Some(seed) => seed,
            _ => 0,
        });
        let mut files: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
        for (index, recorded) in (0..).zip(&self.recording.operations) {
            if recorded.entered >= self.moment || !is_of_disk(recorded) {
                continue;
            }
            let mut half = false;
            if let Ok(one) = unsynced.binary_search(&index) {
                half = matches!(self.kept, Kept::HalfOf(of) if of == one);
                let is_kept = match self.kept {
                    Kept::Nothing => false,
                    Kept::All | Kept::HalfOf(_) => true,
                    Kept::AllBut(lost) => lost != one,
                    Kept::Only(kept) => kept == one,
                    Kept::Some(_) => chance.bool(),
                };
                if !is_kept {
                    continue;
                }
            }
            apply(&mut files, recorded, half);
        }
        for (file, bytes) in files {
            let name = file.rsplit('/').next().unwrap_or(file);
            fs::write(target.join(name), bytes).expect("a file");
        }
    }
}

fn apply<'a>(files: &mut BTreeMap<&'a str, Vec<u8>>, recorded: &'a Recorded, half: bool) {
    let name = recorded.file.as_str();
    // The shared index of the write-ahead log is made anew, and a lock is held by a process.
    let kind = name.rsplit('.').next();
    if !matches!(kind, Some("db" | "db-wal" | "db-journal")) {
        return;
    }
    match &recorded.operation {
        Operation::Created => drop(files.entry(name).or_default()),
        Operation::Removed => drop(files.remove(name)),
        Operation::Truncated { length } => {
            if let Some(file) = files.get_mut(name) {
                file.resize(*length, 0);
            }
        }
        Operation::Written { offset, bytes } => {
            // A file without its name is lost with what was written to it.
            let Some(file) = files.get_mut(name) else {
                return;
            };
            let length = if half {
                bytes.len() / 2 / SECTOR * SECTOR
            } else {
                bytes.len()
            };
            let end = offset + length;
            if file.len() < end {
                file.resize(end, 0);
            }
            file[*offset..end].copy_from_slice(&bytes[..length]);
        }
        Operation::Synced | Operation::Answered => {}
    }
}

impl fmt::Display for CrashState<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} of the trace, {:?}", self.moment, self.kept)
    }
}
