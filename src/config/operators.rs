//! `[[operators]]`: who may use the admin listener, and how an operator signs in.

use ipnet::IpNet;
use secrecy::{ExposeSecret as _, SecretString};

use super::reader::SettingsReader;
use super::server::network;

/// The name of the operator of `admin.token`.
const ADMIN: &str = "admin";

/// Names of the audit log's own actors.
const RESERVED: [&str; 2] = ["local", "system"];

/// The most characters of a name.
const MAX_NAME: usize = 100;

words! {
    /// The permissions of a user of the admin listener.
    #[derive(PartialOrd, Ord)]
    pub enum Role {
        /// Reads everything, with personal data masked.
        Viewer = "viewer",
        /// Also sees personal data, and changes calls.
        Operator = "operator",
    }
}

/// A user of the admin listener.
#[derive(Clone, Debug)]
pub struct Operator {
    pub name: String,
    /// Without one the operator signs in through `admin.user_header` only.
    pub token: Option<SecretString>,
    pub role: Role,
}

/// An authenticating proxy in front of the admin listener.
#[derive(Clone, Debug)]
pub struct SignInProxy {
    /// The header with the user's name, in lower case.
    pub header: String,
    /// From other addresses the header is ignored. At least one.
    pub trusted: Vec<IpNet>,
}

/// Reads the operators; the first is that of `admin.token`, if there is one.
pub(super) fn read(reader: &mut SettingsReader, admin: Option<&SecretString>) -> Vec<Operator> {
    let admin = admin.map(|token| Operator {
        name: ADMIN.to_owned(),
        token: Some(token.clone()),
        role: Role::Operator,
    });
    let mut operators: Vec<Operator> = admin.into_iter().collect();
    for number in 1..=reader.operators {
        let Some(operator) = entry(reader, number) else {
            continue;
        };
        let secret = |of: &Operator| of.token.as_ref().map(|of| of.expose_secret().to_owned());
        let token = secret(&operator);
        for (key, is_repeated) in [
            ("name", operators.iter().any(|of| of.name == operator.name)),
            (
                "token",
                token.is_some() && operators.iter().any(|of| secret(of) == token),
            ),
        ] {
            if is_repeated {
                reader.mistake(format!(
                    "operators[{number}].{key} is that of another operator, or of admin.token; the audit \
                     log could not distinguish them"
                ));
            }
        }
        operators.push(operator);
    }
    operators
}

fn entry(reader: &mut SettingsReader, number: usize) -> Option<Operator> {
    let key = |name: &str| format!("operators[{number}].{name}");
    let name = reader.text(&key("name"), name);
    let token = reader.secret(&key("token")).map(SecretString::from);
    let role = reader.choice(&key("role"), &Role::WORDS);
    for required in ["name", "role"] {
        if !reader.is_set(&key(required)) {
            reader.mistake(format!("{} is not set", key(required)));
        }
    }
    let has_token = reader.is_set(&key("token")) || reader.is_set(&key("token_file"));
    if !has_token && !reader.is_set("admin.user_header") {
        reader.mistake(format!(
            "operators[{number}] cannot sign in: set token or token_file, or admin.user_header"
        ));
    }
    let (name, role) = (name?, role?);
    Some(Operator { name, token, role })
}

fn name(text: &str) -> Result<String, String> {
    let is_name = (1..=MAX_NAME).contains(&text.chars().count())
        && !text.chars().any(char::is_control)
        && text.trim() == text
        && !RESERVED.contains(&text);
    is_name
        .then(|| text.to_owned())
        .ok_or_else(|| format!("must have 1 to {MAX_NAME} characters, and not be local or system"))
}

/// `admin.user_header` and `admin.trusted_proxies`, which belong together.
pub(super) fn sign_in_proxy(reader: &mut SettingsReader) -> Option<SignInProxy> {
    const KEYS: [&str; 2] = ["admin.user_header", "admin.trusted_proxies"];
    let header = reader.text(KEYS[0], header_name);
    let trusted = reader.list(KEYS[1], network);
    if reader.is_set(KEYS[0]) != reader.is_set(KEYS[1]) {
        reader.mistake(format!(
            "{} and {} belong together; set both or neither",
            KEYS[0], KEYS[1]
        ));
    }
    let (header, trusted) = (header?, trusted?);
    Some(SignInProxy { header, trusted })
}

fn header_name(text: &str) -> Result<String, String> {
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if !text.is_empty() && text.bytes().all(is_token) && !text.eq_ignore_ascii_case("host") {
        Ok(text.to_ascii_lowercase())
    } else {
        Err("must be the name of a header, such as X-Forwarded-User".to_owned())
    }
}
