//! Reads the settings that name a forward proxy.

use super::reader::SettingsReader;
use crate::net::proxy::Proxy;

/// A proxy may hold a password, so its setting is read and shown as a secret.
pub(super) fn read(reader: &mut SettingsReader, key: &str) -> Option<Proxy> {
    let text = reader.secret(key)?;
    let proxy = Proxy::parse(&text);
    if proxy.is_none() {
        reader.mistake(format!(
            "{key} (a secret, not shown) must be http://HOST:PORT or http://USER:PASSWORD@HOST:PORT, with %40 for an @ in the password and so on"
        ));
    }
    proxy
}
