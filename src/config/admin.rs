//! `[admin]`: the admin listener, which serves probes, metrics, the API and the console.

use std::net::SocketAddr;

use secrecy::SecretString;

use super::reader::SettingsReader;
use super::server::socket_address;
use super::setting::restart;

/// Applies on reload, unless it is removed.
const TOKEN: &str = "admin.token";

/// The admin listener.
#[derive(Clone, Debug)]
pub struct AdminSettings {
    pub listen: SocketAddr,
    /// Always set if `listen` is not a loopback address.
    pub token: Option<SecretString>,
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
    Some(AdminSettings { listen, token })
}

pub(super) fn listen(reader: &mut SettingsReader) -> Option<SocketAddr> {
    reader.text(restart("admin.listen"), socket_address)
}

impl AdminSettings {
    /// These settings with what `new` changes in a running bridge, and the keys that keep their old
    /// values this time although a reload usually applies them.
    pub(super) fn reload(&self, new: Self) -> (Self, Vec<&'static str>) {
        let mut admin = self.clone();
        // The listener may be reachable from other hosts, so a token stays required.
        if self.token.is_some() && new.token.is_none() {
            return (admin, vec![TOKEN]);
        }
        admin.token = new.token;
        (admin, Vec::new())
    }
}
