//! `sink`

use super::{Exit, Failure};

/// Not written yet.
#[derive(Debug, clap::Args)]
pub struct Sink {}

impl Sink {
    pub fn run(self) -> Result<Exit, Failure> {
        Err(Failure::Usage("not written yet".to_owned()))
    }
}
