//! `health`: whether the bridge on this machine takes callbacks, for those who can run a program but
//! ask no URL, such as a container's health check.

use super::admin_client::AdminClient;
use super::{CliError, ConfigArgs, Exit, environment, print_line};
use crate::{app, config};

/// Ask the bridge on this machine whether it takes callbacks.
///
/// Asks /readyz on admin.listen. No other setting is read, and no secret.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exits with 0 if it does, with 1 if it does not or does not answer.")]
pub struct HealthCommand {
    #[command(flatten)]
    config: ConfigArgs,
}

impl HealthCommand {
    pub fn run(self) -> Result<Exit, CliError> {
        let listen = config::load_part(
            self.config.config.as_deref(),
            environment(),
            config::partial::admin_listen,
        )?;
        let told = app::block_on(async { AdminClient::on(listen).is_ready().await })?;
        print_line(told)?;
        Ok(Exit::Done)
    }
}
