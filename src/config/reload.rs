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
    pub fn reload(&self, new: Self) -> ReloadDiff {
        let (server, mut kept) = self.server.reload(new.server);
        let (admin, kept_of_admin) = self.admin.reload(new.admin);
        kept.extend(kept_of_admin);
        let needs_restart = |setting: &Setting| {
            setting.applies == Applies::AfterRestart
                || kept.iter().any(|key| setting.key.starts_with(key))
        };

        let mut changed = changed(&self.settings, &new.settings);
        changed.sort_unstable_by(|one, other| one.key.cmp(&other.key));
        let (waiting, applied): (Vec<&Setting>, Vec<_>) = changed
            .into_iter()
            .partition(|setting| needs_restart(setting));
        let keys = |settings: Vec<&Setting>| settings.iter().map(|of| of.key.clone()).collect();
        let (applied, waiting) = (keys(applied), keys(waiting));

        // A setting that waits for a restart keeps its old value, so that the next reload reports
        // it again.
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
            twilio: self.twilio.clone(),
            reconcile: self.reconcile.clone(),
            report: self.report.clone(),
            notify: new.notify,
            heartbeat: new.heartbeat,
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

#[cfg(test)]
mod tests {
    use crate::config::explain;
    use crate::config::setting::Applies;

    const MANUAL: &str = include_str!("../config.default.toml");

    /// The keys that the head of the manual lists, `...` or `*` at the end for several.
    fn documented() -> Vec<String> {
        let head = MANUAL.replace("\n# ", " ");
        let (_, rest) = head.split_once("apply at once: ").expect("the list");
        let (list, _) = rest.split_once(". All others").expect("its end");
        let keys = list
            .split(", ")
            .filter_map(|item| item.split(' ').next_back());
        keys.map(ToOwned::to_owned).collect()
    }

    #[test]
    fn the_manual_lists_the_settings_that_apply_on_reload() {
        let environment = [
            ("TWILIO_AUTH_TOKEN", "made-up-token"),
            ("ACQUIRE_ACCOUNT_ID", "example"),
            ("BRIDGE__SERVER__PUBLIC_URL", "https://bridge.example.com"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()));
        let settings = explain(None, environment)
            .expect("a configuration")
            .settings;
        let documented = documented();
        for setting in settings.iter().filter(|of| of.key.contains('.')) {
            let key = &setting.key;
            let is_listed = documented.iter().any(|listed| {
                let start = listed.trim_end_matches("...").trim_end_matches('*');
                key == listed || (start != listed && key.starts_with(start))
            });
            let applies = setting.applies == Applies::OnReload;
            assert_eq!(applies, is_listed, "{key}");
        }
    }
}
