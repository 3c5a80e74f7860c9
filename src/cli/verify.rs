//! `verify`: whether a signature is Twilio's.

use clap::Args;

use super::keys::KeyArgs;
use super::sign::RequestArgs;
use super::{Exit, Failure, say};
use crate::twilio::signature;

const EXAMPLE: &str = "Example:
  export TWILIO_AUTH_TOKEN=0123456789abcdef0123456789abcdef
  twilio-acquire-bridge verify --url https://bridge.example.com/twilio/voice/status \\
    --body body.txt --signature 'RSOYDt4T1cUTdK1PDd93/VVr8B8='

The URL is judged as given and, as Twilio's libraries do, also without its port, or with the
default port if it has none. Several tokens are each tried. Only the signature is judged,
not what the fields say. Exits with 0 if it is valid, with 1 if not.";

/// Tells whether an X-Twilio-Signature fits a request.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub struct Verify {
    #[command(flatten)]
    request: RequestArgs,

    /// The value of X-Twilio-Signature, judged to the letter.
    #[arg(long, value_name = "SIGNATURE", allow_hyphen_values = true)]
    signature: String,

    #[command(flatten)]
    keys: KeyArgs,
}

impl Verify {
    pub fn run(self) -> Result<Exit, Failure> {
        let keys = self.keys.choose()?;
        let body = self.request.read_body()?;
        let why = match keys {
            Err(why) => why.to_string(),
            Ok(keys) => {
                let valid = self.request.judge(&body, |url, body| {
                    signature::verify(&keys, url, body, &self.signature)
                });
                if valid {
                    say(format_args!("valid"))?;
                    return Ok(Exit::Done);
                }
                "no key given made this signature for this URL and body".to_owned()
            }
        };
        say(format_args!("invalid: {why}"))?;
        self.request.tell_what_twilio_leaves_out();
        Ok(Exit::Failed)
    }
}
