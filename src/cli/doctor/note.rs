//! The results of `doctor`: sentences about one thing each, with what to do if it is a problem.

use std::fmt::Display;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoteStatus {
    Ok,
    /// It cannot be checked from here.
    Unknown,
    Problem,
}

pub(super) struct Note {
    /// A short name of what was checked.
    pub about: &'static str,
    pub status: NoteStatus,
    pub sentence: String,
}

/// All results, in the order of the checks.
#[derive(Default)]
pub(super) struct Notes(pub Vec<Note>);

impl Notes {
    pub fn add(&mut self, status: NoteStatus, about: &'static str, sentence: impl Display) {
        let sentence = sentence.to_string();
        self.0.push(Note {
            about,
            status,
            sentence,
        });
    }

    pub fn ok(&mut self, about: &'static str, sentence: impl Display) {
        self.add(NoteStatus::Ok, about, sentence);
    }

    pub fn unknown(&mut self, about: &'static str, sentence: impl Display) {
        self.add(NoteStatus::Unknown, about, sentence);
    }

    pub fn problem(&mut self, about: &'static str, sentence: impl Display) {
        self.add(NoteStatus::Problem, about, sentence);
    }

    /// A problem if there is a warning about a measured value.
    pub fn measured(&mut self, about: &'static str, measured: impl Display, warning: Option<&str>) {
        match warning {
            Some(warning) => self.problem(about, format_args!("{measured}: {warning}")),
            None => self.ok(about, measured),
        }
    }

    pub fn problems(&self) -> usize {
        let all = self.0.iter();
        all.filter(|note| note.status == NoteStatus::Problem)
            .count()
    }
}
