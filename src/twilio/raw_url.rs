//! The parts of a URL, byte for byte as it was written.
//!
//! Twilio signs the URL as it was entered, so nothing here is decoded, normalized or refused.
//! `url::Url` would put the host into lower case, drop a default port and re-encode the query.

/// The parts of a URL (RFC 3986, section 3) as slices of the given text.
///
/// A text without a scheme is read as if its scheme were missing: `h.example/x` has a host, and the
/// request target `/x?y=1` has a path and a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawUrl<'a> {
    text: &'a str,
    /// Where the authority ends.
    path_at: usize,
    /// Empty if the text has none.
    pub scheme: &'a str,
    pub user_info: Option<&'a str>,
    /// With the brackets of an IPv6 address.
    pub host: &'a str,
    /// Any text after the host's colon, also none.
    pub port: Option<&'a str>,
    pub path: &'a str,
    pub query: Option<&'a str>,
    pub fragment: Option<&'a str>,
}

impl<'a> RawUrl<'a> {
    pub fn of(text: &'a str) -> Self {
        let scheme = scheme(text);
        let authority_at = match scheme.len() {
            0 => 0,
            length => length + "://".len(),
        };
        let path_at = text[authority_at..]
            .find(['/', '?', '#'])
            .map_or(text.len(), |length| authority_at + length);
        // The last @: a password may hold one that was not escaped.
        let authority = &text[authority_at..path_at];
        let (user_info, place) = match authority.rsplit_once('@') {
            Some((user_info, place)) => (Some(user_info), place),
            None => (None, authority),
        };
        // The colons inside the brackets of an IPv6 address start no port.
        let name_end = place.rfind(']').map_or(0, |bracket| bracket + 1);
        let host_end = place[name_end..]
            .find(':')
            .map_or(place.len(), |colon| name_end + colon);
        let (rest, fragment) = split_at_first(&text[path_at..], '#');
        let (path, query) = split_at_first(rest, '?');
        Self {
            text,
            path_at,
            scheme,
            user_info,
            host: &place[..host_end],
            port: place.get(host_end + 1..),
            path,
            query,
            fragment,
        }
    }

    /// Scheme, user info, host and port.
    pub fn before_path(&self) -> &'a str {
        &self.text[..self.path_at]
    }

    /// Path, query and fragment.
    pub fn from_path(&self) -> &'a str {
        &self.text[self.path_at..]
    }

    /// Path and query, which is what an HTTP client sends.
    pub fn target(&self) -> &'a str {
        split_at_first(self.from_path(), '#').0
    }

    /// Scheme, host and port, without user info.
    pub fn origin(&self) -> String {
        let separator = if self.scheme.is_empty() { "" } else { "://" };
        let colon = if self.port.is_some() { ":" } else { "" };
        let port = self.port.unwrap_or_default();
        [self.scheme, separator, self.host, colon, port].concat()
    }
}

/// The text before `://` if it is a scheme (RFC 3986, section 3.1), else nothing.
fn scheme(text: &str) -> &str {
    let in_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    match text.split_once("://") {
        Some((scheme, _))
            if scheme.starts_with(|first: char| first.is_ascii_alphabetic())
                && scheme.bytes().all(in_scheme) =>
        {
            scheme
        }
        _ => "",
    }
}

fn split_at_first(text: &str, separator: char) -> (&str, Option<&str>) {
    match text.split_once(separator) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn joined(url: &RawUrl<'_>) -> String {
        let mut text = url.scheme.to_owned();
        if !url.scheme.is_empty() {
            text += "://";
        }
        if let Some(user_info) = url.user_info {
            text += user_info;
            text += "@";
        }
        text += url.host;
        for (separator, part) in [
            (":", url.port),
            ("", Some(url.path)),
            ("?", url.query),
            ("#", url.fragment),
        ] {
            if let Some(part) = part {
                text += separator;
                text += part;
            }
        }
        text
    }

    #[test]
    fn each_part_is_kept_as_it_was_written() {
        let url = RawUrl::of("HTTPS://u:p@x@H.Example:0443/a%2f?b='&c#rc=5");
        assert_eq!(url.scheme, "HTTPS");
        assert_eq!(url.user_info, Some("u:p@x"));
        assert_eq!((url.host, url.port), ("H.Example", Some("0443")));
        assert_eq!((url.path, url.query), ("/a%2f", Some("b='&c")));
        assert_eq!(url.fragment, Some("rc=5"));
        assert_eq!(url.before_path(), "HTTPS://u:p@x@H.Example:0443");
        assert_eq!(url.from_path(), "/a%2f?b='&c#rc=5");
        assert_eq!(url.target(), "/a%2f?b='&c");
        assert_eq!(url.origin(), "HTTPS://H.Example:0443");
    }

    #[test]
    fn a_part_may_be_missing_or_empty() {
        for (text, host, port, path, query) in [
            (
                "https://[2001:db8::1]:8/",
                "[2001:db8::1]",
                Some("8"),
                "/",
                None,
            ),
            ("https://[::1]?", "[::1]", None, "", Some("")),
            ("https://h:?a", "h", Some(""), "", Some("a")),
            ("https://:443", "", Some("443"), "", None),
            ("h.example:80/x", "h.example", Some("80"), "/x", None),
            ("/x?u=http://h/y", "", None, "/x", Some("u=http://h/y")),
            ("", "", None, "", None),
        ] {
            let url = RawUrl::of(text);
            assert_eq!((url.host, url.port), (host, port), "{text}");
            assert_eq!((url.path, url.query), (path, query), "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_parts_join_to_the_given_text(
            text in prop_oneof![any::<String>(), "(https?|[A-z]*)(://)?[a@:.\\[\\]/?#é]{0,12}"]
        ) {
            let url = RawUrl::of(&text);
            prop_assert_eq!(joined(&url), text.as_str());
            prop_assert_eq!([url.before_path(), url.from_path()].concat(), text);
        }
    }
}
