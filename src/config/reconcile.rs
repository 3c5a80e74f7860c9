//! `[reconcile]` and `[canary]`: the comparison with Twilio's own records, and the bridge's own test of
//! its path from Twilio.

use std::time::Duration;

use super::accounts::Account;
use super::duration::{self, hours, minutes, seconds};
use super::reader::SettingsReader;
use super::setting::{SettingKey, restart};
use super::store::StoreSettings;
use crate::domain::reconcile::{CallScope, DURATION_WAIT, Scope, TrunkScope, reach};
use crate::twilio::AccountSid;

/// How the store is compared with Twilio's own records.
#[derive(Clone, Debug)]
pub struct ReconcileSettings {
    /// Between two passes; `None`: only the command `reconcile` compares.
    pub every: Option<Duration>,
    /// A call that ended more recently is left to its callback.
    pub delay: Duration,
    /// Which calls are imported.
    pub scope: Scope,
    /// The account, if there are no `[[accounts]]`.
    pub account_sid: Option<AccountSid>,
    /// Between two canaries; `None`: no canary.
    pub canary_every: Option<Duration>,
}

impl ReconcileSettings {
    /// A warning, if the store removes calls before Twilio may have completed their records.
    pub fn doubt(&self, store: &StoreSettings) -> Option<String> {
        let reach = reach(store.shortest_retention());
        (self.every.is_some() && reach <= DURATION_WAIT).then(|| {
            let reach = duration::show(reach);
            format!(
                "reconcile compares only the calls of the last {reach}, because the store removes \
                 older ones (store.retention, store.parked_retention); Twilio may take 14 days to \
                 complete a record"
            )
        })
    }
}

/// Reads the sections.
pub(super) fn read(reader: &mut SettingsReader) -> Option<ReconcileSettings> {
    let every = off_or_duration(reader, restart("reconcile.every"));
    let delay = reader.duration(restart("reconcile.delay"), minutes(1)..=hours(24));
    let calls = reader.choice(restart("reconcile.calls"), &CallScope::WORDS);
    let trunks = reader.choice(restart("reconcile.trunks"), &TrunkScope::WORDS);
    let canary_every = off_or_duration(reader, restart("canary.every"));
    let sid = |text: &str| AccountSid::parse(text).map_err(|why| why.to_string());
    let account_sid = reader.text(restart("twilio.account_sid"), sid);
    Some(ReconcileSettings {
        every: Some(every?).filter(|time| !time.is_zero()),
        delay: delay?,
        scope: Scope {
            calls: calls?,
            trunks: trunks?,
        },
        account_sid,
        canary_every: Some(canary_every?).filter(|time| !time.is_zero()),
    })
}

/// Zero for "off".
fn off_or_duration(reader: &mut SettingsReader, key: SettingKey<'_>) -> Option<Duration> {
    reader.text(key, |text| {
        if text == "off" {
            return Ok(Duration::ZERO);
        }
        let parsed = duration::parse(text);
        let inside = parsed.filter(|time| (seconds(30)..=hours(24)).contains(time));
        inside.ok_or_else(|| "must be \"off\" or a duration from 30s to 24h".to_owned())
    })
}

/// Refuses passes without an API key, which reads Twilio's lists, and canaries without an auth token, which
/// signs them.
pub(super) fn require_keys(
    reader: &mut SettingsReader,
    settings: &ReconcileSettings,
    accounts: &[Account],
) {
    if settings.every.is_some() && accounts.iter().all(|of| of.twilio_api_key.is_none()) {
        let name = reader.name("reconcile.every");
        reader.mistake(format!(
            "{name} needs an API key that may list calls: set twilio.api_key_sid and \
             twilio.api_key_secret, or twilio_api_key_sid and twilio_api_key_secret in [[accounts]]"
        ));
    }
    let has_token = |of: &Account| !of.auth_tokens.is_empty();
    if settings.canary_every.is_some() && !accounts.iter().any(has_token) && !reader.has_gaps() {
        let name = reader.name("canary.every");
        reader.mistake(format!(
            "{name} needs an auth token that signs canaries: set twilio_auth_tokens in one of \
             [[accounts]]"
        ));
    }
}
