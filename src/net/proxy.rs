//! The address of a forward proxy: `http://[USER:PASSWORD@]HOST:PORT`, and whether traffic is
//! readable on the way to it.
//!
//! It does not connect; `proxy_tunnel` does.

use std::net::IpAddr;

use percent_encoding::percent_decode_str;
use secrecy::SecretString;

use super::http_url::HttpUrl;

/// A forward proxy for outgoing connections (HTTP CONNECT; RFC 9110, section 9.3.6).
#[derive(Clone, Debug)]
pub struct Proxy {
    /// Without the brackets of an IPv6 address.
    pub host: String,
    pub port: u16,
    /// `USER:PASSWORD`, for Basic authentication (RFC 7617).
    pub credentials: Option<SecretString>,
}

impl Proxy {
    /// Host and port, for messages and `CONNECT`.
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// Parses `http://[USER:PASSWORD@]HOST:PORT`; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("http://")?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        // Not by RawUrl: a password may hold a `/`, which would end the authority of a URL.
        let (credentials, authority) = match rest.rsplit_once('@') {
            Some((credentials, authority)) => (Some(credentials), authority),
            None => (None, rest),
        };
        let url = HttpUrl::parse(&format!("http://{authority}")).ok()?;
        // The port is required: a forward proxy has no default one.
        let names_its_port = authority.ends_with(&format!(":{}", url.port));
        let credentials = match credentials {
            Some(text) => Some(decoded(text)?),
            None => None,
        };
        names_its_port.then_some(Self {
            host: url.host,
            port: url.port,
            credentials: credentials.map(SecretString::from),
        })
    }
}

/// Decodes the percent escapes of `USER:PASSWORD`.
fn decoded(text: &str) -> Option<String> {
    let (user, password) = text.split_once(':')?;
    let part = |text| percent_decode_str(text).decode_utf8().ok();
    let (user, password) = (part(user)?, part(password)?);
    let plain = |part: &str| !part.contains(char::is_control);
    let fits = !user.is_empty() && !user.contains(':') && plain(&user) && plain(&password);
    fits.then(|| format!("{user}:{password}"))
}

impl HttpUrl {
    /// Whether requests to this URL, through `proxy` where there is one, leave this machine
    /// unencrypted.
    pub fn is_clear_beyond_loopback(&self, proxy: Option<&Proxy>) -> bool {
        let is_local =
            is_loopback(&self.host) && proxy.is_none_or(|proxy| is_loopback(&proxy.host));
        !self.is_https && !is_local
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_proxy_has_host_port_and_credentials() {
        for (text, host, port, credentials) in [
            ("http://proxy.example:3128", "proxy.example", 3128, None),
            ("http://10.0.0.1:80/", "10.0.0.1", 80, None),
            ("http://[::1]:8080", "::1", 8080, None),
            ("http://jane:p%40s:w@p:3128", "p", 3128, Some("jane:p@s:w")),
            ("http://jane:@proxy:3128", "proxy", 3128, Some("jane:")),
        ] {
            let proxy = Proxy::parse(text).expect("it is a proxy");
            assert_eq!((proxy.host.as_str(), proxy.port), (host, port), "{text}");
            let given = proxy.credentials.as_ref().map(ExposeSecret::expose_secret);
            assert_eq!(given, credentials, "{text}");
        }
    }

    #[test]
    fn another_text_is_refused() {
        for text in [
            "proxy:3128",
            "https://proxy:3128",
            "socks5://proxy:1080",
            "http://proxy",
            "http://proxy:3128/path",
            "http://jane@proxy:3128",
            "http://:secret@proxy:3128",
            "http://ja%3Ane:secret@proxy:3128",
            "http://jane:%0d%0a@proxy:3128",
            "http://:3128",
        ] {
            assert!(Proxy::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn http_is_clear_unless_it_stays_on_the_machine() {
        let clear = |text| {
            HttpUrl::parse(text)
                .expect("a URL")
                .is_clear_beyond_loopback(None)
        };
        assert!(clear("http://acquire.example.com"));
        assert!(!clear("https://acquire.example.com"));
        assert!(!clear("http://localhost:8081"));
        assert!(!clear("http://[::1]:8081"));
        assert!(clear("http://127.0.0.1.example.com"));
    }
}
