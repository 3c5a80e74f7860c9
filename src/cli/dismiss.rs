//! `dismiss`: decides that parked calls are not sent.

use super::act_target::{ActTarget, OperatorArgs};
use super::output::{note, print_line};
use super::{CliError, ConfigArgs, Exit};
use crate::app;
use crate::domain::audit::Reason;
use crate::store::Dismissal;
use crate::twilio::CallSid;

const EXAMPLE: &str = "Example:
  twilio-acquire-bridge dismiss CA00000000000000000000000000000001 \\
    --reason 'test calls'

Exits with 3 if some calls are not in the store, or are not parked.";

/// Decide that parked calls are not sent to Acquire.
///
/// A dismissed call is skipped, with your name and reason, which the audit log keeps. requeue takes it
/// back.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Dismiss {
    #[command(flatten)]
    config: ConfigArgs,
    /// SIDs of calls or of their legs.
    #[arg(value_name = "CALLSID", required = true, value_parser = super::show::sid)]
    sids: Vec<CallSid>,
    /// Why, without a name or number: the audit log is kept for ever.
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    reason: Reason,
    #[command(flatten)]
    operator: OperatorArgs,
}

/// Reads a reason.
pub fn reason(text: &str) -> Result<Reason, String> {
    Reason::parse(text).map_err(|why| why.to_string())
}

impl Dismiss {
    pub fn run(self) -> Result<Exit, CliError> {
        let config = self.config.load()?;
        // Fails if there is no store: opening it for writing would create a file.
        self.config.open_to_read()?;
        let mut exit = Exit::Done;
        app::block_on(async {
            let target = ActTarget::open(&config, &self.operator)?;
            for sid in &self.sids {
                let why = match target.dismiss(sid, &self.reason).await {
                    Ok(Dismissal::Dismissed) => {
                        print_line(format_args!("{sid}  dismissed"))?;
                        continue;
                    }
                    Ok(Dismissal::Unknown) => "not in the store".to_owned(),
                    Ok(Dismissal::NotParked(state)) => {
                        format!("{state}: only parked calls are dismissed")
                    }
                    Err(why) => return Err(anyhow::Error::from(why).into()),
                };
                note!("{sid}  {why}");
                exit = Exit::Partial;
            }
            Ok::<_, CliError>(())
        })?;
        Ok(exit)
    }
}
