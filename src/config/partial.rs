//! Readers of the parts that single commands need, for [`super::load_part`].
//!
//! Other settings are not checked: an operator who may not read the secrets can still run `show`.

use std::net::SocketAddr;

use super::admin::{self, AdminSettings};
use super::reader::SettingsReader;
use super::report::{self, ReportSettings};
use super::store::{self, SpoolSettings, StoreUrl};
use super::{rules, server};
use crate::domain::plan::Rules;
use crate::twilio::signature::PublicUrl;

/// The store, and the rules that plan its calls. Reads no secret except that of the store.
pub fn store_and_rules(reader: &mut SettingsReader) -> Option<(StoreUrl, Rules)> {
    let url = store::url(reader);
    let (_, rules) = urls_and_rules(reader)?;
    Some((url?, rules))
}

/// The public URLs, of which there may be none, and the rules: enough to sign and to plan.
pub fn urls_and_rules(reader: &mut SettingsReader) -> Option<(Vec<PublicUrl>, Rules)> {
    let public_urls = server::public_urls(reader).unwrap_or_default();
    let rules = rules::without_secrets(reader, &public_urls);
    Some((public_urls, rules?))
}

/// The address of the admin listener.
pub fn admin_listen(reader: &mut SettingsReader) -> Option<SocketAddr> {
    admin::listen(reader)
}

/// The admin listener with its token.
pub fn admin(reader: &mut SettingsReader) -> Option<AdminSettings> {
    admin::read(reader)
}

/// The store, the admin listener and the rules: enough to change stored calls.
pub fn act(reader: &mut SettingsReader) -> Option<ActSettings> {
    let admin = admin(reader);
    let (store, rules) = store_and_rules(reader)?;
    let admin = admin?;
    Some(ActSettings {
        store,
        admin,
        rules,
    })
}

/// The settings of commands that change stored calls.
#[derive(Clone, Debug)]
pub struct ActSettings {
    pub store: StoreUrl,
    pub admin: AdminSettings,
    pub rules: Rules,
}

/// `[report]`.
pub fn report(reader: &mut SettingsReader) -> Option<ReportSettings> {
    report::read(reader)
}

/// The spool.
pub fn spool(reader: &mut SettingsReader) -> Option<SpoolSettings> {
    store::spool(reader)
}
