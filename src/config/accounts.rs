//! `[[accounts]]`, or one account from the environment: the keys of Twilio and of Acquire.
//!
//! Whether a key is right is not known here: Twilio and Acquire decide that at the first request.

use std::collections::HashMap;

use secrecy::{ExposeSecret as _, SecretString};

use super::reader::SettingsReader;
use crate::twilio::AccountSid;
use crate::twilio::auth_token::{self, SecretFormError};

/// The limit of a DNS label (RFC 1035, section 2.3.4): the name becomes part of Acquire's host name.
const MAX_NAME: usize = 63;

/// The keys that the only account requires.
const AUTH_TOKENS: &str = "twilio.auth_tokens";
const ACCOUNT_ID: &str = "acquire.account_id";

/// Settings of the only account, each with its replacement in an entry of `[[accounts]]`.
const OF_ONE_ACCOUNT: [(&str, &str); 9] = [
    ("twilio.account_sid", "twilio_account_sid"),
    (AUTH_TOKENS, "twilio_auth_tokens"),
    ("twilio.auth_tokens_file", "twilio_auth_tokens_file"),
    (ACCOUNT_ID, "acquire_account_id"),
    ("twilio.api_key_sid", "twilio_api_key_sid"),
    ("twilio.api_key_secret", "twilio_api_key_secret"),
    ("twilio.api_key_secret_file", "twilio_api_key_secret_file"),
    ("acquire.api_key", "acquire_api_key"),
    ("acquire.api_key_file", "acquire_api_key_file"),
];

/// One Twilio account and the Acquire account that receives its calls.
#[derive(Clone, Debug)]
pub struct Account {
    /// `None` if it is the only account: then it accepts every `AccountSid` that its token signs.
    pub twilio_account_sid: Option<AccountSid>,
    /// HMAC-SHA1 keys, all active; at least one, unless there are `shared_keys`.
    pub auth_tokens: Vec<SecretString>,
    /// HMAC-SHA256 keys with their ids at Twilio.
    pub shared_keys: Vec<(String, SecretString)>,
    /// Fetches recordings and reads lists; always set with
    /// [`Config::playback`](super::Config::playback).
    pub twilio_api_key: Option<ApiKey>,
    pub acquire_account_id: String,
    pub acquire_api_key: Option<SecretString>,
}

/// A sentence for each secret that has not the form of its kind, without the secret. The bridge starts with
/// it, because a fake Twilio accepts any token.
pub fn doubtful_secrets(accounts: &[Account]) -> Vec<String> {
    let mut doubts = Vec::new();
    for (number, account) in (1..).zip(accounts) {
        let is_only = account.twilio_account_sid.is_none();
        let mut doubt = |[of_only, of_entry]: [&str; 2], checked: Result<(), SecretFormError>| {
            let Err(why) = checked else { return };
            let key = if is_only {
                of_only.to_owned()
            } else {
                format!("accounts[{number}].{of_entry}")
            };
            doubts.push(format!("{key} (a secret, not shown) {why}"));
        };
        for token in &account.auth_tokens {
            let keys = [
                "twilio.auth_tokens (TWILIO_AUTH_TOKEN)",
                "twilio_auth_tokens",
            ];
            doubt(keys, auth_token::check(token.expose_secret()));
        }
        if let Some(key) = &account.twilio_api_key {
            let keys = ["twilio.api_key_secret", "twilio_api_key_secret"];
            doubt(keys, auth_token::check_secret(key.secret.expose_secret()));
        }
        if let Some(key) = &account.acquire_api_key {
            let keys = ["acquire.api_key", "acquire_api_key"];
            doubt(keys, auth_token::check_secret(key.expose_secret()));
        }
    }
    doubts
}

/// An API key of a Twilio account.
#[derive(Clone, Debug)]
pub struct ApiKey {
    pub sid: String,
    pub secret: SecretString,
}

/// Reads the accounts; `entries` is the number of `[[accounts]]` in the file.
pub(super) fn read(reader: &mut SettingsReader, entries: usize) -> Option<Vec<Account>> {
    if entries == 0 {
        return Some(vec![only_account(reader)?]);
    }
    for (key, instead) in OF_ONE_ACCOUNT {
        if reader.is_set(key) {
            let name = reader.name(key);
            reader.mistake(format!(
                "{name} must not be set together with [[accounts]], because it does not name an \
                 account; set {instead} in each entry instead"
            ));
        }
    }
    let accounts: Vec<Option<Account>> =
        (1..=entries).map(|number| entry(reader, number)).collect();
    refuse_repeats(reader, &accounts);
    accounts.into_iter().collect()
}

fn only_account(reader: &mut SettingsReader) -> Option<Account> {
    let tokens = reader.secrets(AUTH_TOKENS);
    if tokens.is_none() {
        reader.mistake(
            "no Twilio auth token: set TWILIO_AUTH_TOKEN, or twilio.auth_tokens_file or [[accounts]] in \
             a file",
        );
    }
    let name = reader.text(ACCOUNT_ID, account_name);
    if !reader.is_set(ACCOUNT_ID) {
        reader.mistake(
            "no Acquire account: set ACQUIRE_ACCOUNT_ID, or acquire.account_id in a file, to NAME as in \
             https://NAME.acquire.io",
        );
    }
    let twilio_api_key = api_key(reader, "twilio.api_key");
    let api_key = reader.secret("acquire.api_key");
    Some(Account {
        twilio_account_sid: None,
        auth_tokens: tokens?.into_iter().map(SecretString::from).collect(),
        shared_keys: Vec::new(),
        twilio_api_key,
        acquire_account_id: name?,
        acquire_api_key: api_key.map(SecretString::from),
    })
}

fn entry(reader: &mut SettingsReader, number: usize) -> Option<Account> {
    let key = |name: &str| format!("accounts[{number}].{name}");
    let sid = reader.text(&key("twilio_account_sid"), |text| {
        AccountSid::parse(text).map_err(|why| why.to_string())
    });
    let tokens = reader.secrets(&key("twilio_auth_tokens"));
    let shared_keys = reader.secret_table(&key("twilio_shared_keys"));
    let name = reader.text(&key("acquire_account_id"), account_name);
    let twilio_api_key = api_key(reader, &key("twilio_api_key"));
    let api_key = reader.secret(&key("acquire_api_key"));

    for required in ["twilio_account_sid", "acquire_account_id"] {
        if !reader.is_set(&key(required)) {
            reader.mistake(format!("{} is not set", key(required)));
        }
    }
    if tokens.is_none() && shared_keys.is_none() {
        reader.mistake(format!(
            "accounts[{number}] has no Twilio auth token: set twilio_auth_tokens, \
             twilio_shared_keys, or one of them with _file"
        ));
    }
    let shared_key = |(id, secret): (String, String)| (id, SecretString::from(secret));
    Some(Account {
        twilio_account_sid: Some(sid?),
        auth_tokens: tokens
            .unwrap_or_default()
            .into_iter()
            .map(SecretString::from)
            .collect(),
        shared_keys: shared_keys
            .unwrap_or_default()
            .into_iter()
            .map(shared_key)
            .collect(),
        twilio_api_key,
        acquire_account_id: name?,
        acquire_api_key: api_key.map(SecretString::from),
    })
}

/// The pair `KEY_sid` and `KEY_secret`.
fn api_key(reader: &mut SettingsReader, key: &str) -> Option<ApiKey> {
    let (sid_key, secret_key) = (format!("{key}_sid"), format!("{key}_secret"));
    let sid = reader.text(&sid_key, api_key_sid);
    let secret = reader.secret(&secret_key);
    let has_secret = reader.is_set(&secret_key) || reader.is_set(&format!("{secret_key}_file"));
    if reader.is_set(&sid_key) != has_secret {
        reader.mistake(format!(
            "{sid_key} and {secret_key} belong together; set both or neither"
        ));
    }
    Some(ApiKey {
        sid: sid?,
        // Empty if its file cannot be read, which is reported already.
        secret: SecretString::from(secret.unwrap_or_default()),
    })
}

fn api_key_sid(text: &str) -> Result<String, String> {
    match text.strip_prefix("SK") {
        Some(hex) if hex.len() == 32 && hex.bytes().all(|b| b.is_ascii_hexdigit()) => {
            Ok(text.to_owned())
        }
        _ => Err("must be SK followed by 32 hexadecimal digits".to_owned()),
    }
}

fn refuse_repeats(reader: &mut SettingsReader, accounts: &[Option<Account>]) {
    let mut seen: HashMap<&AccountSid, usize> = HashMap::new();
    for (number, account) in (1..).zip(accounts) {
        let Some(sid) = account.as_ref().and_then(|a| a.twilio_account_sid.as_ref()) else {
            continue;
        };
        if let Some(first) = seen.get(sid) {
            reader.mistake(format!(
                "accounts[{number}].twilio_account_sid = \"{sid}\" is already in accounts[{first}]; \
                 each SID may appear only once"
            ));
        } else {
            seen.insert(sid, number);
        }
    }
}

fn account_name(text: &str) -> Result<String, String> {
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    let is_name = (1..=MAX_NAME).contains(&text.len())
        && text.bytes().all(is_allowed)
        && !text.starts_with('-')
        && !text.ends_with('-');
    if is_name {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "must be only the account's name, as in https://NAME.acquire.io: 1 to {MAX_NAME} \
             letters, digits and inner hyphens"
        ))
    }
}
