//! The settings of a forward proxy: `acquire.proxy` and `twilio.proxy`.
//!
//! Addresses are parsed in `net/proxy.rs`; tunnels are opened in `net/proxy_tunnel.rs`.

use super::reader::SettingsReader;
use super::setting::SettingKey;
use crate::net::proxy::Proxy;

/// Reads the proxy as a secret, because its URL may contain a password.
pub(super) fn read<'k>(
    reader: &mut SettingsReader,
    key: impl Into<SettingKey<'k>>,
) -> Option<Proxy> {
    let key = key.into();
    let text = reader.secret(key)?;
    let proxy = Proxy::parse(&text);
    if proxy.is_none() {
        reader.mistake(format!(
            "{} (a secret, not shown) must be http://HOST:PORT or \
             http://USER:PASSWORD@HOST:PORT, with special characters percent-encoded (@ as %40)",
            key.name
        ));
    }
    proxy
}
