//! `health`: asks the bridge on this machine whether it is ready.
//!
//! For health checks that can run a program but not request a URL, such as a container's.

use super::admin_client::AdminClient;
use serde_json::json;

use super::output::{OutputArgs, OutputFormat, print_json};
use super::{CliError, ConfigArgs, Exit};
use crate::app;
use crate::config::partial;

/// Check whether the bridge on this machine accepts callbacks.
///
/// Requests /readyz on admin.listen. No other setting is read, and no secret.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exits with 0 if it does, with 1 if it does not or is unreachable.")]
pub struct HealthCommand {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    output: OutputArgs,
}

impl HealthCommand {
    pub fn run(self) -> Result<Exit, CliError> {
        let listen = self.config.load_part(partial::admin_listen)?;
        match app::block_on(async { AdminClient::on(listen).is_ready().await }) {
            Ok(report) => {
                let json = json!({ "ready": true, "report": report });
                self.output.print(&json, || &report)?;
                Ok(Exit::Done)
            }
            Err(why) if self.output.format() == OutputFormat::Json => {
                print_json(&json!({ "ready": false, "report": format!("{why:#}") }))?;
                Ok(Exit::Failed)
            }
            Err(why) => Err(why.into()),
        }
    }
}
