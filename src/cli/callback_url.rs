//! `callback-url`: what to enter at Twilio, and whether what stands there is right.

use serde_json::json;

use super::{ConfigArgs, Exit, Failure, environment, say, wrapped};
use crate::config;
use crate::twilio::callback::Form;
use crate::twilio::callback_url::{COST, Remark, judge, to_enter};
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
    pub fn run(self) -> Result<Exit, Failure> {
        let (public_urls, _) =
            config::load_for_rehearsal(self.config.config.as_deref(), environment())?;
        if public_urls.is_empty() {
            let missing = "server.public_url is not set; set it to the URL by which Twilio reaches \
                           the bridge, such as https://bridge.example.com";
            return Err(Failure::Usage(missing.to_owned()));
        }
        let to_enter = to_enter_at(&public_urls);
        let asked = if self.urls.is_empty() {
            to_enter.iter().map(|(_, url)| url.clone()).collect()
        } else {
            self.urls.clone()
        };
        let judged: Vec<(String, Vec<Remark>)> = asked
            .into_iter()
            .map(|url| {
                let remarks = judge(&url, &public_urls);
                (url, remarks)
            })
            .collect();
        if self.json {
            say(as_json(&to_enter, &judged))?;
        } else if self.urls.is_empty() {
            tell_what_to_enter(&to_enter)?;
            tell_remarks(&judged)?;
        } else {
            tell_verdicts(&judged)?;
        }
        let all_well = judged.iter().all(|(_, remarks)| remarks.is_empty());
        Ok(if all_well { Exit::Done } else { Exit::Failed })
    }
}

fn to_enter_at(public_urls: &[PublicUrl]) -> Vec<(&'static str, String)> {
    let named = |form| match form {
        Form::Status => "StatusCallback",
        Form::Recording => "RecordingStatusCallback",
    };
    let of = |url: &PublicUrl| Form::ALL.map(|form| (named(form), to_enter(url, form)));
    public_urls.iter().flat_map(of).collect()
}

fn tell_what_to_enter(to_enter: &[(&str, String)]) -> std::io::Result<()> {
    for (name, url) in to_enter {
        say(format_args!("{name}, method POST:\n  {url}\n"))?;
    }
    say(wrapped(COST, 0))
}

fn tell_remarks(judged: &[(String, Vec<Remark>)]) -> std::io::Result<()> {
    for (url, remarks) in judged.iter().filter(|(_, remarks)| !remarks.is_empty()) {
        say(format_args!("\n{url}"))?;
        tell(remarks)?;
    }
    Ok(())
}

fn tell_verdicts(judged: &[(String, Vec<Remark>)]) -> std::io::Result<()> {
    for (url, remarks) in judged {
        say(url)?;
        if remarks.is_empty() {
            say("  good")?;
        }
        tell(remarks)?;
    }
    Ok(())
}

fn tell(remarks: &[Remark]) -> std::io::Result<()> {
    for remark in remarks {
        say(format_args!(
            "  {}  {}",
            remark.weight.as_str(),
            wrapped(&remark.sentence, 9)
        ))?;
    }
    Ok(())
}

fn as_json(to_enter: &[(&str, String)], judged: &[(String, Vec<Remark>)]) -> serde_json::Value {
    let remark = |remark: &Remark| json!({ "weight": remark.weight.as_str(), "about": remark.about, "sentence": remark.sentence });
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
