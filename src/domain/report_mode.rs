//! The number of call-ends of a call (`calls.report`).
//!
//! Each attempt keeps the mode under which it was planned: a call keeps that of its first attempt, so
//! that a change of the setting sends no second record of it.

words! {
    /// The number of call-ends of a call (`calls.report`).
    #[derive(Default)]
    pub enum ReportMode {
        /// One for each leg with a reported end.
        #[default]
        Legs = "legs",
        /// One for the whole call.
        Call = "call",
    }
}
