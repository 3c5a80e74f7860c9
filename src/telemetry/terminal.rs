//! What stdout and stderr can show: colours and moving lines only where the terminal and its user want them.

use std::io::{IsTerminal, stderr, stdout};

/// The kind of stdout or stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Terminal {
    /// A file, a pipe or a journal.
    None,
    /// `TERM=dumb`: shows text, but obeys no control sequence.
    Dumb,
    /// `NO_COLOR` is set and not empty (<https://no-color.org>).
    Plain,
    Coloured,
}

impl Terminal {
    pub fn of_stderr() -> Self {
        Self::of(&stderr())
    }

    pub fn of_stdout() -> Self {
        Self::of(&stdout())
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "both variables describe the terminal, not the bridge"
    )]
    fn of(stream: &impl IsTerminal) -> Self {
        let variable = |name| std::env::var_os(name).unwrap_or_default();
        if !stream.is_terminal() {
            Self::None
        } else if variable("TERM") == "dumb" {
            Self::Dumb
        } else if variable("NO_COLOR").is_empty() {
            Self::Coloured
        } else {
            Self::Plain
        }
    }
}
