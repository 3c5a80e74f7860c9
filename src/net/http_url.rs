//! Scheme, host and port of the URL of an HTTP API.
//!
//! It validates the text. It opens no connection and knows no setting.

use crate::twilio::RawUrl;

/// Scheme, host and port of a base URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpUrl {
    pub is_https: bool,
    /// Without the brackets of an IPv6 address.
    pub host: String,
    pub port: u16,
}

impl HttpUrl {
    /// Parses `http(s)://HOST[:PORT][/PATH]`. The error is the end of a sentence: "must be ...".
    pub fn parse(text: &str) -> Result<Self, String> {
        let shape = || "must be https://HOST or http://HOST, with an optional port and path";
        let url = RawUrl::of(text);
        let is_https = match url.scheme {
            "https" => true,
            "http" => false,
            _ => return Err(shape().to_owned()),
        };
        if text.contains(['?', '#', '@']) || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(format!(
                "{}, and without user info, query, fragment or spaces",
                shape()
            ));
        }
        let host = url.host.strip_prefix('[');
        let host = host.and_then(|host| host.strip_suffix(']'));
        let host = host.unwrap_or(url.host);
        let port = match url.port {
            Some(port) => port.parse().map_err(|_| shape().to_owned())?,
            None if is_https => 443,
            None => 80,
        };
        if host.is_empty() || text.contains(['{', '}']) {
            return Err(shape().to_owned());
        }
        Ok(Self {
            is_https,
            host: host.to_owned(),
            port,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_has_scheme_host_and_port() {
        for (text, is_https, host, port) in [
            ("https://acquire.example", true, "acquire.example", 443),
            ("http://127.0.0.1:8081/base/", false, "127.0.0.1", 8081),
            ("http://[::1]", false, "::1", 80),
            ("https://[::1]:8443", true, "::1", 8443),
        ] {
            let url = HttpUrl::parse(text).expect("a URL");
            assert_eq!((url.is_https, &*url.host, url.port), (is_https, host, port));
        }
    }

    #[test]
    fn another_text_is_refused() {
        for text in [
            "",
            "ftp://acquire.io",
            "https://",
            "https://:443",
            "https://user@acquire.io",
            "https://acquire.io?x",
            "https://acquire.io:99999",
            "https://{account}.acquire.io",
            "https://a b",
        ] {
            assert!(HttpUrl::parse(text).is_err(), "{text}");
        }
    }
}
