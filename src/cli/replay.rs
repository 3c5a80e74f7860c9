//! `replay`: signs fixtures and sends them as Twilio would.

mod files;

use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;

use self::files::{groups, read};
use super::keys::KeyArgs;
use super::{ConfigArgs, Exit, Failure, progress, say};
use crate::plan::Rules;
use crate::replay::forecast::Forecast;
use crate::replay::scenario::Scenario;
use crate::replay::{self, Item, Pace, Sids, Signer, Summary, Target};
use crate::twilio::signature::PublicUrl;
use crate::{app, config};

const EXAMPLE: &str = "Examples:
  export TWILIO_AUTH_TOKEN=0123456789abcdef0123456789abcdef
  twilio-acquire-bridge replay fixtures/twilio --to http://127.0.0.1:8080 --fresh-sids
  twilio-acquire-bridge replay fixtures/twilio/inbound-completed.http --dry-run
  twilio-acquire-bridge replay fixtures/scenarios/transfer --dry-run

A folder stands for its *.http files, or for the folders in it. One with an expected.json tells of
one call: --dry-run plays it as a whole, with the bridge.toml beside it for settings, and exits
with 3 if the requests are not those of expected.json. Path and query come from each fixture. The URL that is
signed has the base of --public-url, else of the configuration's server.public_url, else the
fixture's own. Exits with 3 if some requests were not answered 2xx.";

/// Signs fixtures and sends them to a bridge, as Twilio would.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub struct Replay {
    /// Fixtures (.http), or folders of them.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,

    /// The base to connect to, such as `http://127.0.0.1:8080`.
    #[arg(long, value_name = "URL", required_unless_present = "dry_run", value_parser = base_url)]
    to: Option<String>,

    /// Signs for this base, as Twilio was told it.
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

    /// Gives every call a new SID in each pass; the legs of a call stay joined.
    #[arg(long)]
    fresh_sids: bool,

    /// Sends nothing and prints the JSON that Acquire would get, or why none.
    #[arg(long)]
    dry_run: bool,

    /// Prints JSON.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    keys: KeyArgs,

    #[command(flatten)]
    config: ConfigArgs,
}

impl Replay {
    pub fn run(self) -> Result<Exit, Failure> {
        let (of_config, rules) = self.config.load_for_rehearsal()?;
        let Some(to) = self.to.as_ref().filter(|_| !self.dry_run) else {
            return self.foretell(&rules);
        };
        let items = read(&self.paths)?;
        let keys = self.keys.choose()?;
        let keys = keys.map_err(|why| Failure::Usage(why.to_string()))?;
        let signer = Signer {
            key: keys[0].clone(),
            settings: self.keys.settings().map(str::to_owned),
        };
        let target = Target {
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

    fn foretell(&self, rules: &Rules) -> Result<Exit, Failure> {
        let mut exit = Exit::Done;
        for group in groups(&self.paths)? {
            if let Some(folder) = group
                .folder
                .as_deref()
                .filter(|path| Scenario::is_one(path))
            {
                if self.foretell_scenario(folder, &group.files, rules)? == Exit::Partial {
                    exit = Exit::Partial;
                }
                continue;
            }
            for item in group.items()? {
                let forecast = Forecast::of(&item.fixture, rules);
                if self.json {
                    let file = serde_json::Value::from(item.name.as_str());
                    say(format_args!(
                        r#"{{"file":{file},"acquire":{}}}"#,
                        forecast.to_json()
                    ))?;
                } else {
                    say(format_args!("{}: {forecast}", item.name))?;
                }
            }
        }
        Ok(exit)
    }

    /// The folder as one call, with its own settings, compared with what it says must come of it.
    fn foretell_scenario(
        &self,
        folder: &Path,
        files: &[PathBuf],
        rules: &Rules,
    ) -> Result<Exit, Failure> {
        let scenario = Scenario::read(folder, files).map_err(anyhow::Error::from)?;
        let got = match &scenario.settings {
            Some(file) => scenario.play(&config::load_for_rehearsal(Some(file), [])?.1),
            None => scenario.play(rules),
        };
        let name = folder.display().to_string();
        let is_expected = got == scenario.expected;
        if self.json {
            let file = serde_json::Value::from(name);
            let got = serde_json::Value::from(got);
            say(format_args!(
                r#"{{"file":{file},"acquire":{got},"expected":{is_expected}}}"#
            ))?;
        } else {
            for request in &got {
                say(format_args!("{name}: {request}"))?;
            }
            if got.is_empty() {
                say(format_args!("{name}: nothing is sent"))?;
            }
            if !is_expected {
                say(format_args!("{name}: differs from expected.json:"))?;
                for request in &scenario.expected {
                    say(format_args!("{name}: expected {request}"))?;
                }
            }
        }
        Ok(if is_expected {
            Exit::Done
        } else {
            Exit::Partial
        })
    }

    fn send(&self, items: Vec<Item>, target: Target, signer: Signer) -> Result<Summary, Failure> {
        let pace = Pace {
            concurrency: self.concurrency,
            rate: self.rate,
            repeat: self.repeat,
        };
        let sids = if self.fresh_sids {
            Sids::Fresh(fastrand::u64(..))
        } else {
            Sids::Recorded
        };
        let bar = progress::bar(items.len() as u64 * u64::from(self.repeat.get()));
        let ticking = bar.clone();
        let sent = app::block_on(replay::send(
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

    fn report(&self, summary: &Summary) -> Result<(), Failure> {
        if self.json {
            let json = serde_json::to_string(summary).context("failed to write the summary")?;
            say(json)?;
        } else {
            say(summary)?;
        }
        if !self.fresh_sids {
            eprintln!(
                "note: a bridge forwards a call once; send with --fresh-sids to make new calls, \
                 or use requeue to have the same ones sent again"
            );
        }
        Ok(())
    }
}

fn base_url(text: &str) -> Result<String, String> {
    // A base to connect to has the form of a public URL, but may end in any path.
    match PublicUrl::parse(text) {
        Ok(url) => Ok(url.to_string()),
        Err(why) => Err(why.to_string()),
    }
}
