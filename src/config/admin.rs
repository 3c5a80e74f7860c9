//! `[admin]`: the admin listener, which serves probes, metrics, the API and the console.

use std::net::SocketAddr;

use secrecy::{ExposeSecret as _, SecretString};

use super::operators::{self, Operator, SignInProxy};
use super::reader::SettingsReader;
use super::server::socket_address;
use super::setting::restart;
use crate::net::http_url::HttpUrl;

const TOKEN: &str = "admin.token";

/// How users sign in. Applies on reload, unless nothing would be left of it.
const SIGN_IN: [&str; 4] = [
    TOKEN,
    "admin.user_header",
    "admin.trusted_proxies",
    "operators[",
];

/// The least length of a token where other hosts can reach the listener.
const MIN_TOKEN_LENGTH: usize = 20;

/// The admin listener.
#[derive(Clone, Debug)]
pub struct AdminSettings {
    pub listen: SocketAddr,
    /// Of the operator `admin`. If `listen` is not a loopback address, users sign in with this, as one of
    /// the operators, or through the proxy.
    pub token: Option<SecretString>,
    /// With that of `token`.
    pub operators: Vec<Operator>,
    pub proxy: Option<SignInProxy>,
    /// Further host names of the listener, in lower case.
    pub hosts: Vec<String>,
    /// Where operators open the console, if it is not `listen`. Does not end with `/`.
    pub url: Option<String>,
}

/// Reads the section.
pub(super) fn read(reader: &mut SettingsReader) -> Option<AdminSettings> {
    let listen = listen(reader);
    let token_is_set = reader.is_set(TOKEN) || reader.is_set("admin.token_file");
    let token = reader.secret(TOKEN).map(SecretString::from);
    let operators = operators::read(reader, token.as_ref());
    let proxy = operators::sign_in_proxy(reader);
    let is_set = token_is_set || reader.operators > 0 || reader.is_set("admin.user_header");
    let listen = listen?;
    if !listen.ip().is_loopback() && !is_set {
        let name = reader.name("admin.listen");
        reader.mistake(format!(
            "{name} = \"{listen}\" is not a loopback address: set admin.token or \
             admin.token_file, or [[operators]], or listen on 127.0.0.1"
        ));
    }
    let is_weak = |of: &&Operator| !listen.ip().is_loopback() && !of.is_strong();
    for operator in operators.iter().filter(is_weak) {
        let address = reader.name("admin.listen");
        let (name, guessed) = match (&token, &*operator.name) {
            (Some(_), "admin") => (reader.name(TOKEN), "admin.token".to_owned()),
            (_, name) => (format!("the token of operator {name}"), "it".to_owned()),
        };
        reader.mistake(format!(
            "{name} (a secret, not shown) must have at least {MIN_TOKEN_LENGTH} characters: \
             {address} = \"{listen}\" is not a loopback address, so other hosts can guess {guessed}"
        ));
    }
    let hosts = reader.list("admin.hosts", host_name).unwrap_or_default();
    let url = reader.text("admin.url", |text| {
        HttpUrl::parse(text)?;
        Ok(text.trim_end_matches('/').to_owned())
    });
    Some(AdminSettings {
        listen,
        token,
        operators,
        proxy,
        hosts,
        url,
    })
}

impl Operator {
    /// Without a token there is none to guess.
    fn is_strong(&self) -> bool {
        let token = self.token.as_ref();
        token.is_none_or(|token| token.expose_secret().len() >= MIN_TOKEN_LENGTH)
    }
}

fn host_name(text: &str) -> Result<String, String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if !text.is_empty() && text.chars().all(is_part) {
        Ok(text.trim_end_matches('.').to_ascii_lowercase())
    } else {
        Err("must be a host name without scheme and port, such as bridge.internal".to_owned())
    }
}

pub(super) fn listen(reader: &mut SettingsReader) -> Option<SocketAddr> {
    reader.text(restart("admin.listen"), socket_address)
}

impl AdminSettings {
    /// Whether everything but the probes needs a sign-in.
    pub fn needs_sign_in(&self) -> bool {
        !self.operators.is_empty() || self.proxy.is_some()
    }

    /// Whether the sign-in may protect a listener that other hosts can reach.
    pub fn has_strong_sign_in(&self) -> bool {
        self.needs_sign_in() && self.operators.iter().all(Operator::is_strong)
    }

    /// The URL of the console, for links. Does not end with `/`.
    pub fn console_url(&self) -> String {
        let listen = || format!("http://{}", self.listen);
        self.url.clone().unwrap_or_else(listen)
    }

    /// These settings with what `new` changes in a running bridge, and the keys that keep their old
    /// values this time although a reload usually applies them.
    pub(super) fn reload(&self, new: Self) -> (Self, Vec<&'static str>) {
        let mut admin = self.clone();
        admin.hosts.clone_from(&new.hosts);
        admin.url.clone_from(&new.url);
        // The listener may be reachable from other hosts, so a sign-in stays required.
        if self.needs_sign_in() && !new.needs_sign_in() {
            return (admin, SIGN_IN.to_vec());
        }
        let listen = self.listen;
        (Self { listen, ..new }, Vec::new())
    }
}
