//! `replay`: signs fixtures and sends them as Twilio would.

pub(super) mod compare;
mod files;
mod offline;

use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;

use self::compare::Comparison;
use self::files::{FixtureGroup, Grouping, expected_beside, groups};
use super::call_filter::CallFilter;
use super::output;
use super::signing_keys::KeyArgs;
use super::{CliError, ConfigArgs, Exit, OutputFormat, print_line, wrapped};
use crate::debugging::export::IncidentFolder;
use crate::debugging::fake_twilio::dry_run::DryRun;
use crate::debugging::fake_twilio::scenario::{self, Step};
use crate::debugging::fake_twilio::{
    self, ReplayItem, ReplayRate, ReplaySummary, ReplayTarget, Sids, Signer,
};
use crate::domain::plan::Rules;
use crate::twilio::signature::PublicUrl;
use crate::{app, config};

const EXAMPLE: &str = "Examples:
  export TWILIO_AUTH_TOKEN=0123456789abcdef0123456789abcdef
  twilio-acquire-bridge replay fixtures/twilio --to http://127.0.0.1:8080 --fresh-sids
  twilio-acquire-bridge replay fixtures/twilio/inbound-completed.http --dry-run
  twilio-acquire-bridge replay fixtures/scenarios/transfer --dry-run

A folder stands for its *.http files, or for the folders in it. One with an
expected.json tells of one call and is played as a whole, with the bridge.toml
beside it for settings; x.json beside x.http is what must come of that one. A
.json file is Twilio's own record: a Monitor Alert or the Call Events of a call.
--from-store takes the calls that the filters admit.

--dry-run plans; --offline takes all through a whole bridge with a throw-away
store and a clock of its own, and prints the same on every machine. A fixture
whose description begins with \"after 30s:\" comes that long after the one before
it; all others come at one moment and are planned together. Differences from
what is expected are shown, and it exits with 3. With --to path and query come
from each fixture. The URL that is signed has the base of --public-url, else of
the configuration's server.public_url, else the fixture's own. Exits with 3 if
some were not answered 2xx.";

/// Sign fixtures and send them to a bridge, as Twilio would.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of the command line"
)]
pub struct Replay {
    /// Fixtures (.http), folders of them, or records of Twilio (.json).
    #[arg(required_unless_present = "from_store", value_name = "PATH")]
    paths: Vec<PathBuf>,

    /// Calls of the store: all, or those that the filters admit.
    #[arg(long, conflicts_with = "paths")]
    from_store: bool,

    /// The base to connect to, such as `http://127.0.0.1:8080`.
    #[arg(long, value_name = "URL", required_unless_present_any = ["dry_run", "offline"], value_parser = base_url)]
    to: Option<String>,

    /// Sign for this base, as Twilio was told it.
    #[arg(long, value_name = "URL", value_parser = PublicUrl::parse)]
    public_url: Option<PublicUrl>,

    /// Requests under way at once.
    #[arg(long, value_name = "N", default_value = "8")]
    concurrency: NonZeroUsize,

    /// Requests begun per second; without it, as fast as answers come.
    #[arg(long, value_name = "N")]
    rate: Option<NonZeroU32>,

    /// How often all fixtures are sent.
    #[arg(long, value_name = "N", default_value = "1")]
    repeat: NonZeroU32,

    /// Give every call a new SID in each pass; the legs of a call stay joined.
    #[arg(long)]
    fresh_sids: bool,

    /// Send nothing and print the JSON that Acquire would get, or why none.
    #[arg(long)]
    dry_run: bool,

    /// Send to a bridge and a stand-in for Acquire that run inside this command.
    #[arg(long, conflicts_with_all = ["dry_run", "to"])]
    offline: bool,

    /// Print JSON.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    keys: KeyArgs,

    #[command(flatten)]
    config: ConfigArgs,

    #[command(flatten)]
    which: CallFilter,
}

impl Replay {
    pub fn run(self) -> Result<Exit, CliError> {
        let (of_config, rules) = self.config.load_for_dry_run()?;
        if !self.from_store && !self.which.search().is_empty() {
            let why = "filters choose calls of the store: add --from-store";
            return Err(CliError::Usage(why.to_owned()));
        }
        let groups = if self.from_store {
            self.stored()?
        } else {
            groups(&self.paths)?
        };
        if self.offline {
            return self.play(&groups, &rules);
        }
        let Some(to) = self.to.as_ref().filter(|_| !self.dry_run) else {
            return self.dry_run(&groups, &rules);
        };
        let items = groups.into_iter().flat_map(|group| group.items).collect();
        let keys = self.keys.choose()?;
        let keys = keys.map_err(|why| CliError::Usage(why.to_string()))?;
        let signer = Signer {
            key: keys[0].clone(),
            settings: self.keys.settings().map(str::to_owned),
        };
        let target = ReplayTarget {
            to: to.clone(),
            public: self.public_url.clone().or(of_config),
        };
        let summary = self.send(items, target, signer)?;
        self.report(&summary)?;
        Ok(if summary.all_taken() {
            Exit::Done
        } else {
            Exit::Partial
        })
    }

    /// The calls that the filters admit, each as a group, with what Acquire took of it.
    fn stored(&self) -> Result<Vec<FixtureGroup>, CliError> {
        let (reader, rules) = self.config.open_to_read()?;
        let mut groups = Vec::new();
        for summary in self.which.search().run(&*reader, usize::MAX)? {
            let Some(call) = reader.get(&summary.sid)? else {
                continue;
            };
            let evidence = IncidentFolder::of(&call, &rules);
            let items = evidence
                .fixtures()
                .iter()
                .map(|(name, fixture)| ReplayItem {
                    name: format!("{}/{name}", evidence.name),
                    fixture: fixture.clone(),
                });
            groups.push(FixtureGroup {
                items: items.collect(),
                grouping: Grouping::Together {
                    expected: evidence.expected().map(<[_]>::to_vec),
                    settings: None,
                },
                label: evidence.name.clone(),
                name: evidence.name,
            });
        }
        if groups.is_empty() {
            eprintln!("no such calls");
        }
        Ok(groups)
    }

    fn dry_run(&self, groups: &[FixtureGroup], rules: &Rules) -> Result<Exit, CliError> {
        let mut exit = Exit::Done;
        for group in groups {
            let Grouping::Together { expected, .. } = &group.grouping else {
                for item in &group.items {
                    exit = worse(exit, self.foretell_one(item, rules)?);
                }
                continue;
            };
            let steps = group
                .items
                .iter()
                .map(|item| Step::of(&item.name, &item.fixture));
            let steps: Vec<Step> = steps
                .collect::<Result<_, _>>()
                .map_err(anyhow::Error::from)?;
            let requests = scenario::play(&steps, &settings(group, rules)?);
            let got = requests.iter().map(scenario::as_expected).collect();
            let outcome = Comparison::of_requests(&group.name, got, expected.clone());
            exit = worse(exit, outcome.print(self.form())?);
        }
        Ok(exit)
    }

    fn foretell_one(&self, item: &ReplayItem, rules: &Rules) -> Result<Exit, CliError> {
        let forecast = DryRun::of(&item.fixture, rules);
        let got = forecast.to_json();
        let outcome = Comparison {
            name: &item.name,
            lines: vec![forecast.to_string()],
            got: serde_json::from_str(&got)?,
            expected: expected_beside(item)?,
        };
        outcome.print(self.form())
    }

    /// Each group through a bridge of its own.
    fn play(&self, groups: &[FixtureGroup], rules: &Rules) -> Result<Exit, CliError> {
        let mut exit = Exit::Done;
        for group in groups {
            let rules = settings(group, rules)?;
            let played = app::block_on(offline::play(group, &rules))?;
            let expected = match &group.grouping {
                Grouping::Together { expected, .. } => expected.clone(),
                Grouping::Apart => None,
            };
            let mut outcome = Comparison::of_requests(&group.label, played.requests, expected);
            outcome.lines.extend(played.refused);
            exit = worse(exit, outcome.print(self.form())?);
        }
        Ok(exit)
    }

    fn form(&self) -> OutputFormat {
        if self.json {
            OutputFormat::Json
        } else {
            OutputFormat::Text
        }
    }

    fn send(
        &self,
        items: Vec<ReplayItem>,
        target: ReplayTarget,
        signer: Signer,
    ) -> Result<ReplaySummary, CliError> {
        let pace = ReplayRate {
            concurrency: self.concurrency,
            rate: self.rate,
            repeat: self.repeat,
        };
        let sids = if self.fresh_sids {
            Sids::Fresh(fastrand::u64(..))
        } else {
            Sids::Recorded
        };
        let bar = output::bar(items.len() as u64 * u64::from(self.repeat.get()));
        let ticking = bar.clone();
        let sent = app::block_on(fake_twilio::send(
            items,
            target,
            signer,
            pace,
            sids,
            move |_, _| ticking.inc(1),
        ));
        bar.finish_and_clear();
        Ok(sent.context("failed to replay")?)
    }

    fn report(&self, summary: &ReplaySummary) -> Result<(), CliError> {
        if self.json {
            let json = serde_json::to_string(summary).context("failed to write the summary")?;
            print_line(json)?;
        } else {
            print_line(summary)?;
        }
        if !self.fresh_sids && summary.some_taken() {
            let note = "note: a bridge forwards a call once; send with --fresh-sids to make new \
                        calls, or use requeue to have the same ones sent again";
            eprintln!("{}", wrapped(note, 0));
        }
        Ok(())
    }
}

/// Those of the group, where it has some.
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
    // A base to connect to has the form of a public URL, but may end in any path.
    match PublicUrl::parse(text) {
        Ok(url) => Ok(url.to_string()),
        Err(why) => Err(why.to_string()),
    }
}
