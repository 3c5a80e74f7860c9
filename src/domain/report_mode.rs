//! The number of call-ends of a call (`calls.report`).
//!
//! Each attempt keeps the mode under which it was planned: a call keeps that of its first attempt, so
//! that a change of the setting sends no second record of it.

/// The number of call-ends of a call (`calls.report`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReportMode {
    /// One for each leg with a reported end.
    #[default]
    Legs,
    /// One for the whole call.
    Call,
}

impl ReportMode {
    pub const ALL: [Self; 2] = [Self::Legs, Self::Call];

    /// The word in the configuration and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Legs => "legs",
            Self::Call => "call",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == text)
    }
}
