//! `callback-url`: prints the URLs to enter at Twilio, or checks URLs that are entered there.
//!
//! The checks of a URL are in `twilio/callback_url.rs`.

use serde_json::json;

use super::output::{OutputArgs, OutputFormat, print_json, print_line, wrap};
use super::{CliError, ConfigArgs, Exit};
use crate::config::partial;
use crate::twilio::callback::CallbackKind;
use crate::twilio::callback_url::{OVERRIDES_EXPLAINED, UrlProblem, check, to_enter};
use crate::twilio::signature::PublicUrl;

const EXAMPLE: &str = "Examples:
  export BRIDGE__SERVER__PUBLIC_URL=https://bridge.example.com
  twilio-acquire-bridge callback-url
  twilio-acquire-bridge callback-url \\
    'https://bridge.example.com/twilio/voice/status'

Reads only server.public_url and opens no connection. Exits with 0 if the URLs
are good, with 1 if one has a problem.";

/// Print the callback URLs to enter at Twilio, or check an entered one.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct CallbackUrl {
    #[command(flatten)]
    config: ConfigArgs,
    /// URL for status or recording callbacks, as entered at Twilio.
    #[arg(value_name = "URL")]
    urls: Vec<String>,
    #[command(flatten)]
    output: OutputArgs,
}

impl CallbackUrl {
    pub fn run(self) -> Result<Exit, CliError> {
        let (public_urls, _) = self.config.load_part(partial::urls_and_rules)?;
        if public_urls.is_empty() {
            let missing = "server.public_url is not set; set it to the URL at which Twilio reaches \
                           the bridge, such as https://bridge.example.com";
            return Err(CliError::Usage(missing.to_owned()));
        }
        let to_enter = to_enter_at(&public_urls);
        let given = if self.urls.is_empty() {
            to_enter.iter().map(|(_, url)| url.clone()).collect()
        } else {
            self.urls.clone()
        };
        let checked: Vec<(String, Vec<UrlProblem>)> = given
            .into_iter()
            .map(|url| {
                let problems = check(&url, &public_urls);
                (url, problems)
            })
            .collect();
        if self.output.format() == OutputFormat::Json {
            print_json(&as_json(&to_enter, &checked))?;
        } else if self.urls.is_empty() {
            print_urls(&to_enter)?;
            print_problems(&checked)?;
        } else {
            print_checked(&checked)?;
        }
        let all_good = checked.iter().all(|(_, problems)| problems.is_empty());
        Ok(if all_good { Exit::Done } else { Exit::Failed })
    }
}

fn to_enter_at(public_urls: &[PublicUrl]) -> Vec<(&'static str, String)> {
    let name = |kind| match kind {
        CallbackKind::Status => "StatusCallback",
        CallbackKind::Recording => "RecordingStatusCallback",
    };
    let urls_of = |url: &PublicUrl| CallbackKind::ALL.map(|kind| (name(kind), to_enter(url, kind)));
    public_urls.iter().flat_map(urls_of).collect()
}

fn print_urls(to_enter: &[(&str, String)]) -> std::io::Result<()> {
    for (name, url) in to_enter {
        print_line(format_args!("{name}, method POST:\n  {url}\n"))?;
    }
    print_line(wrap(OVERRIDES_EXPLAINED, 0))
}

fn print_problems(checked: &[(String, Vec<UrlProblem>)]) -> std::io::Result<()> {
    for (url, problems) in checked.iter().filter(|(_, problems)| !problems.is_empty()) {
        print_line(format_args!("\n{url}"))?;
        print_each(problems)?;
    }
    Ok(())
}

fn print_checked(checked: &[(String, Vec<UrlProblem>)]) -> std::io::Result<()> {
    for (url, problems) in checked {
        print_line(url)?;
        if problems.is_empty() {
            print_line("  good")?;
        }
        print_each(problems)?;
    }
    Ok(())
}

fn print_each(problems: &[UrlProblem]) -> std::io::Result<()> {
    for problem in problems {
        print_line(format_args!(
            "  {}  {}",
            problem.severity.as_str(),
            wrap(&problem.sentence, 9)
        ))?;
    }
    Ok(())
}

fn as_json(
    to_enter: &[(&str, String)],
    checked: &[(String, Vec<UrlProblem>)],
) -> serde_json::Value {
    let problem = |problem: &UrlProblem| json!({ "severity": problem.severity.as_str(), "about": problem.about, "sentence": problem.sentence });
    let checked: Vec<_> = checked
        .iter()
        .map(|(url, problems)| {
            let problems: Vec<_> = problems.iter().map(problem).collect();
            json!({ "url": url, "problems": problems })
        })
        .collect();
    let to_enter: Vec<_> = to_enter
        .iter()
        .map(|(name, url)| json!({ "parameter": name, "url": url }))
        .collect();
    json!({ "to_enter": to_enter, "method": "POST", "checked": checked })
}
