//! Bulk operations from the command line: confirmed, made, and followed until their end.

use std::io::{IsTerminal as _, stderr, stdin};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use indicatif::ProgressBar;
use serde_json::json;

use super::act_target::{ActTarget, OperatorArgs, actor};
use super::admin_client::AdminClient;
use super::call_filter::{CallFilter, time};
use super::output::{
    OutputArgs, OutputFormat, note, print_json, print_line, print_wrapped, progress_bar, wrap,
};
use super::watched::watched;
use super::{CliError, ConfigArgs, Exit, serve};
use crate::app;
use crate::app::operations::{Carrier, Pace, Step};
use crate::clock::{self, Clock, Millis};
use crate::config::partial::{self, ActSettings};
use crate::domain::audit::Reason;
use crate::domain::operation::{OperationKind, OperationState};
use crate::domain::plural::counted;
use crate::store::erasure::Receipt;
use crate::store::{CallSummary, Detail, NewOperation, Operation, State, Store};

/// Between two looks at an operation.
const FOLLOW: Duration = Duration::from_millis(300);

/// Looks without an answer, at [`FOLLOW`] about a minute: longer than a restart takes.
const MAX_LOOKS: u32 = 200;

/// The options of a bulk operation.
#[derive(Debug, clap::Args)]
pub struct OperateArgs {
    /// Calls changed per second, over all bridges.
    #[arg(long, value_name = "N/s", default_value = "50/s", value_parser = rate)]
    rate: NonZeroU32,
    /// Do not ask for confirmation.
    #[arg(long)]
    yes: bool,
    /// Only calls that were finished (delivered, skipped or parked) before this time (UTC); by default
    /// before the start of the command.
    #[arg(long, value_name = "TIME", value_parser = time)]
    rested_before: Option<Millis>,
    #[command(flatten)]
    pub filter: CallFilter,
}

impl OperateArgs {
    /// Whether calls are chosen by filters, and not by SIDs; an error unless exactly one is given.
    pub fn is_bulk(&self, has_sids: bool) -> Result<bool, CliError> {
        let is_bulk = !self.filter.is_empty()? || self.rested_before.is_some();
        if has_sids == is_bulk {
            return Err(CliError::Usage(
                "choose calls: pass either CALLSIDs or a filter such as --state parked".to_owned(),
            ));
        }
        Ok(is_bulk)
    }

    /// Changes all calls that match.
    pub fn run(
        &self,
        args: &ConfigArgs,
        operator: &OperatorArgs,
        output: OutputArgs,
        (kind, reason): (OperationKind, Option<&Reason>),
    ) -> Result<Exit, CliError> {
        let config = args.load_part(partial::act)?;
        let now = Clock::system().now();
        // A millisecond earlier: the operation includes calls of the time itself.
        let before = self.rested_before.map_or(now, |at| Millis(at.0 - 1));
        let (reader, rules) = args.open_to_read()?;
        let filter = self.filter.filter()?;
        let filter = filter.resolved(&reader.address_hasher()?, now);
        let new = NewOperation {
            rate: self.rate,
            reason: reason.cloned(),
            ..NewOperation::new(kind, filter, actor(), before)
        };
        let operation = Operation::new(&new, now);
        let every = (Detail::Summary, usize::MAX);
        let found = self.filter.find(&*reader, &rules, every)?.into_iter();
        let calls: Vec<CallSummary> = found
            .map(|call| call.summary)
            .filter(|call| operation.admits(call))
            .collect();
        drop(reader);
        if calls.is_empty() {
            note!("no such calls");
            return nothing(kind, output);
        }
        note!("{}", summary(kind, &calls));
        if !self.yes && !confirm(kind, calls.len())? {
            note!("no call was {}", kind.done());
            return nothing(kind, output);
        }
        let order = json!({
            "kind": kind, "filter": self.filter.json(), "rate": self.rate, "before": before,
            "reason": reason.map(Reason::as_str),
        });
        run(&config, operator, (new, &order), output)
    }
}

/// Ends a command that made no operation.
pub fn nothing(kind: OperationKind, output: OutputArgs) -> Result<Exit, CliError> {
    if output.format() == OutputFormat::Json {
        print_json(&outcome(kind, None, None))?;
    }
    Ok(Exit::Done)
}

/// The JSON of an operation: `id` if it was made, `seen` if it was seen since.
fn outcome(kind: OperationKind, id: Option<i64>, seen: Option<&Seen>) -> serde_json::Value {
    let count = |of: fn(&Seen) -> u64| seen.map_or(0, of);
    json!({
        "kind": kind,
        "operation": id,
        "state": seen.map(|seen| seen.state),
        "total": count(|seen| seen.total.max(seen.done)),
        "done": count(|seen| seen.done),
        "failed": count(|seen| seen.failed),
        "receipt": seen.and_then(|seen| seen.receipt.as_ref()),
    })
}

/// Makes an operation and follows it: `order` in the bridge that owns the store, `new` elsewhere.
pub fn run(
    config: &ActSettings,
    operator: &OperatorArgs,
    (new, order): (NewOperation, &serde_json::Value),
    output: OutputArgs,
) -> Result<Exit, CliError> {
    app::block_on(async {
        match ActTarget::open(config, operator)? {
            ActTarget::Bridge(bridge) => order_and_follow(&bridge, (new.kind, order), output).await,
            ActTarget::File(store) => {
                carry_out(config, store, (new, Pace::Unlimited), output).await
            }
            ActTarget::Shared(store) => carry_out(config, store, (new, Pace::Rate), output).await,
        }
    })
}

async fn order_and_follow(
    bridge: &AdminClient<'_>,
    (kind, order): (OperationKind, &serde_json::Value),
    output: OutputArgs,
) -> Result<Exit, CliError> {
    let made = bridge.post_json("/api/operations", order).await?;
    let id = made["id"].as_i64().unwrap_or_default();
    let look = async || {
        let found = bridge.get("/api/operations?limit=1000").await?;
        let mut lines = found["operations"].as_array()?.iter();
        let line = lines.find(|line| line["id"] == id)?;
        serde_json::from_value(line.clone()).ok()
    };
    follow((kind, id, output), look, async || FOLLOW).await
}

/// Carries an operation out, beside the bridges that share the database, if there are any.
async fn carry_out(
    config: &ActSettings,
    store: Arc<dyn Store>,
    (new, pace): (NewOperation, Pace),
    output: OutputArgs,
) -> Result<Exit, CliError> {
    let kind = new.kind;
    let id = store.make_operation(new, Clock::system().now()).await?.id;
    let rules = Arc::new(config.rules.clone());
    let carrier = Carrier {
        store: Arc::clone(&store),
        clock: Clock::system(),
        pace,
        node: None,
        // Only a running bridge knows outages.
        outage_of: Arc::new(|_| None),
    };
    let look = async || {
        let mut found = store.operations(usize::MAX).await.ok()?.into_iter();
        let operation = found.find(|operation| operation.id == id)?;
        Some(Seen::of(&operation))
    };
    let step = async || match carrier.step(&rules).await {
        Ok(Step::Changed) => Duration::ZERO,
        Ok(Step::Wait(wait)) => wait,
        Err(_) => FOLLOW,
    };
    follow((kind, id, output), look, step).await
}

/// An operation as the API has it.
#[derive(Clone, Debug, serde::Deserialize)]
struct Seen {
    state: OperationState,
    total: u64,
    done: u64,
    failed: u64,
    held_for: Option<String>,
    receipt: Option<Receipt>,
}

impl Seen {
    fn of(operation: &Operation) -> Self {
        Self {
            state: operation.state,
            total: operation.total,
            done: operation.done,
            failed: operation.failed,
            held_for: operation.held_for.clone(),
            receipt: operation.receipt().cloned(),
        }
    }
}

/// Shows how far an operation is, until its end or a signal. `step` returns how long to wait.
async fn follow(
    (kind, id, output): (OperationKind, i64, OutputArgs),
    look: impl AsyncFn() -> Option<Seen>,
    step: impl AsyncFn() -> Duration,
) -> Result<Exit, CliError> {
    let signalled = serve::stop_on_signals()?;
    let bar = progress_bar(0);
    let mut silent = 0;
    let mut held_for = None;
    let mut latest: Option<Seen> = None;
    loop {
        let wait = step().await;
        match look().await {
            Some(seen) if seen.state.is_final() => {
                latest = Some(seen);
                break;
            }
            Some(seen) => {
                silent = 0;
                bar.set_length(seen.total);
                bar.set_position(seen.done + seen.failed);
                if let Some(account) = seen.held_for.as_ref().filter(|_| held_for != seen.held_for)
                {
                    bar.suspend(|| {
                        note!("waiting: deliveries to Acquire's account {account} are paused");
                    });
                }
                held_for.clone_from(&seen.held_for);
                latest = Some(seen);
            }
            None => silent += 1,
        }
        let waited = signalled.run_until_cancelled(clock::pause(wait)).await;
        if waited.is_none() || silent > MAX_LOOKS {
            latest = look().await.or(latest);
            break;
        }
    }
    bar.finish_and_clear();
    if output.format() == OutputFormat::Json {
        print_json(&outcome(kind, Some(id), latest.as_ref()))?;
    }
    let seen = match latest {
        Some(seen) if seen.state.is_final() => seen,
        unfinished => {
            let goes_on = match unfinished {
                Some(Seen {
                    total: 0, done: 0, ..
                }) => format!(
                    "operation {id} has not started; the bridge carries it out after the earlier ones"
                ),
                Some(Seen { done, total, .. }) => format!(
                    "{done} of {} calls {} so far; operation {id} goes on in the bridge",
                    total.max(done),
                    kind.done()
                ),
                None => format!("operation {id} goes on in the bridge"),
            };
            let page = "the page /operations shows, pauses and cancels it";
            note!("{}", wrap(&format!("{goes_on}; {page}"), 0));
            return Ok(Exit::Partial);
        }
    };
    if let Some(receipt) = seen.receipt {
        if output.format() == OutputFormat::Text {
            receipt.lines().iter().try_for_each(print_wrapped)?;
        }
        return Ok(match seen.state {
            OperationState::Failed => Exit::Failed,
            _ => Exit::Done,
        });
    }
    let total = seen.total.max(seen.done);
    if output.format() == OutputFormat::Text {
        let done = kind.done();
        print_line(format_args!("{} of {total} calls {done}", seen.done))?;
    }
    if seen.failed > 0 {
        note!(
            "changed or removed before their turn: {} calls",
            seen.failed
        );
    }
    if seen.state == OperationState::Cancelled {
        note!("operation {id} was cancelled; the other calls are unchanged");
    }
    let is_complete = seen.state == OperationState::Done && seen.failed == 0;
    Ok(if is_complete {
        Exit::Done
    } else {
        Exit::Partial
    })
}

/// The number of calls, in total and per state.
fn summary(kind: OperationKind, calls: &[CallSummary]) -> String {
    let in_state = |state| calls.iter().filter(|call| call.state == state).count();
    let states = State::ALL.into_iter().map(|state| (in_state(state), state));
    let states: Vec<String> = states
        .filter(|(count, _)| *count > 0)
        .map(|(count, state)| format!("{count} {state}"))
        .collect();
    let mut summary = format!("{}: {}", counted(calls.len(), "call"), states.join(", "));
    if kind == OperationKind::Requeue && in_state(State::Delivered) > 0 {
        summary.push_str("; Acquire receives the delivered calls again");
    }
    summary
}

/// Asks on the terminal for confirmation.
pub fn confirm(kind: OperationKind, count: usize) -> Result<bool, CliError> {
    let act = kind.as_str();
    if !stdin().is_terminal() || !stderr().is_terminal() {
        return Err(CliError::Usage(format!(
            "standard input is not a terminal; pass --yes to {act} without confirmation"
        )));
    }
    eprint!("{act} {}? [y/N] ", counted(count, "call"));
    let mut answer = String::new();
    // Once a search was watched, Ctrl-C does not end the process by itself.
    let stopped = || "\nstopped; nothing was changed".to_owned();
    watched(
        &ProgressBar::hidden(),
        || 0,
        stopped,
        || stdin().read_line(&mut answer),
    )??;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// `20` or `20/s`.
pub fn rate(text: &str) -> Result<NonZeroU32, String> {
    let number = text.strip_suffix("/s").unwrap_or(text);
    number
        .parse()
        .map_err(|_| "must be a number of calls per second, such as 20/s".to_owned())
}
