//! From defaults, file and environment to a checked [`super::Config`].

use super::Config;

/// All mistakes of a configuration, one sentence each.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct ConfigError(pub Vec<String>);

/// Reads the defaults, then `file`, then the environment, each over the one before.
pub fn load(
    _file: Option<&std::path::Path>,
    _environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Config, ConfigError> {
    Err(ConfigError(vec!["not written yet".to_owned()]))
}
