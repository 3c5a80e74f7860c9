//! `dismiss`: decides that parked calls are not sent.

use super::act_target::{ActTarget, OperatorArgs, on_each};
use super::operate::OperateArgs;
use super::output::OutputArgs;
use super::{CliError, ConfigArgs, Exit};
use crate::domain::audit::Reason;
use crate::domain::operation::OperationKind;
use crate::store::Dismissal;
use crate::twilio::CallSid;

const EXAMPLE: &str = "Examples:
  twilio-acquire-bridge dismiss CA00000000000000000000000000000001 \\
    --reason 'test calls'
  twilio-acquire-bridge dismiss --cause refused-422 --until 2026-01-31 \\
    --reason 'from the pilot'

With filters it works as requeue does: it asks for confirmation, and the bridge
carries the operation out.
Exits with 3 if some calls are not in the store, or are not parked.";

/// Decide that parked calls are not sent to Acquire.
///
/// A dismissed call is skipped, with your name and reason, which the audit log keeps. Requeue a
/// call to undo it.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE, mut_arg("reason", |arg| arg.long("call-reason")))]
pub struct Dismiss {
    #[command(flatten)]
    config: ConfigArgs,
    /// SIDs of calls or of their legs; without any, all parked calls that match the filters.
    #[arg(value_name = "CALLSID", value_parser = super::show::sid)]
    sids: Vec<CallSid>,
    /// Why, without a name or number: the audit log is kept for ever.
    #[arg(long = "reason", value_name = "TEXT", value_parser = reason)]
    why: Reason,
    #[command(flatten)]
    operator: OperatorArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    bulk: OperateArgs,
}

/// Reads a reason.
pub fn reason(text: &str) -> Result<Reason, String> {
    Reason::parse(text).map_err(|why| why.to_string())
}

impl Dismiss {
    pub fn run(self) -> Result<Exit, CliError> {
        if self.bulk.is_bulk(!self.sids.is_empty())? {
            let what = (OperationKind::Dismiss, Some(&self.why));
            return self
                .bulk
                .run(&self.config, &self.operator, self.output, what);
        }
        let act = async |target: &ActTarget<'_>, sid: &CallSid| {
            Ok(match target.dismiss(sid, &self.why).await? {
                Dismissal::Dismissed => Ok("dismissed"),
                Dismissal::Unknown => Err("not in the store".to_owned()),
                Dismissal::NotParked(state) => {
                    Err(format!("{state}: only parked calls are dismissed"))
                }
            })
        };
        let each = (&self.sids[..], self.output);
        on_each(&self.config, &self.operator, each, &act)
    }
}
