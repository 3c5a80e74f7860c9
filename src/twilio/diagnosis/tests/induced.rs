//! One induced fault.

use super::super::*;
use crate::twilio::signature::{Body, Key, fields, sign, verify};

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

/// What Twilio signed, and what became of it on the way.
#[derive(Clone)]
pub struct Induced {
    pub public_url: &'static str,
    /// What Twilio was told.
    pub told: String,
    pub target: String,
    pub headers: Vec<(&'static str, String)>,
    pub signed_form: String,
    pub body: Vec<u8>,
    pub media: BodyFormat,
    pub configured: &'static str,
    pub key: Key,
    /// What the signature's text becomes.
    pub mangle: fn(String) -> String,
}

impl Induced {
    pub fn none() -> Self {
        Self {
            public_url: "https://bridge.example.com",
            told: "https://bridge.example.com/twilio/voice/status".to_owned(),
            target: "/twilio/voice/status".to_owned(),
            headers: Vec::new(),
            signed_form: FORM.to_owned(),
            body: FORM.into(),
            media: BodyFormat::Form,
            configured: TOKEN,
            key: Key::auth_token(TOKEN),
            mangle: |text| text,
        }
    }

    pub fn told(self, told: &str) -> Self {
        Self {
            told: told.to_owned(),
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

    /// Twilio was told this query, and that one arrived.
    pub fn query(self, told: &str, arrived: &str) -> Self {
        let (url, target) = (
            format!("{}{told}", self.told),
            format!("{}{arrived}", self.target),
        );
        Self {
            told: url,
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

    pub fn signed_with(self, key: Key) -> Self {
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
        sign(&self.key, &self.told, body)
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
            &[Key::auth_token(self.configured)],
            &url,
            body,
            &self.signature(),
        )
    }

    pub fn finding(&self) -> Diagnosis {
        let bases = [UrlBase::of(
            &PublicUrl::parse(self.public_url).expect("a URL"),
        )];
        let headers: Vec<(String, String)> = self
            .headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect();
        let evidence = DiagnosisInput {
            bases: &bases,
            target: &self.target,
            headers: &headers,
            body: &self.body,
            body_format: self.media,
            queries: &["email=jane%40example.com".to_owned()],
            account_sids: &["AC00000000000000000000000000000001".to_owned()],
        };
        let holder = |setting: &str, role, token: &str, shared: &[&str]| KeySet {
            setting: setting.to_owned(),
            role,
            auth_tokens: vec![token.into()],
            shared_keys: shared
                .iter()
                .map(|key| ("WK1".to_owned(), (*key).into()))
                .collect(),
        };
        let holders = [
            holder(
                "TWILIO_AUTH_TOKEN",
                KeyRole::Configured,
                self.configured,
                &[SHARED],
            ),
            holder(
                "accounts[2].twilio_auth_tokens",
                KeyRole::OtherAccount,
                OTHER,
                &[],
            ),
            holder("--spare-token", KeyRole::Spare, SPARE, &[]),
        ];
        diagnose(&evidence, &holders, Some(&self.signature()))
    }
}
