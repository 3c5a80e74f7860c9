//! A form that Twilio signed, and the verifier that alone can make one. It does not read requests
//! from the network.

use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

use actix_web::http::header::HeaderMap;
use actix_web::web::Bytes;
use secrecy::ExposeSecret as _;

use super::refusal::RefusalError;
use crate::config::{Account, Config};
use crate::store::SignedRequest;
use crate::telemetry::metrics::{Counter, Metrics};
use crate::twilio::signature::{self, Body, Form, PublicUrl, SignatureSettings, SigningKey};

/// Headers that are stored with a callback: they are needed to verify its signature again, and the
/// idempotency token identifies a retry.
const KEPT_HEADERS: [&str; 4] = [
    "content-type",
    "x-twilio-signature",
    "x-twilio-webhooks-signature-settings",
    "i-twilio-idempotency-token",
];

/// A form that Twilio signed. The only way to have one is to verify a request.
pub struct SignedForm {
    /// The `acquire_account_id` of the account with the key that signed it.
    pub account: String,
    pub fields: Form,
    pub request: SignedRequest,
    /// When the head of the request had arrived.
    pub received_at: Instant,
    _verified: Proof,
}

/// Keeps others from building a [`SignedForm`].
struct Proof;

/// The keys of each account, ready for use.
#[derive(Debug)]
pub struct Verifier {
    public_urls: Vec<PublicUrl>,
    /// By `AccountSid`. The account at `None` has no SID and is used for all SIDs that are not
    /// configured.
    accounts: HashMap<Option<String>, AccountKeys>,
}

struct AccountKeys {
    acquire_account_id: String,
    auth_tokens: Keys,
    shared_keys: HashMap<String, Keys>,
}

/// Keys that may have signed a request, and how often each did.
#[derive(Default)]
struct Keys {
    keys: Vec<SigningKey>,
    uses: Vec<Counter>,
}

impl std::fmt::Debug for AccountKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccountKeys").finish_non_exhaustive()
    }
}

impl Verifier {
    pub fn new(config: &Config, metrics: &Metrics) -> Self {
        // After a reload another key may have the same position.
        metrics.forget_signing_keys();
        let names = config
            .accounts
            .iter()
            .map(|account| &*account.acquire_account_id);
        metrics.start_at_zero(names);
        let keys = |account: &Account| AccountKeys::of(account, metrics);
        Self {
            public_urls: config.server.public_urls.clone(),
            accounts: config
                .accounts
                .iter()
                .map(|account| {
                    let sid = account.twilio_account_sid.as_ref();
                    (sid.map(ToString::to_string), keys(account))
                })
                .collect(),
        }
    }

    /// The paths that may precede the path of a route: none, and those of the public URLs.
    pub fn prefixes(&self) -> BTreeSet<&str> {
        self.public_urls
            .iter()
            .map(PublicUrl::prefix)
            .chain([""])
            .collect()
    }

    /// Returns the form if the signature is valid for one of the public URLs.
    pub fn verify(
        &self,
        target: &str,
        headers: &HeaderMap,
        body: Bytes,
        received_at: Instant,
    ) -> Result<SignedForm, RefusalError> {
        let fields = signature::fields(&body);
        let account = self.account(&fields)?;
        let keys = account.keys(headers)?;
        let signature = text(headers, "x-twilio-signature").ok_or(RefusalError::NoSignature)?;
        let (url, signer) = self
            .public_urls
            .iter()
            .find_map(|public_url| {
                let url = public_url.signed_url(target);
                let signer = signature::signer(&keys.keys, &url, Body::Form(&fields), signature);
                // Its path gives the kind of the callback, so the bridge's own path is stored.
                signer.map(|signer| (public_url.served_url(target), signer))
            })
            .ok_or(RefusalError::WrongSignature)?;
        keys.uses[signer].inc();
        Ok(SignedForm {
            account: account.acquire_account_id.clone(),
            fields,
            request: SignedRequest {
                url,
                headers: kept_headers(headers),
                body,
            },
            received_at,
            _verified: Proof,
        })
    }

    /// Chooses by the `AccountSid` of a form that is not verified yet. That is safe: with the keys of
    /// another account the signature cannot be valid.
    fn account(&self, fields: &Form) -> Result<&AccountKeys, RefusalError> {
        let sid = fields
            .value("AccountSid")
            .ok_or(RefusalError::NoAccountSid)?;
        self.accounts
            .get(&Some(sid.to_owned()))
            // The only account without a SID accepts every SID that its token signs.
            .or_else(|| self.accounts.get(&None))
            .ok_or(RefusalError::UnknownAccount)
    }
}

impl AccountKeys {
    /// The metric names a key by its position, because the key is secret: `2` is the second token,
    /// `shared-1` the first shared key.
    fn of(account: &Account, metrics: &Metrics) -> Self {
        let name = &account.acquire_account_id;
        let mut auth_tokens = Keys::default();
        for (position, token) in (1..).zip(&account.auth_tokens) {
            let uses = metrics.signing_key(name, &format!("{position}"));
            auth_tokens.add(SigningKey::auth_token(token.expose_secret()), uses);
        }
        let mut shared_keys: HashMap<String, Keys> = HashMap::new();
        for (position, (id, secret)) in (1..).zip(&account.shared_keys) {
            let uses = metrics.signing_key(name, &format!("shared-{position}"));
            let keys = shared_keys.entry(id.clone()).or_default();
            keys.add(SigningKey::shared_key(secret.expose_secret()), uses);
        }
        Self {
            acquire_account_id: name.clone(),
            auth_tokens,
            shared_keys,
        }
    }

    /// The keys that may have signed: a `SharedKey` if the settings header names one, else tokens.
    fn keys(&self, headers: &HeaderMap) -> Result<&Keys, RefusalError> {
        let Some(settings) = headers.get("x-twilio-webhooks-signature-settings") else {
            // Without the header Twilio signs with the auth token, also if the account has shared
            // keys.
            return Ok(&self.auth_tokens);
        };
        let settings = SignatureSettings::parse(settings.to_str().unwrap_or_default())?;
        self.shared_keys
            .get(settings.key)
            .ok_or(RefusalError::UnknownSharedKey)
    }
}

impl Keys {
    fn add(&mut self, key: SigningKey, uses: Counter) {
        self.keys.push(key);
        self.uses.push(uses);
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn kept_headers(headers: &HeaderMap) -> String {
    let mut lines = String::with_capacity(192);
    for name in KEPT_HEADERS {
        if let Some(value) = text(headers, name) {
            lines.extend([name, ": ", value, "\n"]);
        }
    }
    lines
}
