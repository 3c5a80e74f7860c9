//! The spellings of a URL that may have been signed: with and without its port.

use std::borrow::Cow;

use super::Body;

/// What to try for one request.
pub(super) struct UrlVariants<'a> {
    url: &'a str,
    /// The URL with its scheme in lower case.
    lower: Cow<'a, str>,
    trust: LibraryRules,
}

/// Whose word on the URL is enough.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LibraryRules {
    /// Node's: for this body the libraries have the same rules.
    Either,
    /// Python's: its rules for this body are followed against Node's.
    Python,
}

impl<'a> UrlVariants<'a> {
    pub(super) fn of(url: &'a str, body: Body<'_>, fields: &str) -> Self {
        // Node sorts by UTF-16 units, in which astral characters come before U+E000..U+FFFF.
        let sorts_differ = fields.contains(|character| character > '\u{ffff}')
            && fields.contains(|character| ('\u{e000}'..='\u{ffff}').contains(&character));
        let by_python = matches!(body, Body::Json(_)) || url.contains("bodySHA256") || sorts_differ;
        Self {
            url,
            lower: lower_scheme(url),
            trust: if by_python {
                LibraryRules::Python
            } else {
                LibraryRules::Either
            },
        }
    }

    /// Each spelling in parts that follow each other, the usual one first.
    pub(super) fn each(&self) -> impl Iterator<Item = [&str; 3]> {
        let is_lower = self.lower == self.url;
        let received = (is_lower || self.trust == LibraryRules::Either)
            .then(|| Parts::of(self.url).spellings(self.trust));
        // Python alone puts a scheme into lower case without changing anything else.
        let lowered = (!is_lower).then(|| Parts::of(&self.lower).spellings(LibraryRules::Python));
        received.into_iter().chain(lowered).flatten().flatten()
    }
}

fn lower_scheme(url: &str) -> Cow<'_, str> {
    match split_scheme(url) {
        Some((scheme, rest)) if scheme.bytes().any(|byte| byte.is_ascii_uppercase()) => {
            Cow::Owned(format!("{}://{rest}", scheme.to_ascii_lowercase()))
        }
        _ => Cow::Borrowed(url),
    }
}

fn split_scheme(url: &str) -> Option<(&str, &str)> {
    let in_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    url.split_once("://").filter(|(scheme, _)| {
        scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.bytes().all(in_scheme)
    })
}

/// An absolute URL cut where its port stands or would stand.
struct Parts<'a> {
    before_port: &'a str,
    /// With its colon; empty if the URL has none.
    port: &'a str,
    after_port: &'a str,
    /// Empty for what is no absolute URL, where a port has no place.
    default_port: &'static str,
}

impl<'a> Parts<'a> {
    fn of(url: &'a str) -> Self {
        let Some((scheme, rest)) = split_scheme(url) else {
            return Self {
                before_port: url,
                port: "",
                after_port: "",
                default_port: "",
            };
        };
        let authority_at = url.len() - rest.len();
        let authority_end = rest
            .find(['/', '?', '#'])
            .map_or(url.len(), |length| authority_at + length);
        let authority = &url[authority_at..authority_end];
        let host_at = authority.rfind('@').map_or(0, |at| at + 1);
        // A colon begins the port only behind an IPv6 literal's bracket.
        let name_end = authority[host_at..]
            .rfind(']')
            .map_or(host_at, |bracket| host_at + bracket + 1);
        let port_at = authority[name_end..]
            .find(':')
            .map_or(authority_end, |colon| authority_at + name_end + colon);
        Self {
            before_port: &url[..port_at],
            port: &url[port_at..authority_end],
            after_port: &url[authority_end..],
            default_port: if scheme.eq_ignore_ascii_case("https") {
                ":443"
            } else {
                ":80"
            },
        }
    }

    /// Without a port, which is how Twilio is documented to sign voice over HTTPS, and with one.
    fn spellings(&self, trust: LibraryRules) -> [Option<[&'a str; 3]>; 2] {
        let number = self.port_number();
        let either = trust == LibraryRules::Either;
        let keeps = either || (number.is_some() && !self.has_empty_part());
        let cuts = either || (keeps && self.is_cut_by_python(number));
        let port = if self.port.is_empty() {
            self.default_port
        } else {
            self.port
        };
        let without = [self.before_port, "", self.after_port];
        let with = [self.before_port, port, self.after_port];
        [cuts.then_some(without), keeps.then_some(with)]
    }

    /// The port as Python reads it: 0 for none, `None` where it raises an error.
    fn port_number(&self) -> Option<u16> {
        match self.port.strip_prefix(':') {
            None | Some("") => Some(0),
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok(),
            Some(_) => None,
        }
    }

    /// Python takes `:` and `:0` for no port, and cuts at the first colon, which must be the port's.
    fn is_cut_by_python(&self, number: Option<u16>) -> bool {
        let (_, authority) = split_scheme(self.before_port).unwrap_or_default();
        self.port.is_empty() || (number != Some(0) && !authority.contains(':'))
    }

    /// Python drops a `?`, `#` or `;` with nothing behind it.
    fn has_empty_part(&self) -> bool {
        let (sent, fragment) = split_at_first(self.after_port, '#');
        let (path, query) = split_at_first(sent, '?');
        fragment == Some("") || query == Some("") || path.ends_with(';')
    }
}

fn split_at_first(text: &str, separator: char) -> (&str, Option<&str>) {
    match text.split_once(separator) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}
