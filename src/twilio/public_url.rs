//! The public URL of the bridge as entered at Twilio, which signatures cover byte for byte.
//!
//! It does no I/O and does not know whether a proxy rewrites the URL.

use super::raw_url::RawUrl;

/// Scheme, host, port and optional path prefix of the URL at Twilio (`server.public_url`), and the
/// paths that a gateway maps to those of the bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl {
    origin: String,
    /// Empty, or starts with `/` and does not end with one.
    prefix: String,
    /// Where they differ: a path of the bridge, and the one entered at Twilio.
    mapped: Vec<(&'static str, String)>,
}

/// Why a text cannot be a public URL, with the corrected value where it is obvious.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublicUrlError {
    #[error("must start with https:// or http://, followed by a host")]
    NotAUrl,
    #[error("must not have a query, a fragment or user info; write \"{0}\"")]
    Superfluous(String),
    #[error("must not end in a path that the bridge serves; write \"{0}\"")]
    ServedPath(String),
}

/// The start of the bridge's own paths. In a public URL, the path before it is the prefix.
pub(super) const SERVED: &str = "/twilio/voice";

impl PublicUrl {
    pub fn parse(text: &str) -> Result<Self, PublicUrlError> {
        let text = text.trim();
        let url = RawUrl::of(text);
        let is_http = ["https", "http"].map(|scheme| url.scheme.eq_ignore_ascii_case(scheme));
        if !is_http.contains(&true) || url.host.is_empty() || text.contains(char::is_whitespace) {
            return Err(PublicUrlError::NotAUrl);
        }
        let (origin, path) = (url.origin(), url.path);
        let prefix = path
            .find(SERVED)
            .map_or(path, |at| &path[..at])
            .trim_end_matches('/');
        let corrected = format!("{origin}{prefix}");
        if url.user_info.is_some() || url.query.is_some() || url.fragment.is_some() {
            return Err(PublicUrlError::Superfluous(corrected));
        }
        if path.contains(SERVED) {
            return Err(PublicUrlError::ServedPath(corrected));
        }
        Ok(Self {
            origin,
            prefix: prefix.to_owned(),
            mapped: Vec::new(),
        })
    }

    /// The same URL, for a gateway that maps `entered` at Twilio to the bridge's own `path`.
    pub fn with_path(mut self, path: &'static str, entered: &str) -> Self {
        if entered != path {
            self.mapped.push((path, entered.to_owned()));
        }
        self
    }

    /// The URL to enter at Twilio for one of the bridge's own paths.
    pub fn entered(&self, path: &str) -> String {
        format!("{self}{}", self.entered_target(path))
    }

    /// A request target as it was before a gateway mapped its path.
    pub fn entered_target(&self, target: &str) -> String {
        let (path, query) = target.split_at(target.find('?').unwrap_or(target.len()));
        let own = path.strip_prefix(self.prefix.as_str()).unwrap_or(path);
        let mapped = self.mapped.iter().find(|(path, _)| *path == own);
        mapped.map_or_else(
            || target.to_owned(),
            |(_, entered)| format!("{entered}{query}"),
        )
    }

    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The part of a whole URL before the served path.
    pub fn before_served_path(url: &str) -> Option<&str> {
        let sent = url.split(['?', '#']).next().unwrap_or(url);
        sent.find(SERVED).map(|at| sent[..at].trim_end_matches('/'))
    }

    /// The URL that Twilio signed, from the raw request target as it arrived.
    pub fn signed_url(&self, target: &str) -> String {
        self.served_url(&self.entered_target(target))
    }

    /// The URL with the target as it arrived, which may lack the prefix, if a proxy stripped it.
    pub fn served_url(&self, target: &str) -> String {
        match target.strip_prefix(self.prefix.as_str()) {
            Some(rest) if rest.starts_with(SERVED) => format!("{}{target}", self.origin),
            _ => format!("{self}{target}"),
        }
    }
}

/// The URL as configured, without the served path.
impl std::fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.origin, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> PublicUrl {
        PublicUrl::parse(text).expect("the text is a public URL")
    }

    #[test]
    fn the_signed_url_is_the_public_url_and_the_raw_target() {
        for (public, target, signed) in [
            ("https://h", "PATH", "https://hPATH"),
            (
                "https://h/",
                "PATH?email=a%40b",
                "https://hPATH?email=a%40b",
            ),
            ("https://h:8443/calls/", "PATH", "https://h:8443/callsPATH"),
            ("https://h/calls", "/callsPATH", "https://h/callsPATH"),
            ("HTTPS://H", "PATH?", "HTTPS://HPATH?"),
            (
                "https://[2001:db8::1]:8443",
                "PATH",
                "https://[2001:db8::1]:8443PATH",
            ),
        ] {
            let with_path = |text: &str| text.replace("PATH", "/twilio/voice/status");
            let found = parsed(public).signed_url(&with_path(target));
            assert_eq!(found, with_path(signed));
        }
    }

    #[test]
    fn a_text_that_cannot_be_a_public_url_is_refused_with_the_corrected_value() {
        let superfluous = |url: &str| PublicUrlError::Superfluous(url.into());
        let served = |url: &str| PublicUrlError::ServedPath(url.into());
        for (text, expected) in [
            ("h.example", PublicUrlError::NotAUrl),
            ("ftp://h.example", PublicUrlError::NotAUrl),
            ("https://", PublicUrlError::NotAUrl),
            ("https://:8443", PublicUrlError::NotAUrl),
            ("https://h .example", PublicUrlError::NotAUrl),
            ("https://u:p@h", superfluous("https://h")),
            ("https://h/x/?a=1", superfluous("https://h/x")),
            ("https://h#rc=2", superfluous("https://h")),
            ("https://h/x/twilio/voice/status", served("https://h/x")),
            ("https://h/twilio/voice/", served("https://h")),
        ] {
            assert_eq!(PublicUrl::parse(text), Err(expected), "{text}");
        }
    }
}
