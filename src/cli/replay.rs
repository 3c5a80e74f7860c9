//! `replay`: signs fixtures and sends them as Twilio would, or plans them without a network.

pub(super) mod compare;
mod files;
mod offline;

use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;

use self::compare::Comparison;
use self::files::{FixtureGroup, Grouping, expected_beside, groups};
use super::call_filter::{CallFilter, number};
use super::output::{OutputArgs, note, progress_bar, wrap, wrapped};
use super::serve::stop_on_signals;
use super::signing_keys::KeyArgs;
use super::watched::each_watched;
use super::{CliError, ConfigArgs, Exit};
use crate::debugging::export::IncidentFolder;
use crate::debugging::fake_twilio::dry_run::DryRun;
use crate::debugging::fake_twilio::scenario::{self, Step};
use crate::debugging::fake_twilio::{
    self, ReplayItem, ReplayRate, ReplaySummary, ReplayTarget, Sids, Signer,
};
use crate::domain::plan::Rules;
use crate::domain::plural::counted;
use crate::store::Detail;
use crate::twilio::listed::RequestSource;
use crate::twilio::signature::PublicUrl;
use crate::{app, config};

const EXAMPLE: &str = "Examples:
  export TWILIO_AUTH_TOKEN=0123456789abcdef0123456789abcdef
  twilio-acquire-bridge replay fixtures/twilio \\
    --to http://127.0.0.1:8080 --fresh-sids
  twilio-acquire-bridge replay fixtures/twilio/inbound-completed.http --dry-run
  twilio-acquire-bridge replay fixtures/scenarios/transfer --dry-run

A folder means its *.http files and those of its subfolders. A folder with an
expected.json is one call: it is planned as a whole, with the settings in its
bridge.toml. An x.json next to x.http is the expected result of that fixture. A
.json file is a record of Twilio: a Monitor Alert or the Call Events of a call.

--dry-run only plans. --offline sends the fixtures through a bridge with a
temporary store and a simulated clock; its output is the same on every machine.
If the description of a fixture starts with \"after 30s:\", it arrives 30 seconds
after the previous one; the others arrive at the same time. Both print the
differences to the expected result and exit with 3 if there are any.

--to sends each fixture to its own path and query at this URL. The signed URL
has the base of --public-url, else of server.public_url, else of the fixture.
A fixture that is no callback of a call must be refused. Exits with 3 if another
response was not 2xx, or if Ctrl-C stopped it, after the summary.";

const DONE: &str = "folders and files are replayed";

/// Sign fixtures and send them to a bridge as Twilio would.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of the command line"
)]
pub struct Replay {
    /// Fixtures (.http), folders of them, or records of Twilio (.json).
    #[arg(required_unless_present = "from_store", value_name = "PATH")]
    paths: Vec<PathBuf>,

    /// Replay all calls of the store that match the filters.
    #[arg(long, conflicts_with = "paths")]
    from_store: bool,

    /// URL to connect to, such as `http://127.0.0.1:8080`.
    #[arg(long, value_name = "URL", required_unless_present_any = ["dry_run", "offline"], value_parser = base_url)]
    to: Option<String>,

    /// Certificate authorities (PEM) to trust for --to, in addition to the system's.
    #[arg(long, value_name = "FILE", requires = "to")]
    ca_file: Option<PathBuf>,

    /// Base of the signed URL, as entered at Twilio.
    #[arg(long, value_name = "URL", value_parser = PublicUrl::parse)]
    public_url: Option<PublicUrl>,

    /// Maximum number of concurrent requests.
    #[arg(long, value_name = "N", default_value = "8", value_parser = number::<NonZeroUsize>)]
    concurrency: NonZeroUsize,

    /// Requests started per second; without it, as fast as responses arrive.
    #[arg(long, value_name = "N", value_parser = number::<NonZeroU32>)]
    rate: Option<NonZeroU32>,

    /// Number of times to send all fixtures.
    #[arg(long, value_name = "N", default_value = "1", value_parser = number::<NonZeroU32>)]
    repeat: NonZeroU32,

    /// Give each call a new SID in each repetition; the legs of a call stay together.
    #[arg(long)]
    fresh_sids: bool,

    /// Send nothing; print the JSON that Acquire would receive, or why it receives none.
    #[arg(long)]
    dry_run: bool,

    /// Send to a bridge and a fake Acquire inside this command.
    #[arg(long, conflicts_with_all = ["dry_run", "to"])]
    offline: bool,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    keys: KeyArgs,

    #[command(flatten)]
    config: ConfigArgs,

    #[command(flatten)]
    filter: CallFilter,
}

impl Replay {
    pub fn run(self) -> Result<Exit, CliError> {
        let (public_urls, rules) = self.config.load_part(config::partial::urls_and_rules)?;
        if !self.from_store && !self.filter.is_empty()? {
            let why = "filters choose calls of the store; add --from-store";
            return Err(CliError::Usage(why.to_owned()));
        }
        let groups = if self.from_store {
            self.stored_groups()?
        } else {
            groups(&self.paths)?
        };
        // Neither --offline nor --dry-run needs a key.
        if self.offline {
            return self.play_offline(&groups, &rules);
        }
        let Some(to) = self.to.as_ref().filter(|_| !self.dry_run) else {
            return self.dry_run(&groups, &rules);
        };
        let items = groups.into_iter().flat_map(|group| group.items);
        // Only Twilio can post a callback; what was imported is no request to a bridge.
        let (items, imported): (Vec<_>, Vec<_>) =
            items.partition(|item| item.fixture.source() == RequestSource::Signed);
        if !imported.is_empty() {
            let count = counted(imported.len(), "imported record");
            note!("{count} of Twilio cannot be sent to a bridge; use --offline or --dry-run");
        }
        let keys = self.keys.choose()?;
        let keys = keys.map_err(|why| CliError::Usage(why.to_string()))?;
        let signer = Signer {
            key: keys[0].clone(),
            settings: self.keys.settings().map(str::to_owned),
        };
        let target = ReplayTarget {
            to: to.clone(),
            public: self
                .public_url
                .clone()
                .or_else(|| public_urls.into_iter().next()),
            ca_file: self.ca_file.clone(),
        };
        let total = items.len() as u64 * u64::from(self.repeat.get());
        let summary = self.send(items, target, signer)?;
        self.print_summary(&summary)?;
        let is_stopped = summary.sent < total;
        if is_stopped {
            note!("stopped after {} of {total} requests", summary.sent);
        }
        Ok(if summary.all_as_expected() && !is_stopped {
            Exit::Done
        } else {
            Exit::Partial
        })
    }

    /// The calls that match the filters, each as a group with the requests that Acquire accepted.
    fn stored_groups(&self) -> Result<Vec<FixtureGroup>, CliError> {
        let (reader, rules) = self.config.open_to_read()?;
        let mut groups = Vec::new();
        let found = self
            .filter
            .find(&*reader, &rules, (Detail::Whole, usize::MAX))?;
        // A merged leg has no callbacks: they are in the call of its parent.
        for call in found.iter().filter(|call| !call.callbacks.is_empty()) {
            let incident = IncidentFolder::of(call, &rules);
            let items = incident
                .fixtures()
                .iter()
                .map(|(name, fixture)| ReplayItem {
                    name: format!("{}/{name}", incident.name),
                    fixture: fixture.clone(),
                });
            groups.push(FixtureGroup {
                items: items.collect(),
                grouping: Grouping::Together {
                    expected: incident.expected().map(<[_]>::to_vec),
                    settings: None,
                },
                label: incident.name.clone(),
                name: incident.name,
            });
        }
        if groups.is_empty() {
            note!("no such calls");
        }
        Ok(groups)
    }

    fn dry_run(&self, groups: &[FixtureGroup], rules: &Rules) -> Result<Exit, CliError> {
        let mut exit = Exit::Done;
        each_watched(groups, DONE, |group, bar| {
            let Grouping::Together { expected, .. } = &group.grouping else {
                for item in &group.items {
                    let compared = bar.suspend(|| self.dry_run_item(item, rules))?;
                    exit = worse(exit, compared);
                }
                return Ok(());
            };
            let steps = group
                .items
                .iter()
                .map(|item| Step::of(&item.name, &item.fixture));
            let steps: Vec<Step> = steps.collect::<Result<_, _>>()?;
            let requests = scenario::play(&steps, &settings(group, rules)?);
            let got = requests.iter().map(scenario::as_expected).collect();
            let comparison = Comparison::of_requests(&group.name, got, expected.clone());
            let compared = bar.suspend(|| comparison.print(self.output.format()))?;
            exit = worse(exit, compared);
            Ok::<_, CliError>(())
        })?;
        Ok(exit)
    }

    fn dry_run_item(&self, item: &ReplayItem, rules: &Rules) -> Result<Exit, CliError> {
        let result = DryRun::of(&item.fixture, rules);
        let got = result.to_json();
        let comparison = Comparison {
            name: &item.name,
            lines: vec![result.to_string()],
            got: serde_json::from_str(&got)?,
            expected: expected_beside(item)?,
        };
        comparison.print(self.output.format())
    }

    /// Sends each group through its own bridge.
    fn play_offline(&self, groups: &[FixtureGroup], rules: &Rules) -> Result<Exit, CliError> {
        let mut exit = Exit::Done;
        each_watched(groups, DONE, |group, bar| {
            let rules = settings(group, rules)?;
            let played = app::block_on(offline::play(group, &rules))?;
            let expected = match &group.grouping {
                Grouping::Together { expected, .. } => expected.clone(),
                Grouping::Separate => None,
            };
            let mut comparison = Comparison::of_requests(&group.label, played.requests, expected);
            comparison.lines.extend(played.refused);
            let compared = bar.suspend(|| comparison.print(self.output.format()))?;
            exit = worse(exit, compared);
            Ok::<_, CliError>(())
        })?;
        Ok(exit)
    }

    fn send(
        &self,
        items: Vec<ReplayItem>,
        target: ReplayTarget,
        signer: Signer,
    ) -> Result<ReplaySummary, CliError> {
        let sids = if self.fresh_sids {
            Sids::Fresh(fastrand::u64(..))
        } else {
            Sids::Recorded
        };
        let bar = progress_bar(items.len() as u64 * u64::from(self.repeat.get()));
        let ticking = bar.clone();
        let sent = app::block_on(async {
            let speed = ReplayRate {
                concurrency: self.concurrency,
                rate: self.rate,
                repeat: self.repeat,
                stop: stop_on_signals()?,
            };
            let tick = move |_: &_, _: &_| ticking.inc(1);
            let sent = fake_twilio::send(items, target, signer, speed, sids, tick).await;
            sent.context("failed to replay")
        });
        bar.finish_and_clear();
        Ok(sent?)
    }

    fn print_summary(&self, summary: &ReplaySummary) -> Result<(), CliError> {
        self.output.print(summary, || wrapped(summary))?;
        if !self.fresh_sids && summary.any_accepted() {
            let note = "note: a bridge forwards a call once; use --fresh-sids to make new calls, or \
                        requeue to send the same calls again";
            note!("{}", wrap(note, 0));
        }
        Ok(())
    }
}

/// The rules of the group's own settings, if it has some.
fn settings(group: &FixtureGroup, rules: &Rules) -> Result<Rules, CliError> {
    Ok(match &group.grouping {
        Grouping::Together {
            settings: Some(file),
            ..
        } => config::load_part(Some(file), [], config::partial::urls_and_rules)?.1,
        _ => rules.clone(),
    })
}

fn worse(one: Exit, other: Exit) -> Exit {
    if one == Exit::Done { other } else { one }
}

fn base_url(text: &str) -> Result<String, String> {
    // Both have the same form: scheme, host, port and a path prefix.
    match PublicUrl::parse(text) {
        Ok(url) => Ok(url.to_string()),
        Err(why) => Err(why.to_string()),
    }
}
