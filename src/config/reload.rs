//! Which settings a running bridge takes from a configuration that was read again.
//!
//! Each section decides, per key, whether a change needs a restart: see `setting.rs`. The bridge
//! itself is changed in `app/reload.rs`.

use super::Config;
use super::setting::{Applies, Setting};
use crate::domain::plan::{RecordingRules, Rules};

/// The configuration of a running bridge after a reload.
#[derive(Debug)]
pub struct ReloadDiff {
    pub config: Config,
    /// Keys of the settings that changed and apply now.
    pub applied: Vec<String>,
    /// Keys of the settings that changed and apply after a restart.
    pub needs_restart: Vec<String>,
}

impl Config {
    /// This configuration with every setting of `new` that can change in a running bridge.
    #[must_use]
    pub fn reload(&self, new: Self) -> ReloadDiff {
        let (server, mut kept) = self.server.reload(new.server);
        let (admin, kept_of_admin) = self.admin.reload(new.admin);
        kept.extend(kept_of_admin);
        let needs_restart = |setting: &Setting| {
            setting.applies == Applies::AfterRestart || kept.contains(&setting.key.as_str())
        };

        let mut changed = changed(&self.settings, &new.settings);
        changed.sort_unstable_by(|one, other| one.key.cmp(&other.key));
        let (waiting, applied): (Vec<&Setting>, Vec<_>) = changed
            .into_iter()
            .partition(|setting| needs_restart(setting));
        let keys = |settings: Vec<&Setting>| settings.iter().map(|of| of.key.clone()).collect();
        let (applied, waiting) = (keys(applied), keys(waiting));

        let reloaded = new.settings.iter().filter(|of| !needs_restart(of));
        let fixed = self.settings.iter().filter(|of| needs_restart(of));
        let settings = reloaded.chain(fixed).cloned().collect();
        let config = Self {
            server,
            admin,
            acquire: new.acquire,
            delivery: new.delivery,
            accounts: new.accounts,
            rules: Rules {
                recordings: RecordingRules {
                    links: self.rules.recordings.links.clone(),
                    ..new.rules.recordings
                },
                ..new.rules
            },
            directory_file: new.directory_file,
            refused: new.refused,
            store: self.store.clone(),
            playback: self.playback.clone(),
            log: self.log.clone(),
            settings,
        };
        ReloadDiff {
            config,
            applied,
            needs_restart: waiting,
        }
    }
}

/// The settings with different values, or that only one of the two has: each once.
fn changed<'a>(old: &'a [Setting], new: &'a [Setting]) -> Vec<&'a Setting> {
    let fingerprint = |of: &[Setting], key: &str| {
        let setting = of.iter().find(|setting| setting.key == key);
        setting.map_or(0, |setting| setting.fingerprint)
    };
    let only_new = new
        .iter()
        .filter(|setting| old.iter().all(|of| of.key != setting.key));
    old.iter()
        .chain(only_new)
        .filter(|setting| fingerprint(old, &setting.key) != fingerprint(new, &setting.key))
        .collect()
}
