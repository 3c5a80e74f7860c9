//! The header that selects a `SharedKey` and HMAC-SHA256 instead of the auth token and HMAC-SHA1.
//!
//! It only parses; [`super`] verifies.

/// `X-Twilio-Webhooks-Signature-Settings`: which `SharedKey` signed a request, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureSettings<'a> {
    pub key: &'a str,
}

/// Why a settings header is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureSettingsError {
    #[error("the signing algorithm \"{0}\" is not known; HMAC_SHA256 is")]
    UnknownAlgorithm(String),
    #[error("the header must read key=<id>,algorithm=HMAC_SHA256")]
    Malformed,
}

impl<'a> SignatureSettings<'a> {
    /// Reads `key=<shared key id>,algorithm=HMAC_SHA256`.
    pub fn parse(header: &'a str) -> Result<Self, SignatureSettingsError> {
        let mut key = None;
        let mut algorithm = None;
        for part in header.split(',') {
            let (name, value) = part
                .trim()
                .split_once('=')
                .ok_or(SignatureSettingsError::Malformed)?;
            let slot = match name {
                "key" => &mut key,
                "algorithm" => &mut algorithm,
                // Twilio may add settings without notice; they do not select the hash.
                _ => continue,
            };
            if slot.replace(value).is_some() {
                return Err(SignatureSettingsError::Malformed);
            }
        }
        match (key, algorithm) {
            (Some(key), Some(name)) if is_sha256(name) && !key.is_empty() => Ok(Self { key }),
            (_, Some(other)) if !is_sha256(other) => {
                Err(SignatureSettingsError::UnknownAlgorithm(other.to_owned()))
            }
            _ => Err(SignatureSettingsError::Malformed),
        }
    }
}

/// In any letter case, as Twilio's Python library accepts it.
fn is_sha256(algorithm: &str) -> bool {
    algorithm.eq_ignore_ascii_case("HMAC_SHA256")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_names_a_key_and_an_algorithm() {
        for (header, expected) in [
            (
                "key=WK1,algorithm=HMAC_SHA256",
                Ok(SignatureSettings { key: "WK1" }),
            ),
            (
                "algorithm=HMAC_SHA256, key=WK1",
                Ok(SignatureSettings { key: "WK1" }),
            ),
            (
                "key=WK1,algorithm=HMAC_SHA256,version=2",
                Ok(SignatureSettings { key: "WK1" }),
            ),
            (
                "key=WK1,algorithm=HMAC_MD5",
                Err(SignatureSettingsError::UnknownAlgorithm("HMAC_MD5".into())),
            ),
            (
                "key=WK1,algorithm=hmac_sha256",
                Ok(SignatureSettings { key: "WK1" }),
            ),
            ("key=WK1", Err(SignatureSettingsError::Malformed)),
            (
                "key=,algorithm=HMAC_SHA256",
                Err(SignatureSettingsError::Malformed),
            ),
            (
                "key=WK1,key=WK2,algorithm=HMAC_SHA256",
                Err(SignatureSettingsError::Malformed),
            ),
            ("WK1", Err(SignatureSettingsError::Malformed)),
            ("", Err(SignatureSettingsError::Malformed)),
        ] {
            assert_eq!(SignatureSettings::parse(header), expected, "{header}");
        }
    }
}
