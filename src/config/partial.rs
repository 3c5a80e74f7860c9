//! Parts of the configuration, for commands that need no more of it; the rest is not judged.

use std::net::SocketAddr;
use std::path::Path;

use super::layers::Layers;
use super::load::{address, admin, public_urls};
use super::reader::SettingsReader;
use super::{AdminSettings, ConfigError, SpoolSettings, StoreUrl, rules, store};
use crate::domain::plan::Rules;
use crate::twilio::signature::PublicUrl;

/// What a look into the store needs. Other settings are not judged, so that an operator who may
/// not read the secrets can look.
pub fn load_for_reading(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<(StoreUrl, Rules), ConfigError> {
    let layers = Layers::read(file, environment).map_err(|why| ConfigError(vec![why]))?;
    let mut reader = SettingsReader::new(layers);
    let url = store::url(&mut reader);
    let public_urls = public_urls(&mut reader).unwrap_or_default();
    let rules = rules::to_show(&mut reader, &public_urls);
    reader.finish_part(url.zip(rules))
}

/// What signing and planning need, for commands that take in and deliver nothing: no account has to
/// be set up for them. The public URLs may be none.
pub fn load_for_dry_run(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<(Vec<PublicUrl>, Rules), ConfigError> {
    let layers = Layers::read(file, environment).map_err(|why| ConfigError(vec![why]))?;
    let mut reader = SettingsReader::new(layers);
    let public_urls = public_urls(&mut reader).unwrap_or_default();
    let rules = rules::to_show(&mut reader, &public_urls);
    reader.finish_part(rules.map(|rules| (public_urls, rules)))
}

/// Where a bridge that runs with these settings is asked how it does; no other setting is judged.
pub fn load_admin_listen(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<SocketAddr, ConfigError> {
    let layers = Layers::read(file, environment).map_err(|why| ConfigError(vec![why]))?;
    let mut reader = SettingsReader::new(layers);
    let listen = reader.text("admin.listen", address);
    reader.finish_part(listen)
}

/// As [`load_admin_listen`], with the token that the operator's side asks for.
pub fn load_admin(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<AdminSettings, ConfigError> {
    let layers = Layers::read(file, environment).map_err(|why| ConfigError(vec![why]))?;
    let mut reader = SettingsReader::new(layers);
    let admin = admin(&mut reader);
    reader.finish_part(admin)
}

/// Where callbacks are kept while a shared database is away; no other setting is judged.
pub fn load_spool(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<SpoolSettings, ConfigError> {
    let layers = Layers::read(file, environment).map_err(|why| ConfigError(vec![why]))?;
    let mut reader = SettingsReader::new(layers);
    let spool = store::spool(&mut reader);
    reader.finish_part(spool)
}
