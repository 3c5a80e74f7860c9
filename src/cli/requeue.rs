//! `requeue`: queues calls for delivery again.

pub mod paced;

use super::act_target::{ActTarget, OperatorArgs, on_each};
use super::dismiss::reason;
use super::operate::OperateArgs;
use super::output::OutputArgs;
use super::{CliError, ConfigArgs, Exit};
use crate::domain::audit::Reason;
use crate::domain::operation::OperationKind;
use crate::twilio::CallSid;

const EXAMPLE: &str = "Examples:
  twilio-acquire-bridge requeue CA00000000000000000000000000000001
  twilio-acquire-bridge requeue --state parked --cause refused-401 --rate 20/s \\
    --reason 'the key is right now'

With filters the command prints the number of calls and asks for confirmation.
It leaves out pending calls, which will be sent anyway, unless --state pending
is given. The bridge then carries the operation out, as its page /operations
shows, and the command follows it. Ctrl-C ends only the command. Without a
bridge the command carries it out itself. New calls are sent before requeued
ones. With --json each CALLSID gets a line, and filters one object for all.
Exits with 3 if some calls are not in the store, or if it was stopped.";

/// Queue calls for delivery again, with a fresh retry schedule.
///
/// All requests of a call are sent again, including those that Acquire accepted. The command writes to
/// the store, or sends the request to the bridge that owns it.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE, mut_arg("reason", |arg| arg.long("call-reason")))]
pub struct Requeue {
    #[command(flatten)]
    config: ConfigArgs,
    /// SIDs of calls or of their legs; without any, all calls that match the filters.
    #[arg(value_name = "CALLSID", value_parser = super::show::sid)]
    sids: Vec<CallSid>,
    /// Why, for the audit log, without a name or number.
    #[arg(long = "reason", value_name = "TEXT", value_parser = reason)]
    why: Option<Reason>,
    #[command(flatten)]
    operator: OperatorArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    bulk: OperateArgs,
}

impl Requeue {
    pub fn run(self) -> Result<Exit, CliError> {
        if self.bulk.is_bulk(!self.sids.is_empty())? {
            let what = (OperationKind::Requeue, self.why.as_ref());
            return self
                .bulk
                .run(&self.config, &self.operator, self.output, what);
        }
        let act = async |target: &ActTarget<'_>, sid: &CallSid| {
            let requeued = target.requeue(sid, self.why.as_ref()).await?;
            Ok(if requeued {
                Ok("requeued")
            } else {
                Err("not in the store".to_owned())
            })
        };
        let each = (&self.sids[..], self.output);
        on_each(&self.config, &self.operator, each, &act)
    }
}
