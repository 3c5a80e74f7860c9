//! The options that give `sign`, `verify` and `replay` their keys.

use std::convert::Infallible;

use clap::Args;
use secrecy::{ExposeSecret as _, SecretString};

use super::CliError;
use crate::twilio::signature::{SignatureSettings, SignatureSettingsError, SigningKey};

/// Auth tokens, or shared keys, of which the settings header names one.
#[derive(Debug, Args)]
pub struct KeyArgs {
    /// Auth token of the account; several, separated by commas, during a rotation.
    #[arg(
        long,
        value_name = "TOKEN",
        env = "TWILIO_AUTH_TOKEN",
        hide_env_values = true,
        allow_hyphen_values = true,
        value_parser = secret
    )]
    auth_token: Option<SecretString>,

    /// Value of `X-Twilio-Webhooks-Signature-Settings`: sign with a shared key and SHA-256.
    #[arg(
        long,
        value_name = "HEADER",
        requires = "shared_keys",
        allow_hyphen_values = true
    )]
    settings: Option<String>,

    /// Shared key that the settings may name (repeatable).
    #[arg(
        long = "shared-key",
        value_name = "ID=SECRET",
        requires = "settings",
        value_parser = shared_key
    )]
    shared_keys: Vec<SharedKey>,
}

#[derive(Clone, Debug)]
struct SharedKey {
    id: String,
    secret: SecretString,
}

/// Why the settings header names no given key.
#[derive(Debug, thiserror::Error)]
pub enum SigningKeyError {
    #[error(transparent)]
    Settings(#[from] SignatureSettingsError),
    #[error("the settings name the shared key \"{0}\", which is not given")]
    NotGiven(String),
}

impl KeyArgs {
    /// The keys to use, the signing one first; never empty.
    ///
    /// The outer error is a mistake on the command line. The inner one is about the settings header,
    /// which for `verify` is part of the request, so the signature is invalid.
    pub fn choose(&self) -> Result<Result<Vec<SigningKey>, SigningKeyError>, CliError> {
        match &self.settings {
            Some(header) => Ok(self.named_by(header)),
            None => self.auth_tokens().map(Ok),
        }
    }

    /// The given tokens, for a diagnosis.
    pub fn tokens(&self) -> Vec<SecretString> {
        self.token_texts()
            .into_iter()
            .map(SecretString::from)
            .collect()
    }

    /// The shared keys by their ids, for a diagnosis.
    pub fn shared(&self) -> Vec<(String, SecretString)> {
        let keys = self.shared_keys.iter();
        keys.map(|key| (key.id.clone(), key.secret.clone()))
            .collect()
    }

    /// The settings header to send with the signature.
    pub fn settings(&self) -> Option<&str> {
        self.settings.as_deref()
    }

    fn named_by(&self, header: &str) -> Result<Vec<SigningKey>, SigningKeyError> {
        let settings = SignatureSettings::parse(header)?;
        self.shared_keys
            .iter()
            .find(|key| key.id == settings.key)
            .map(|key| vec![SigningKey::shared_key(key.secret.expose_secret())])
            .ok_or_else(|| SigningKeyError::NotGiven(settings.key.to_owned()))
    }

    fn token_texts(&self) -> Vec<&str> {
        let given = self
            .auth_token
            .as_ref()
            .map_or("", |token| token.expose_secret());
        // A single token is used exactly as given: white space in it is a mistake that must show.
        let mut tokens: Vec<&str> = match given.split_once(',') {
            None => vec![given],
            Some(_) => given.split(',').map(str::trim).collect(),
        };
        tokens.retain(|token| !token.is_empty());
        tokens
    }

    fn auth_tokens(&self) -> Result<Vec<SigningKey>, CliError> {
        let keys: Vec<SigningKey> = self
            .token_texts()
            .into_iter()
            .map(SigningKey::auth_token)
            .collect();
        if keys.is_empty() {
            return Err(CliError::Usage(
                "no auth token is given; pass --auth-token or set TWILIO_AUTH_TOKEN".to_owned(),
            ));
        }
        Ok(keys)
    }
}

#[expect(clippy::unnecessary_wraps, reason = "clap asks for a Result")]
pub fn secret(text: &str) -> Result<SecretString, Infallible> {
    Ok(SecretString::from(text))
}

fn shared_key(text: &str) -> Result<SharedKey, String> {
    match text.split_once('=') {
        Some((id, secret)) if !id.is_empty() && !secret.is_empty() => Ok(SharedKey {
            id: id.to_owned(),
            secret: secret.into(),
        }),
        _ => Err("must read ID=SECRET".to_owned()),
    }
}
