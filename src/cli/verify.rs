//! `verify`: whether a signature is Twilio's, and if not, why.

use std::path::PathBuf;

use clap::Args;
use secrecy::SecretString;

use super::sign::RequestArgs;
use super::signing_keys::{self, KeyArgs};
use super::{CliError, Exit, print_line};
use crate::debugging::fixture::Fixture;
use crate::twilio::diagnosis::{
    BodyFormat, Diagnosis, DiagnosisInput, Difference, KeyRole, KeySet, UrlBase, diagnose,
};
use crate::twilio::signature;

const EXAMPLE: &str = "Examples:
  export TWILIO_AUTH_TOKEN=0123456789abcdef0123456789abcdef
  twilio-acquire-bridge verify refused.http
  twilio-acquire-bridge verify --url https://bridge.example.com/twilio/voice/status \\
    --body body.txt --signature 'RSOYDt4T1cUTdK1PDd93/VVr8B8='

The URL is judged as given and, as Twilio's libraries do, also without its port,
or with the default port if it has none. Several tokens are each tried. Only the
signature is judged, not what the fields say. Exits with 0 if it is valid, with
1 if not.

If it is not, the ways in which it usually goes wrong are tried: another scheme,
host, port, prefix, slash, query or token, and fields that were changed on the
way. What is found is told with the line to change; the more headers of the
request are given, the more is found. Nothing is taken for valid by that.";

/// Tell whether an X-Twilio-Signature fits a request, and if not, why.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub struct Verify {
    /// The request as it arrived, with its headers (X-Twilio-Signature among
    /// them), as in fixtures/twilio.
    #[arg(value_name = "FILE.http", conflicts_with_all = ["body", "content_type"])]
    file: Option<PathBuf>,

    #[command(flatten)]
    request: RequestArgs,

    /// The value of X-Twilio-Signature, judged to the letter.
    #[arg(long, value_name = "SIGNATURE", allow_hyphen_values = true)]
    signature: Option<String>,

    /// A header of the request as it arrived, such as `X-Forwarded-Host: h`; it
    /// changes no verdict. May be given several times.
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(String, String)>,

    /// An old, secondary or other account's token: it verifies nothing, and is
    /// tried to find out why. May be given several times.
    #[arg(long = "spare-token", value_name = "TOKEN", value_parser = signing_keys::secret)]
    spare_tokens: Vec<SecretString>,

    /// Print JSON.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    keys: KeyArgs,
}

/// A request to judge, whatever it was given as.
struct VerifyRequest {
    url: String,
    media: BodyFormat,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    signature: Option<String>,
}

impl Verify {
    pub fn run(self) -> Result<Exit, CliError> {
        let keys = self.keys.choose()?;
        let request = self.request()?;
        let signature = request.signature.as_deref().unwrap_or_default();
        let (why, finding) = match keys {
            Err(why) => (why.to_string(), None),
            Ok(keys) => {
                let valid =
                    request.judged(|body| signature::verify(&keys, &request.url, body, signature));
                if valid {
                    print_line(if self.json {
                        r#"{"valid":true}"#
                    } else {
                        "valid"
                    })?;
                    return Ok(Exit::Done);
                }
                let why = "no key given made this signature for this URL and body".to_owned();
                (why, Some(request.diagnosed(&self.holders())))
            }
        };
        if self.json {
            print_line(as_json(&why, finding.as_ref()))?;
            return Ok(Exit::Failed);
        }
        print_line(format_args!("invalid: {why}"))?;
        if let Some(finding) = finding {
            print_finding(&finding)?;
        }
        RequestArgs::warn_omitted_url_parts(&request.url);
        Ok(Exit::Failed)
    }

    fn request(&self) -> Result<VerifyRequest, CliError> {
        let mut headers = self.headers.clone();
        if let Some(settings) = self.keys.settings() {
            let name = "x-twilio-webhooks-signature-settings".to_owned();
            headers.push((name, settings.to_owned()));
        }
        let Some(file) = &self.file else {
            let missing = |what| CliError::Usage(format!("pass {what}, or a FILE.http"));
            let signature = self
                .signature
                .clone()
                .or_else(|| named(&headers, SIGNATURE));
            return Ok(VerifyRequest {
                url: self
                    .request
                    .url()
                    .ok_or_else(|| missing("--url"))?
                    .to_owned(),
                media: self.request.media(),
                body: self.request.read_body()?,
                signature: Some(signature.ok_or_else(|| missing("--signature"))?),
                headers,
            });
        };
        let fixture = Fixture::read(file).map_err(anyhow::Error::from)?;
        let lower = |(name, value): &(String, String)| (name.to_ascii_lowercase(), value.clone());
        headers.extend(fixture.headers.iter().map(lower));
        Ok(VerifyRequest {
            url: self
                .request
                .url()
                .map_or(fixture.url.clone(), str::to_owned),
            media: if fixture.is_json() {
                BodyFormat::Json
            } else {
                BodyFormat::Form
            },
            signature: self
                .signature
                .clone()
                .or_else(|| named(&headers, SIGNATURE)),
            headers,
            body: fixture.body,
        })
    }

    fn holders(&self) -> [KeySet; 2] {
        let holder = |setting: &str, role, auth_tokens, shared_keys| KeySet {
            setting: setting.to_owned(),
            role,
            auth_tokens,
            shared_keys,
        };
        let shared = self.keys.shared();
        [
            holder(
                "TWILIO_AUTH_TOKEN",
                KeyRole::Configured,
                self.keys.tokens(),
                shared,
            ),
            holder(
                "--spare-token",
                KeyRole::Spare,
                self.spare_tokens.clone(),
                Vec::new(),
            ),
        ]
    }
}

const SIGNATURE: &str = "x-twilio-signature";

fn named(headers: &[(String, String)], name: &str) -> Option<String> {
    headers
        .iter()
        .find(|(other, _)| other == name)
        .map(|(_, value)| value.clone())
}

impl VerifyRequest {
    fn judged<T>(&self, judge: impl FnOnce(signature::Body<'_>) -> T) -> T {
        match self.media {
            BodyFormat::Json => judge(signature::Body::Json(&self.body)),
            BodyFormat::Form => judge(signature::Body::Form(&signature::fields(&self.body))),
        }
    }

    fn diagnosed(&self, holders: &[KeySet]) -> Diagnosis {
        let (base, target) = UrlBase::split(&self.url);
        let evidence = DiagnosisInput {
            bases: &[base],
            target,
            headers: &self.headers,
            body: &self.body,
            body_format: self.media,
            queries: &[],
            account_sids: &[],
        };
        diagnose(&evidence, holders, self.signature.as_deref())
    }
}

/// For a terminal: what was found, the URL that was signed, and what to do.
fn print_finding(finding: &Diagnosis) -> std::io::Result<()> {
    let cause = format!("{} ({})", finding.sentences(), finding.reason());
    print_line(format_args!("\ncause   {}", super::wrapped(&cause, 8)))?;
    if let Some(url) = &finding.url {
        print_line(format_args!("signed  {url}"))?;
    }
    for remedy in finding.remedies() {
        print_line(format_args!("do      {}", super::wrapped(&remedy, 8)))?;
    }
    Ok(())
}

fn as_json(why: &str, finding: Option<&Diagnosis>) -> serde_json::Value {
    serde_json::json!({
        "valid": false,
        "why": why,
        "reasons": finding.map(reasons),
        "cause": finding.map(Diagnosis::sentences),
        "signed_url": finding.and_then(|found| found.url.clone()),
        "setting": finding.and_then(Diagnosis::setting),
        "remedies": finding.map(Diagnosis::remedies),
    })
}

fn reasons(finding: &Diagnosis) -> Vec<&'static str> {
    finding.differences.iter().map(Difference::reason).collect()
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("must read \"Name: value\"")?;
    Ok((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
}
