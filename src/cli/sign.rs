//! `sign`: prints the signature that Twilio would send.
//!
//! The algorithm is in `twilio/signature.rs`.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;

use serde_json::json;

use super::output::{OutputArgs, note};
use super::signing_keys::KeyArgs;
use super::{CliError, Exit};
use crate::twilio::RawUrl;
use crate::twilio::diagnosis::BodyFormat;
use crate::twilio::signature::{self, Body};

const EXAMPLE: &str = "Example:
  export TWILIO_AUTH_TOKEN=0123456789abcdef0123456789abcdef
  printf 'CallSid=CA00000000000000000000000000000001&CallStatus=completed' |
    twilio-acquire-bridge sign --body - \\
    --url https://bridge.example.com/twilio/voice/status

The URL is signed byte for byte as given. Twilio signs the URL that is entered
there, without user info and fragment, and for voice over HTTPS without a port.";

/// Print the X-Twilio-Signature of a request.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub struct Sign {
    #[command(flatten)]
    request: RequestArgs,
    #[command(flatten)]
    keys: KeyArgs,
    #[command(flatten)]
    output: OutputArgs,
}

impl Sign {
    pub fn run(self) -> Result<Exit, CliError> {
        let keys = self.keys.choose()?;
        let keys = keys.map_err(|why| CliError::Usage(why.to_string()))?;
        let no_url =
            || CliError::Usage("pass --url, the whole URL as entered at Twilio".to_owned());
        let url = self.request.url().ok_or_else(no_url)?;
        let body = self.request.read_body()?;
        let signature = match self.request.media() {
            BodyFormat::Json => signature::sign(&keys[0], url, Body::Json(&body)),
            BodyFormat::Form => {
                signature::sign(&keys[0], url, Body::Form(&signature::fields(&body)))
            }
        };
        self.output
            .print(&json!({ "signature": signature }), || &signature)?;
        RequestArgs::warn_omitted_url_parts(url);
        Ok(Exit::Done)
    }
}

/// The request to sign or to verify.
#[derive(Debug, Args)]
pub struct RequestArgs {
    /// Whole URL as entered at Twilio, with its query.
    #[arg(long, value_name = "URL", allow_hyphen_values = true)]
    url: Option<String>,

    /// File with the raw body; `-` reads stdin. Without it the body is empty.
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,

    /// Media type of the body: a form, or JSON, which bodySHA256 in the URL covers.
    #[arg(
        long,
        value_name = "TYPE",
        default_value = "application/x-www-form-urlencoded",
        allow_hyphen_values = true
    )]
    content_type: String,
}

impl RequestArgs {
    /// The raw bytes of the body.
    pub fn read_body(&self) -> Result<Vec<u8>, CliError> {
        let Some(path) = &self.body else {
            return Ok(Vec::new());
        };
        if path == Path::new("-") {
            let mut body = Vec::new();
            std::io::stdin()
                .read_to_end(&mut body)
                .context("failed to read the body from stdin")?;
            return Ok(body);
        }
        let read = std::fs::read(path);
        Ok(read.with_context(|| format!("failed to read {}", path.display()))?)
    }

    /// The URL, if one is given.
    pub fn url(&self) -> Option<&str> {
        self.url.as_deref()
    }

    /// The format of the body by its media type.
    pub fn media(&self) -> BodyFormat {
        let essence = self.content_type.split(';').next().unwrap_or_default();
        if essence.trim().eq_ignore_ascii_case("application/json") {
            BodyFormat::Json
        } else {
            BodyFormat::Form
        }
    }

    /// Prints a note if the URL has a part that Twilio never signs.
    pub fn warn_omitted_url_parts(url: &str) {
        let url = RawUrl::of(url);
        let part = match (url.fragment, url.user_info) {
            (None, None) => return,
            (Some(_), None) => "a fragment",
            (None, Some(_)) => "user info",
            (Some(_), Some(_)) => "user info and a fragment",
        };
        note!(
            "note: the URL has {part}, which Twilio does not sign; it signs {}{}",
            url.origin(),
            url.target()
        );
    }
}
