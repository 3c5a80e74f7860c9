//! `verify`: verifies a signature, and explains why it is invalid.
//!
//! The search for the reason is in `twilio/diagnosis.rs`.

use std::path::PathBuf;

use clap::Args;
use secrecy::SecretString;

use super::output::{OutputArgs, OutputFormat, print_json, print_line, wrap};
use super::sign::RequestArgs;
use super::signing_keys::{self, KeyArgs};
use super::{CliError, Exit};
use crate::debugging::fixture::Fixture;
use crate::domain::plain_text::plain;
use crate::twilio::diagnosis::{
    BodyFormat, Diagnosis, DiagnosisInput, Difference, KeyRole, KeySet, UrlBase, diagnose,
};
use crate::twilio::signature;

const EXAMPLE: &str = "Examples:
  export TWILIO_AUTH_TOKEN=0123456789abcdef0123456789abcdef
  twilio-acquire-bridge verify refused.http
  twilio-acquire-bridge verify capture.txt \\
    --url https://bridge.example.com/twilio/voice/status
  twilio-acquire-bridge verify --body body.txt \\
    --url https://bridge.example.com/twilio/voice/status \\
    --signature 'RSOYDt4T1cUTdK1PDd93/VVr8B8='

Verifies the signature for the URL as given and, as Twilio's libraries do, for
the URL without its port, or with the default port if it has none; with each
token. The fields are not checked. Exits with 0 if it is valid, with 1 if not,
with 2 if the request cannot be read.

For an invalid signature the command tries the usual causes: another scheme,
host, port, prefix, slash, query or token, and fields that were changed in
transit. It prints the cause and the line to change. More headers of the request
allow a better explanation. The result stays invalid.";

/// Verify the X-Twilio-Signature of a request and explain a mismatch.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub struct Verify {
    /// Request as it arrived, with its headers (also X-Twilio-Signature): in the format of
    /// fixtures/twilio, or as captured on the wire; a capture needs --url.
    #[arg(value_name = "FILE.http", conflicts_with_all = ["body", "content_type"])]
    file: Option<PathBuf>,

    #[command(flatten)]
    request: RequestArgs,

    /// Value of X-Twilio-Signature, compared exactly.
    #[arg(long, value_name = "SIGNATURE", allow_hyphen_values = true)]
    signature: Option<String>,

    /// Header of the request, such as `X-Forwarded-Host: h`; used only to explain a mismatch
    /// (repeatable).
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(String, String)>,

    /// Old or secondary token, or that of another account; used only to explain a mismatch
    /// (repeatable).
    #[arg(long = "spare-token", value_name = "TOKEN", value_parser = signing_keys::secret)]
    spare_tokens: Vec<SecretString>,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    keys: KeyArgs,
}

/// The request to verify, read from a file or from the options.
struct VerifyRequest {
    url: String,
    media: BodyFormat,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    signature: Option<String>,
}

impl Verify {
    pub fn run(self) -> Result<Exit, CliError> {
        let is_json = self.output.format() == OutputFormat::Json;
        let keys = self.keys.choose()?;
        let request = self.request()?;
        let signature = request.signature.as_deref().unwrap_or_default();
        let (why, diagnosis) = match keys {
            // The settings header is part of the request, so this is an invalid signature, not a usage error.
            Err(why) => (why.to_string(), None),
            Ok(keys) => {
                let valid = request
                    .with_body(|body| signature::verify(&keys, &request.url, body, signature));
                if valid {
                    self.output.print(&as_json(None, None), || "valid")?;
                    return Ok(Exit::Done);
                }
                let why = "no given key makes this signature for this URL and body".to_owned();
                (why, Some(request.diagnose(&self.key_sets())))
            }
        };
        if is_json {
            print_json(&as_json(Some(&why), diagnosis.as_ref()))?;
            return Ok(Exit::Failed);
        }
        print_line(format_args!("invalid: {}", plain(&why)))?;
        if let Some(diagnosis) = diagnosis {
            print_diagnosis(&diagnosis)?;
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
                body: self.request.read_body().map_err(unreadable)?,
                signature: Some(signature.ok_or_else(|| missing("--signature"))?),
                headers,
            });
        };
        let fixture = Fixture::read_or_capture(file, self.request.url()).map_err(unreadable)?;
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

    fn key_sets(&self) -> [KeySet; 2] {
        let key_set = |setting: &str, role, auth_tokens, shared_keys| KeySet {
            setting: setting.to_owned(),
            role,
            auth_tokens,
            shared_keys,
        };
        let shared = self.keys.shared();
        [
            key_set(
                "TWILIO_AUTH_TOKEN",
                KeyRole::Configured,
                self.keys.tokens(),
                shared,
            ),
            key_set(
                "--spare-token",
                KeyRole::Spare,
                self.spare_tokens.clone(),
                Vec::new(),
            ),
        ]
    }
}

/// A script must not take a missing file for an invalid signature, which exits with 1.
fn unreadable(why: impl std::fmt::Display) -> CliError {
    CliError::Usage(why.to_string())
}

const SIGNATURE: &str = "x-twilio-signature";

fn named(headers: &[(String, String)], name: &str) -> Option<String> {
    headers
        .iter()
        .find(|(other, _)| other == name)
        .map(|(_, value)| value.clone())
}

impl VerifyRequest {
    fn with_body<T>(&self, use_body: impl FnOnce(signature::Body<'_>) -> T) -> T {
        match self.media {
            BodyFormat::Json => use_body(signature::Body::Json(&self.body)),
            BodyFormat::Form => use_body(signature::Body::Form(&signature::fields(&self.body))),
        }
    }

    fn diagnose(&self, key_sets: &[KeySet]) -> Diagnosis {
        let (base, target) = UrlBase::split(&self.url);
        let input = DiagnosisInput {
            bases: &[base],
            target,
            headers: &self.headers,
            body: &self.body,
            body_format: self.media,
            queries: &[],
            account_sids: &[],
        };
        diagnose(&input, key_sets, self.signature.as_deref())
    }
}

/// Prints the cause, the URL that was signed, and what to do.
fn print_diagnosis(diagnosis: &Diagnosis) -> std::io::Result<()> {
    let cause = format!("{} ({})", diagnosis.sentences(), diagnosis.reason());
    print_line(format_args!("\ncause   {}", wrap(&cause, 8)))?;
    if let Some(url) = &diagnosis.url {
        print_line(format_args!("signed  {}", plain(url)))?;
    }
    for remedy in diagnosis.remedies() {
        print_line(format_args!("do      {}", wrap(&remedy, 8)))?;
    }
    Ok(())
}

/// `why` the signature is invalid, if it is.
fn as_json(why: Option<&str>, diagnosis: Option<&Diagnosis>) -> serde_json::Value {
    serde_json::json!({
        "valid": why.is_none(),
        "why": why,
        "reasons": diagnosis.map(reasons),
        "cause": diagnosis.map(Diagnosis::sentences),
        "signed_url": diagnosis.and_then(|found| found.url.clone()),
        "setting": diagnosis.and_then(Diagnosis::setting),
        "remedies": diagnosis.map(Diagnosis::remedies),
    })
}

fn reasons(diagnosis: &Diagnosis) -> Vec<&'static str> {
    diagnosis
        .differences
        .iter()
        .map(Difference::reason)
        .collect()
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("must read \"Name: value\"")?;
    Ok((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
}
