//! Signs a fixture: the request that Twilio would send.
//!
//! It does not send the request.

use std::fmt::Write as _;
use std::path::PathBuf;

use awc::http::Method;
use sha2::{Digest as _, Sha256};

use crate::debugging::fixture::Fixture;
use crate::twilio::CallSid;
use crate::twilio::signature::{self, Body, PublicUrl, SigningKey};

/// Where requests go and which URL they are signed for.
#[derive(Clone, Debug)]
pub struct ReplayTarget {
    /// The base to connect to: scheme, host, port and an optional prefix.
    pub to: String,
    /// The public URL as entered at Twilio; without it, the base of the fixture's URL.
    pub public: Option<PublicUrl>,
    /// Authorities (PEM) that are trusted in addition to the system's.
    pub ca_file: Option<PathBuf>,
}

/// The key that signs the requests.
#[derive(Clone)]
pub struct Signer {
    pub key: SigningKey,
    /// Sent as `X-Twilio-Webhooks-Signature-Settings`.
    pub settings: Option<String>,
}

/// One pass over all items; each pass has its own SIDs.
#[derive(Clone, Copy, Debug)]
pub struct SidPass {
    pub seed: u64,
    pub number: u64,
}

impl SidPass {
    /// The SID that replaces this one in every request of the pass.
    fn fresh(self, sid: &CallSid) -> String {
        let digest = Sha256::new()
            .chain_update(self.seed.to_be_bytes())
            .chain_update(self.number.to_be_bytes())
            .chain_update(sid.as_str())
            .finalize();
        digest[..16]
            .iter()
            .fold(String::from("CA"), |mut text, byte| {
                // Writing to a String cannot fail.
                let _ = write!(text, "{byte:02x}");
                text
            })
    }
}

/// A request ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedReplay {
    pub method: Method,
    /// The URL to connect to, not the signed one.
    pub url: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// Signs a fixture for the target's public URL, with new SIDs if there is a pass.
pub fn sign(
    fixture: &Fixture,
    target: &ReplayTarget,
    signer: &Signer,
    pass: Option<SidPass>,
) -> SignedReplay {
    let path = fixture.target();
    let signed_url = match &target.public {
        Some(public) => public.signed_url(&path),
        None => format!("{}{path}", fixture.base()),
    };
    let body = match pass {
        Some(pass) => with_fresh_sids(&fixture.body, pass),
        None => fixture.body.clone(),
    };
    let fields;
    let signature = if fixture.is_json() {
        signature::sign(&signer.key, &signed_url, Body::Json(&body))
    } else {
        fields = signature::fields(&body);
        signature::sign(&signer.key, &signed_url, Body::Form(&fields))
    };

    // These describe the original request, not the one that is made here.
    let replaced = ["host", "content-length", "x-twilio-signature"];
    let mut headers: Vec<_> = fixture
        .headers
        .iter()
        .filter(|(name, _)| !replaced.contains(&name.to_ascii_lowercase().as_str()))
        .cloned()
        .collect();
    headers.push(("X-Twilio-Signature".to_owned(), signature));
    if let Some(settings) = &signer.settings {
        headers.push((
            "X-Twilio-Webhooks-Signature-Settings".to_owned(),
            settings.clone(),
        ));
    }
    SignedReplay {
        method: Method::from_bytes(fixture.method.as_bytes()).unwrap_or(Method::POST),
        url: format!("{}{path}", target.to.trim_end_matches('/')),
        headers,
        body,
    }
}

/// Replaces each field value that is a `CallSid` and keeps all other bytes, which the signature covers.
fn with_fresh_sids(body: &[u8], pass: SidPass) -> Vec<u8> {
    let fields: Vec<Vec<u8>> = body
        .split(|byte| *byte == b'&')
        .map(|field| {
            let value_at = field
                .iter()
                .position(|byte| *byte == b'=')
                .map_or(field.len(), |at| at + 1);
            let (name, value) = field.split_at(value_at);
            let sid = std::str::from_utf8(value).map(CallSid::parse);
            match sid {
                Ok(Ok(sid)) => [name, pass.fresh(&sid).as_bytes()].concat(),
                _ => field.to_vec(),
            }
        })
        .collect();
    fields.join(&b'&')
}
