//! `completions`: prints the script by which a shell completes this command line.

use clap::{CommandFactory as _, ValueEnum};

use super::output::print_line;
use super::{Cli, CliError, Exit, PROGRAM};

/// Print the completion script of a shell.
///
/// The Debian package installs the scripts of all three shells.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  twilio-acquire-bridge completions bash > /etc/bash_completion.d/bridge
  twilio-acquire-bridge completions zsh \\
    > /usr/local/share/zsh/site-functions/_twilio-acquire-bridge
  twilio-acquire-bridge completions fish | source")]
pub struct Completions {
    /// The shell.
    shell: Shell,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl Completions {
    pub fn run(self) -> Result<Exit, CliError> {
        let generator = match self.shell {
            Shell::Bash => clap_complete::Shell::Bash,
            Shell::Zsh => clap_complete::Shell::Zsh,
            Shell::Fish => clap_complete::Shell::Fish,
        };
        let mut script = Vec::new();
        clap_complete::generate(generator, &mut Cli::command(), PROGRAM, &mut script);
        print_line(with_one_name(&String::from_utf8(script)?).trim_end())?;
        Ok(Exit::Done)
    }
}

/// `clap_complete` writes a program name with hyphens in two ways into the script for bash, which then
/// completes no option (clap issue 6421). The other scripts have neither.
fn with_one_name(script: &str) -> String {
    script.replace(
        &PROGRAM.replace('-', "__subcmd__"),
        &PROGRAM.replace('-', "__"),
    )
}
