//! The variants of a URL that may have been signed: with and without its port.
//!
//! This file knows what each of Twilio's libraries tries. It does not sign or compare.

use std::borrow::Cow;

use super::super::raw_url::RawUrl;

/// The variants to try for one request.
pub(super) struct UrlVariants<'a> {
    url: &'a str,
    /// The URL with its scheme in lower case.
    lower: Cow<'a, str>,
    rules: LibraryRules,
}

/// The libraries of Twilio that must accept a variant before it is tried.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum LibraryRules {
    /// Node or Python, because both read this body in the same way.
    Either,
    /// Python, because this bridge reads the body by Python's rules and Node's differ.
    Python,
}

impl<'a> UrlVariants<'a> {
    pub(super) fn of(url: &'a str, rules: LibraryRules) -> Self {
        Self {
            url,
            lower: lower_scheme(url),
            rules,
        }
    }

    /// Each variant in three parts that follow each other, the usual variant first.
    pub(super) fn each(&self) -> impl Iterator<Item = [&str; 3]> {
        let is_lower = self.lower == self.url;
        let received = (is_lower || self.rules == LibraryRules::Either)
            .then(|| variants(self.url, self.rules));
        // Only Python puts a scheme into lower case without any other change.
        let lowered = (!is_lower).then(|| variants(&self.lower, LibraryRules::Python));
        received.into_iter().chain(lowered).flatten().flatten()
    }
}

fn lower_scheme(url: &str) -> Cow<'_, str> {
    let scheme = RawUrl::of(url).scheme;
    if scheme.bytes().any(|byte| byte.is_ascii_uppercase()) {
        let rest = &url[scheme.len()..];
        Cow::Owned(format!("{}{rest}", scheme.to_ascii_lowercase()))
    } else {
        Cow::Borrowed(url)
    }
}

/// Without a port, which is how Twilio is documented to sign voice over HTTPS, and with one.
fn variants(text: &str, rules: LibraryRules) -> [Option<[&str; 3]>; 2] {
    let url = RawUrl::of(text);
    if url.scheme.is_empty() {
        // Not an absolute URL: a port has no place in it.
        return [Some([text, "", ""]), None];
    }
    let number = port_number(url.port);
    let either = rules == LibraryRules::Either;
    let keeps = either || (number.is_some() && !has_empty_part(&url));
    let cuts = either || (keeps && is_cut_by_python(&url, number));
    let port_length = url.port.map_or(0, |port| port.len() + ":".len());
    let authority_end = url.before_path().len();
    let before_port = &text[..authority_end - port_length];
    let port = match &text[before_port.len()..authority_end] {
        "" if url.scheme.eq_ignore_ascii_case("https") => ":443",
        "" => ":80",
        port => port,
    };
    let without = [before_port, "", url.from_path()];
    let with = [before_port, port, url.from_path()];
    [cuts.then_some(without), keeps.then_some(with)]
}

/// The port as Python reads it: 0 for none, `None` where it raises an error.
fn port_number(port: Option<&str>) -> Option<u16> {
    match port {
        None | Some("") => Some(0),
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok(),
        Some(_) => None,
    }
}

/// Python reads `:` and `:0` as no port, and cuts at the first colon, which must be the port's.
fn is_cut_by_python(url: &RawUrl<'_>, number: Option<u16>) -> bool {
    let has_other_colon =
        url.host.contains(':') || url.user_info.is_some_and(|user| user.contains(':'));
    url.port.is_none() || (number != Some(0) && !has_other_colon)
}

/// Python drops a `?`, `#` or `;` with nothing behind it.
fn has_empty_part(url: &RawUrl<'_>) -> bool {
    url.fragment == Some("") || url.query == Some("") || url.path.ends_with(';')
}
