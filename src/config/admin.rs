//! `[admin]`: the admin listener, which serves probes, metrics, the API and the console.

use std::net::SocketAddr;

use secrecy::{ExposeSecret as _, SecretString};

use super::reader::SettingsReader;
use super::server::socket_address;
use super::setting::restart;

/// Applies on reload, unless it is removed.
const TOKEN: &str = "admin.token";

/// The least length of a token where other hosts can reach the listener.
const MIN_TOKEN_LENGTH: usize = 20;

/// The admin listener.
#[derive(Clone, Debug)]
pub struct AdminSettings {
    pub listen: SocketAddr,
    /// Always set if `listen` is not a loopback address.
    pub token: Option<SecretString>,
    /// Further host names of the listener, in lower case.
    pub hosts: Vec<String>,
}

/// Reads the section.
pub(super) fn read(reader: &mut SettingsReader) -> Option<AdminSettings> {
    let listen = listen(reader);
    let token_is_set = reader.is_set(TOKEN) || reader.is_set("admin.token_file");
    let token = reader.secret(TOKEN).map(SecretString::from);
    let listen = listen?;
    if !listen.ip().is_loopback() && !token_is_set {
        let name = reader.name("admin.listen");
        reader.mistake(format!(
            "{name} = \"{listen}\" is not a loopback address: set admin.token or \
             admin.token_file, or listen on 127.0.0.1"
        ));
    }
    if !listen.ip().is_loopback() && token.as_ref().is_some_and(|token| !is_strong(token)) {
        let (name, address) = (reader.name(TOKEN), reader.name("admin.listen"));
        reader.mistake(format!(
            "{name} (a secret, not shown) must have at least {MIN_TOKEN_LENGTH} characters: \
             {address} = \"{listen}\" is not a loopback address, so other hosts can guess \
             admin.token"
        ));
    }
    let hosts = reader.list("admin.hosts", host_name).unwrap_or_default();
    Some(AdminSettings {
        listen,
        token,
        hosts,
    })
}

fn is_strong(token: &SecretString) -> bool {
    token.expose_secret().len() >= MIN_TOKEN_LENGTH
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
    /// Whether the token may protect a listener that other hosts can reach.
    #[must_use]
    pub fn has_strong_token(&self) -> bool {
        self.token.as_ref().is_some_and(is_strong)
    }

    /// These settings with what `new` changes in a running bridge, and the keys that keep their old
    /// values this time although a reload usually applies them.
    pub(super) fn reload(&self, new: Self) -> (Self, Vec<&'static str>) {
        let mut admin = self.clone();
        // The listener may be reachable from other hosts, so a token stays required.
        if self.token.is_some() && new.token.is_none() {
            admin.hosts = new.hosts;
            return (admin, vec![TOKEN]);
        }
        admin.token = new.token;
        admin.hosts = new.hosts;
        (admin, Vec::new())
    }
}
