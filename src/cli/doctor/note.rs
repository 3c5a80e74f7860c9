//! One result of `doctor`: a sentence about one thing, with what to do if it is a problem.

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

impl Note {
    pub fn ok(about: &'static str, sentence: impl Into<String>) -> Self {
        Self {
            about,
            status: NoteStatus::Ok,
            sentence: sentence.into(),
        }
    }

    pub fn unknown(about: &'static str, sentence: impl Into<String>) -> Self {
        Self {
            about,
            status: NoteStatus::Unknown,
            sentence: sentence.into(),
        }
    }

    pub fn problem(about: &'static str, sentence: impl Into<String>) -> Self {
        Self {
            about,
            status: NoteStatus::Problem,
            sentence: sentence.into(),
        }
    }

    /// A problem if there is a warning about a measured value.
    pub fn measured(about: &'static str, measured: String, warning: Option<&str>) -> Self {
        match warning {
            Some(warning) => Self::problem(about, format!("{measured}: {warning}")),
            None => Self::ok(about, measured),
        }
    }
}
