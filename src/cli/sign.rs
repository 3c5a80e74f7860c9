//! `sign`: the signature that Twilio would send.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;

use super::keys::KeyArgs;
use super::{Exit, Failure, say};
use crate::twilio::signature::{self, Body};

const EXAMPLE: &str = "Example:
  export TWILIO_AUTH_TOKEN=0123456789abcdef0123456789abcdef
  printf 'CallSid=CA00000000000000000000000000000001&CallStatus=completed' |
    twilio-acquire-bridge sign --url https://bridge.example.com/twilio/voice/status --body -

The URL is signed byte for byte as given. Twilio signs the URL that it was told, without
user info and fragment, and for voice over HTTPS without a port.";

/// Prints the X-Twilio-Signature of a request.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub struct Sign {
    #[command(flatten)]
    request: RequestArgs,
    #[command(flatten)]
    keys: KeyArgs,
}

impl Sign {
    pub fn run(self) -> Result<Exit, Failure> {
        let keys = self.keys.choose()?;
        let keys = keys.map_err(|why| Failure::Usage(why.to_string()))?;
        let body = self.request.read_body()?;
        let signature = self
            .request
            .judge(&body, |url, body| signature::sign(&keys[0], url, body));
        say(signature)?;
        self.request.tell_what_twilio_leaves_out();
        Ok(Exit::Done)
    }
}

/// The request whose signature is made or judged.
#[derive(Debug, Args)]
pub struct RequestArgs {
    /// The whole URL as Twilio was told it, with its query.
    #[arg(long, value_name = "URL", allow_hyphen_values = true)]
    url: String,

    /// The file that holds the raw body; `-` reads stdin. Without it the body is empty.
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,

    /// Whether the body is a form, or JSON bound by the URL's bodySHA256.
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
    pub fn read_body(&self) -> Result<Vec<u8>, Failure> {
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

    /// Hands the URL and the body, read by its media type, to `judge`.
    pub fn judge<T>(&self, body: &[u8], judge: impl FnOnce(&str, Body<'_>) -> T) -> T {
        let essence = self.content_type.split(';').next().unwrap_or_default();
        if essence.trim().eq_ignore_ascii_case("application/json") {
            return judge(&self.url, Body::Json(body));
        }
        judge(&self.url, Body::Form(&signature::fields(body)))
    }

    /// Says so on stderr if the URL has a part that Twilio never signs.
    pub fn tell_what_twilio_leaves_out(&self) {
        let sent = self.url.split('#').next().unwrap_or_default();
        let (scheme, rest) = sent.split_once("://").unwrap_or(("", sent));
        let authority_end = rest.find(['/', '?']).unwrap_or(rest.len());
        let user_info = rest[..authority_end].rfind('@');
        let part = match (sent.len() < self.url.len(), user_info) {
            (false, None) => return,
            (true, None) => "a fragment",
            (false, Some(_)) => "user info",
            (true, Some(_)) => "user info and a fragment",
        };
        let rest = &rest[user_info.map_or(0, |at| at + 1)..];
        eprintln!(
            "note: the URL has {part}, which Twilio leaves out of what it signs: {scheme}://{rest}"
        );
    }
}
