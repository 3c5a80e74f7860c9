//! The door on Twilio's side: no body reaches a handler unless Twilio signed it.

use std::collections::{BTreeSet, HashMap};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use actix_web::http::header::{CONTENT_TYPE, HeaderMap};
use actix_web::web::{Bytes, BytesMut, Data};
use actix_web::{FromRequest, HttpRequest, dev};
use futures_util::Stream;
use secrecy::ExposeSecret as _;

use super::refusal::RefusalError;
use super::state::CallbackState;
use crate::config::{Account, Config};
use crate::server::target;
use crate::store::SignedRequest;
use crate::telemetry::metrics::{Metrics, Uses};
use crate::twilio::signature::{self, Body, Key, PublicUrl, SignatureSettings};

/// The most bytes of a body that are read; Twilio's callbacks are below 2 KiB.
pub const BODY_LIMIT: usize = 64 * 1024;

/// Kept with a callback beside its form: what was signed with, and what tells a retry.
const KEPT_HEADERS: [&str; 4] = [
    "content-type",
    "x-twilio-signature",
    "x-twilio-webhooks-signature-settings",
    "i-twilio-idempotency-token",
];

/// A form that Twilio signed. The only way to have one is to verify a request.
pub struct SignedForm {
    /// The `acquire_account_id` of the account whose key signed it.
    pub account: String,
    /// Decoded, in order and with repeats.
    pub fields: Vec<(String, String)>,
    pub request: SignedRequest,
    /// When its head had arrived.
    pub began: Instant,
    _verified: Proof,
}

/// Keeps others from building a [`SignedForm`].
struct Proof;

impl SignedForm {
    /// The first value of a field, which nothing but the signature has been checked of.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        let field = self.fields.iter().find(|(other, _)| other == name);
        field.map(|(_, value)| value.as_str())
    }
}

/// The keys of each account, ready for use.
#[derive(Debug)]
pub struct Verifier {
    public_urls: Vec<PublicUrl>,
    /// By the `AccountSid` that they are for; `None` takes whatever its keys signed.
    accounts: HashMap<Option<String>, AccountKeys>,
}

struct AccountKeys {
    acquire_account_id: String,
    auth_tokens: Keys,
    shared_keys: HashMap<String, Keys>,
}

/// Keys that may have signed a request, and how often each has.
#[derive(Default)]
struct Keys {
    keys: Vec<Key>,
    uses: Vec<Uses>,
}

impl std::fmt::Debug for AccountKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccountKeys").finish_non_exhaustive()
    }
}

impl Verifier {
    #[must_use]
    pub fn new(config: &Config, metrics: &Metrics) -> Self {
        metrics.forget_signing_keys();
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

    /// Each path that may stand before the served one: none, and those of the public URLs.
    pub fn prefixes(&self) -> BTreeSet<&str> {
        self.public_urls
            .iter()
            .map(PublicUrl::prefix)
            .chain([""])
            .collect()
    }

    /// The signed form of a request whose signature holds for one of the public URLs.
    pub fn verify(
        &self,
        target: &str,
        headers: &HeaderMap,
        body: Bytes,
        began: Instant,
    ) -> Result<SignedForm, RefusalError> {
        let fields = signature::fields(&body);
        let account = self.account(&fields)?;
        let keys = account.keys(headers)?;
        let signature = text(headers, "x-twilio-signature").ok_or(RefusalError::NoSignature)?;
        let (url, signer) = self
            .public_urls
            .iter()
            .map(|public_url| public_url.signed_url(target))
            .find_map(|url| {
                let signer = signature::signer(&keys.keys, &url, Body::Form(&fields), signature);
                signer.map(|signer| (url, signer))
            })
            .ok_or(RefusalError::WrongSignature)?;
        keys.uses[signer].one_more();
        Ok(SignedForm {
            account: account.acquire_account_id.clone(),
            fields,
            request: SignedRequest {
                url,
                headers: kept(headers),
                body,
            },
            began,
            _verified: Proof,
        })
    }

    /// Chosen by what the form says before it is verified: a wrong choice can only fail. The format
    /// is looked at afterwards, as that of all fields.
    fn account(&self, fields: &[(String, String)]) -> Result<&AccountKeys, RefusalError> {
        let sid = fields.iter().find(|(name, _)| name == "AccountSid");
        let (_, sid) = sid.ok_or(RefusalError::NoAccountSid)?;
        self.accounts
            .get(&Some(sid.clone()))
            .or_else(|| self.accounts.get(&None))
            .ok_or(RefusalError::UnknownAccount)
    }
}

impl AccountKeys {
    /// Tokens are counted by their position in the list, shared keys by theirs among those.
    fn of(account: &Account, metrics: &Metrics) -> Self {
        let name = &account.acquire_account_id;
        let mut auth_tokens = Keys::default();
        for (position, token) in (1..).zip(&account.auth_tokens) {
            let uses = metrics.signing_key(name, format!("{position}"));
            auth_tokens.add(Key::auth_token(token.expose_secret()), uses);
        }
        let mut shared_keys: HashMap<String, Keys> = HashMap::new();
        for (position, (id, secret)) in (1..).zip(&account.shared_keys) {
            let uses = metrics.signing_key(name, format!("shared-{position}"));
            let keys = shared_keys.entry(id.clone()).or_default();
            keys.add(Key::shared_key(secret.expose_secret()), uses);
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
            return Ok(&self.auth_tokens);
        };
        let settings = SignatureSettings::parse(settings.to_str().unwrap_or_default())?;
        self.shared_keys
            .get(settings.key)
            .ok_or(RefusalError::UnknownSharedKey)
    }
}

impl Keys {
    fn add(&mut self, key: Key, uses: Uses) {
        self.keys.push(key);
        self.uses.push(uses);
    }
}

impl FromRequest for SignedForm {
    type Error = RefusalError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, RefusalError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut dev::Payload) -> Self::Future {
        let request = request.clone();
        let payload = payload.take();
        Box::pin(async move {
            let Some(intake) = request.app_data::<Data<CallbackState>>() else {
                return Err(RefusalError::Unavailable(
                    "the routes lack their intake".to_owned(),
                ));
            };
            let mut body = Bytes::new();
            let form = read(&request, payload, intake, &mut body).await;
            form.inspect_err(|refusal| intake.refused_with(&request, None, &body, refusal))
        })
    }
}

async fn read(
    request: &HttpRequest,
    payload: dev::Payload,
    intake: &CallbackState,
    body: &mut Bytes,
) -> Result<SignedForm, RefusalError> {
    let began = Instant::now();
    expect_form(request.headers())?;
    *body = tokio::time::timeout(intake.request_timeout, whole_body(payload))
        .await
        .map_err(|_| RefusalError::TooSlow)??;
    let verifier = Arc::clone(&intake.verifier.borrow());
    verifier.verify(target(request), request.headers(), body.clone(), began)
}

/// Twilio sends the media type with and without parameters; only its essence counts.
fn expect_form(headers: &HeaderMap) -> Result<(), RefusalError> {
    let content_type = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let essence = content_type
        .and_then(|text| text.split(';').next())
        .unwrap_or_default()
        .trim();
    if essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        Ok(())
    } else {
        Err(RefusalError::NotAForm)
    }
}

/// The body in memory of its own: a piece as it arrives is a part of the connection's buffer, and
/// keeping it would make the connection take a new one.
async fn whole_body(payload: dev::Payload) -> Result<Bytes, RefusalError> {
    let mut payload = std::pin::pin!(payload);
    let mut body = BytesMut::new();
    while let Some(piece) = poll_fn(|cx| payload.as_mut().poll_next(cx)).await {
        body.extend_from_slice(&piece.map_err(|_| RefusalError::Unreadable)?);
        if body.len() > BODY_LIMIT {
            return Err(RefusalError::TooLarge);
        }
    }
    Ok(body.freeze())
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn kept(headers: &HeaderMap) -> String {
    let mut lines = String::with_capacity(192);
    for name in KEPT_HEADERS {
        if let Some(value) = text(headers, name) {
            lines.extend([name, ": ", value, "\n"]);
        }
    }
    lines
}
