//! Files that settings name, looked at and not yet read.

use std::path::PathBuf;

use super::CertificatePair;
use super::reader::SettingsReader;

/// A certificate and its key, for `what`: both or neither.
pub(super) fn pair(
    reader: &mut SettingsReader,
    keys: [&str; 2],
    what: &str,
) -> Option<CertificatePair> {
    let files = keys.map(|key| reader.text(key, readable_file));
    for (key, other) in [(keys[0], keys[1]), (keys[1], keys[0])] {
        if reader.is_set(key) && !reader.is_set(other) {
            let name = reader.name(key);
            reader.mistake(format!("{name} is set without {other}: {what} needs both"));
        }
    }
    let [cert_file, key_file] = files;
    Some(CertificatePair {
        cert_file: cert_file?,
        key_file: key_file?,
    })
}

pub(super) fn readable_file(text: &str) -> Result<PathBuf, String> {
    match std::fs::File::open(text) {
        Ok(_) => Ok(PathBuf::from(text)),
        Err(why) => Err(format!("cannot be read: {why}")),
    }
}
