//! `man`: prints a manual page, or writes all of them.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Command, CommandFactory as _};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use super::output::print_line;
use super::{Cli, CliError, Exit, PROGRAM};

/// Print the manual page of a command, or write all pages to a folder.
///
/// The Debian package installs all pages.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  twilio-acquire-bridge man show | man -l -
  twilio-acquire-bridge man --out /usr/local/share/man/man1")]
pub struct ManCommand {
    /// The command; without it, the page of the whole program.
    command: Option<String>,
    /// Folder for the pages of all commands; it is created if missing.
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    out: Option<PathBuf>,
}

impl ManCommand {
    pub fn run(self) -> Result<Exit, CliError> {
        let mut program = Cli::command().disable_help_subcommand(true);
        program.build();
        match self {
            Self { out: Some(out), .. } => write_all(&program, &out)?,
            Self { command: None, .. } => print(&program)?,
            Self { command, .. } => print(find(&program, &command.unwrap_or_default())?)?,
        }
        Ok(Exit::Done)
    }
}

fn find<'a>(program: &'a Command, name: &str) -> Result<&'a Command, CliError> {
    let unknown = || CliError::Usage(format!("no command \"{name}\"; --help lists all"));
    program.find_subcommand(name).ok_or_else(unknown)
}

fn print(command: &Command) -> Result<(), CliError> {
    print_line(String::from_utf8(page(command)?)?.trim_end())?;
    Ok(())
}

fn write_all(program: &Command, folder: &Path) -> anyhow::Result<()> {
    let failed = |path: &Path| format!("failed to write {}", path.display());
    std::fs::create_dir_all(folder).with_context(|| failed(folder))?;
    for command in std::iter::once(program).chain(program.get_subcommands()) {
        let path = folder.join(Man::new(command.clone()).get_filename());
        std::fs::write(&path, page(command)?).with_context(|| failed(&path))?;
    }
    Ok(())
}

/// The page of a command in the format of roff.
fn page(command: &Command) -> io::Result<Vec<u8>> {
    let man = Man::new(command.clone()).source(version());
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    notes(command).to_writer(&mut page)?;
    Ok(page)
}

fn version() -> String {
    format!("{PROGRAM} {}", env!("CARGO_PKG_VERSION"))
}

/// The end of the help text. Its examples can be pasted, so man must not break their lines.
fn notes(command: &Command) -> Roff {
    let mut notes = Roff::new();
    if let Some(text) = command.get_after_help() {
        notes.control("SH", ["NOTES"]).control("nf", []);
        for line in text.to_string().lines() {
            notes.text([roman(line)]);
        }
        notes.control("fi", []);
    }
    notes
}
