//! `[log]`: format and level of the log.

use super::reader::SettingsReader;
use super::setting::restart;

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// How the bridge logs, on stderr.
#[derive(Clone, Debug)]
pub struct LogSettings {
    pub format: LogFormat,
    /// A `tracing` filter, such as `info` or `twilio_acquire_bridge=debug`.
    pub level: String,
}

words! {
    /// The format of a log line.
    pub enum LogFormat {
        Text = "text",
        Json = "json",
    }
}

/// Reads the section.
pub(super) fn read(reader: &mut SettingsReader) -> Option<LogSettings> {
    let format = reader.choice(restart("log.format"), &LogFormat::WORDS);
    let level = reader.text(restart("log.level"), level);
    Some(LogSettings {
        format: format?,
        level: level?,
    })
}

fn level(text: &str) -> Result<String, String> {
    let is_known = |part: &str| {
        let level = part.split_once('=').map_or(part, |(_, level)| level);
        LEVELS.contains(&level.trim())
    };
    if text.split(',').all(is_known) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "must be one of {}, or a list of levels by module, such as info,actix_web=debug",
            LEVELS.join(", ")
        ))
    }
}
