//! A request with one mistake.

use super::super::*;
use crate::twilio::signature::{Body, PublicUrl, SigningKey, fields, sign, verify};

pub const TOKEN: &str = "0123456789abcdef0123456789abcdef";
pub const OTHER: &str = "fedcba9876543210fedcba9876543210";
pub const SPARE: &str = "00000000000000000000000000000000";
pub const SHARED: &str = "a shared secret";
pub const FORM: &str = "AccountSid=AC00000000000000000000000000000001&ApiVersion=2010-04-01\
    &CallSid=CA00000000000000000000000000000001&CallStatus=completed&CallDuration=10\
    &Called=%2B12025550199&Caller=%2B12025550123&CallerName=JOS%C3%89%20%26%20Co%20\
    &Direction=inbound&From=%2B12025550123&FromCity=&FromZip=&ToCity=S%C3%A3o%20Paulo&ToZip=\
    &ToState=&ToCountry=BR&CalledCity=S%C3%A3o%20Paulo&CalledZip=&CalledState=&CalledCountry=BR\
    &FromState=&FromCountry=US&CallerCity=&CallerZip=&CallerState=&CallerCountry=US\
    &SequenceNumber=0&To=%2B12025550199&CallbackSource=call-progress-events";

/// A request as Twilio signed it and as it arrived.
#[derive(Clone)]
pub struct Induced {
    pub public_url: &'static str,
    /// The URL that was entered at Twilio.
    pub entered: String,
    pub target: String,
    pub headers: Vec<(&'static str, String)>,
    pub signed_form: String,
    pub body: Vec<u8>,
    pub media: BodyFormat,
    pub configured: &'static str,
    pub key: SigningKey,
    /// Changes the text of the signature in transit.
    pub mangle: fn(String) -> String,
}

impl Induced {
    pub fn none() -> Self {
        Self {
            public_url: "https://bridge.example.com",
            entered: "https://bridge.example.com/twilio/voice/status".to_owned(),
            target: "/twilio/voice/status".to_owned(),
            headers: Vec::new(),
            signed_form: FORM.to_owned(),
            body: FORM.into(),
            media: BodyFormat::Form,
            configured: TOKEN,
            key: SigningKey::auth_token(TOKEN),
            mangle: |text| text,
        }
    }

    pub fn entered(self, url: &str) -> Self {
        Self {
            entered: url.to_owned(),
            ..self
        }
    }

    pub fn public(self, public_url: &'static str) -> Self {
        Self { public_url, ..self }
    }

    pub fn target(self, target: &str) -> Self {
        Self {
            target: target.to_owned(),
            ..self
        }
    }

    /// The URL at Twilio has the query `entered`; `arrived` is the query of the request.
    pub fn query(self, entered: &str, arrived: &str) -> Self {
        let (url, target) = (
            format!("{}{entered}", self.entered),
            format!("{}{arrived}", self.target),
        );
        Self {
            entered: url,
            target,
            ..self
        }
    }

    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    pub fn body(self, body: impl Into<Vec<u8>>) -> Self {
        Self {
            body: body.into(),
            ..self
        }
    }

    pub fn replaced(self, from: &str, to: &str) -> Self {
        assert!(FORM.contains(from), "{from}");
        self.body(FORM.replace(from, to))
    }

    pub fn signed_with(self, key: SigningKey) -> Self {
        Self { key, ..self }
    }

    pub fn mangled(self, mangle: fn(String) -> String) -> Self {
        Self { mangle, ..self }
    }

    pub fn right_signature(&self) -> String {
        let fields = fields(self.signed_form.as_bytes());
        let body = match self.media {
            _ if self.signed_form.starts_with('{') => Body::Json(self.signed_form.as_bytes()),
            _ => Body::Form(&fields),
        };
        sign(&self.key, &self.entered, body)
    }

    pub fn signature(&self) -> String {
        (self.mangle)(self.right_signature())
    }

    pub fn is_valid(&self) -> bool {
        let url = PublicUrl::parse(self.public_url)
            .expect("a URL")
            .signed_url(&self.target);
        let fields = fields(&self.body);
        let body = match self.media {
            BodyFormat::Form => Body::Form(&fields),
            BodyFormat::Json => Body::Json(&self.body),
        };
        verify(
            &[SigningKey::auth_token(self.configured)],
            &url,
            body,
            &self.signature(),
        )
    }

    pub fn diagnosis(&self) -> Diagnosis {
        let bases = [UrlBase::of(
            &PublicUrl::parse(self.public_url).expect("a URL"),
        )];
        let headers: Vec<(String, String)> = self
            .headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect();
        let input = DiagnosisInput {
            bases: &bases,
            target: &self.target,
            headers: &headers,
            body: &self.body,
            body_format: self.media,
            queries: &["email=jane%40example.com".to_owned()],
            account_sids: &["AC00000000000000000000000000000001".to_owned()],
        };
        let key_set = |setting: &str, role, token: &str, shared: &[&str]| KeySet {
            setting: setting.to_owned(),
            role,
            auth_tokens: vec![token.into()],
            shared_keys: shared
                .iter()
                .map(|key| ("WK1".to_owned(), (*key).into()))
                .collect(),
        };
        let key_sets = [
            key_set(
                "TWILIO_AUTH_TOKEN",
                KeyRole::Configured,
                self.configured,
                &[SHARED],
            ),
            key_set(
                "accounts[2].twilio_auth_tokens",
                KeyRole::OtherAccount,
                OTHER,
                &[],
            ),
            key_set("--spare-token", KeyRole::Spare, SPARE, &[]),
        ];
        diagnose(&input, &key_sets, Some(&self.signature()))
    }
}
