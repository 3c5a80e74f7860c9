//! `callback-url`: what to enter at Twilio, and whether what stands there is right.

use serde_json::json;

use super::{CliError, ConfigArgs, Exit, environment, print_line, wrapped};
use crate::config;
use crate::twilio::callback::CallbackKind;
use crate::twilio::callback_url::{OVERRIDES_EXPLAINED, UrlProblem, check, to_enter};
use crate::twilio::signature::PublicUrl;

const EXAMPLE: &str = "Examples:
  twilio-acquire-bridge callback-url --config /etc/twilio-acquire-bridge/bridge.toml
  twilio-acquire-bridge callback-url 'https://bridge.example.com/twilio/voice/status'

Only server.public_url is read. Nothing is looked up or connected to. Exits with
0 if all is well, with 1 if something is said of a URL.";

/// Print the callback URLs to enter at Twilio, or check one that stands there.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct CallbackUrl {
    #[command(flatten)]
    config: ConfigArgs,
    /// A URL for status or recording callbacks as it stands at Twilio.
    #[arg(value_name = "URL")]
    urls: Vec<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl CallbackUrl {
    pub fn run(self) -> Result<Exit, CliError> {
        let (public_urls, _) = config::load_part(
            self.config.config.as_deref(),
            environment(),
            config::partial::urls_and_rules,
        )?;
        if public_urls.is_empty() {
            let missing = "server.public_url is not set; set it to the URL by which Twilio reaches \
                           the bridge, such as https://bridge.example.com";
            return Err(CliError::Usage(missing.to_owned()));
        }
        let to_enter = to_enter_at(&public_urls);
        let asked = if self.urls.is_empty() {
            to_enter.iter().map(|(_, url)| url.clone()).collect()
        } else {
            self.urls.clone()
        };
        let judged: Vec<(String, Vec<UrlProblem>)> = asked
            .into_iter()
            .map(|url| {
                let remarks = check(&url, &public_urls);
                (url, remarks)
            })
            .collect();
        if self.json {
            print_line(as_json(&to_enter, &judged))?;
        } else if self.urls.is_empty() {
            print_urls(&to_enter)?;
            print_problems(&judged)?;
        } else {
            print_verdicts(&judged)?;
        }
        let all_well = judged.iter().all(|(_, remarks)| remarks.is_empty());
        Ok(if all_well { Exit::Done } else { Exit::Failed })
    }
}

fn to_enter_at(public_urls: &[PublicUrl]) -> Vec<(&'static str, String)> {
    let named = |form| match form {
        CallbackKind::Status => "StatusCallback",
        CallbackKind::Recording => "RecordingStatusCallback",
    };
    let of = |url: &PublicUrl| CallbackKind::ALL.map(|form| (named(form), to_enter(url, form)));
    public_urls.iter().flat_map(of).collect()
}

fn print_urls(to_enter: &[(&str, String)]) -> std::io::Result<()> {
    for (name, url) in to_enter {
        print_line(format_args!("{name}, method POST:\n  {url}\n"))?;
    }
    print_line(wrapped(OVERRIDES_EXPLAINED, 0))
}

fn print_problems(judged: &[(String, Vec<UrlProblem>)]) -> std::io::Result<()> {
    for (url, remarks) in judged.iter().filter(|(_, remarks)| !remarks.is_empty()) {
        print_line(format_args!("\n{url}"))?;
        print_remarks(remarks)?;
    }
    Ok(())
}

fn print_verdicts(judged: &[(String, Vec<UrlProblem>)]) -> std::io::Result<()> {
    for (url, remarks) in judged {
        print_line(url)?;
        if remarks.is_empty() {
            print_line("  good")?;
        }
        print_remarks(remarks)?;
    }
    Ok(())
}

fn print_remarks(remarks: &[UrlProblem]) -> std::io::Result<()> {
    for remark in remarks {
        print_line(format_args!(
            "  {}  {}",
            remark.severity.as_str(),
            wrapped(&remark.sentence, 9)
        ))?;
    }
    Ok(())
}

fn as_json(to_enter: &[(&str, String)], judged: &[(String, Vec<UrlProblem>)]) -> serde_json::Value {
    let remark = |remark: &UrlProblem| json!({ "weight": remark.severity.as_str(), "about": remark.about, "sentence": remark.sentence });
    let judged: Vec<_> = judged
        .iter()
        .map(|(url, remarks)| {
            let remarks: Vec<_> = remarks.iter().map(remark).collect();
            json!({ "url": url, "remarks": remarks })
        })
        .collect();
    let to_enter: Vec<_> = to_enter
        .iter()
        .map(|(name, url)| json!({ "parameter": name, "url": url }))
        .collect();
    json!({ "to_enter": to_enter, "method": "POST", "judged": judged })
}
