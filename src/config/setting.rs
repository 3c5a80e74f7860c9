//! One setting as operators see it, and when a change of it applies.
//!
//! Values are not parsed here: see `reader.rs`.

use std::path::PathBuf;

use super::layers::SettingOrigin;
use super::toml_value::MASK;

/// One setting as an operator may see it: never a secret's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// `section.key`
    pub key: String,
    /// In TOML, or the number of secrets or entries; `None` if it is not set.
    pub value: Option<String>,
    pub origin: SettingOrigin,
    /// The file that a secret was read from, if the value is not in the layer itself.
    pub file: Option<PathBuf>,
    pub(super) applies: Applies,
    /// Distinguishes values, secrets included, within this process; 0 if it is not set.
    pub(super) fingerprint: u64,
}

impl Setting {
    /// Whether the value is not shown: a secret, personal data, or a URL with a password.
    pub fn is_hidden(&self) -> bool {
        let value = self.value.as_deref().unwrap_or_default();
        value.starts_with('(') || value.contains(MASK)
    }
}

/// When a running bridge applies a new value of a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Applies {
    OnReload,
    /// The running bridge was built from the old value.
    AfterRestart,
}

/// The key of a setting. A plain text is the key of one that applies on reload; see [`restart`].
#[derive(Clone, Copy)]
pub(super) struct SettingKey<'a> {
    pub name: &'a str,
    pub applies: Applies,
}

/// The key of a setting that applies after a restart.
pub(super) const fn restart(name: &str) -> SettingKey<'_> {
    SettingKey {
        name,
        applies: Applies::AfterRestart,
    }
}

impl<'a> From<&'a str> for SettingKey<'a> {
    fn from(name: &'a str) -> Self {
        Self {
            name,
            applies: Applies::OnReload,
        }
    }
}

impl<'a> From<&'a String> for SettingKey<'a> {
    fn from(name: &'a String) -> Self {
        Self::from(name.as_str())
    }
}
