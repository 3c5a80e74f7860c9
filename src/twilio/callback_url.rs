//! The callback URL to enter at Twilio, and the problems of one that was entered.
//!
//! It does no I/O: a host is checked by its name alone and never resolved.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::callback::CallbackKind;
use super::public_url::PublicUrl;
use super::raw_url::RawUrl;
use super::signature::fields;

/// Asks Twilio for five retries after any failure. All tries share 15 s (Twilio docs, "Webhooks
/// connection overrides").
pub const OVERRIDES: &str = "#rc=5&rp=all";

/// The effect of [`OVERRIDES`], for the operator.
pub const OVERRIDES_EXPLAINED: &str = "Without #rc=5&rp=all Twilio retries once, and only if it could not \
    connect: a 5xx or a slow response loses the callback. With it Twilio sends a failing callback \
    up to six times, all within 15 seconds; the bridge records it once. A try that hangs can use \
    all 15 seconds: on a slow network add &ct=2000&rt=5000, the limits in milliseconds for \
    connecting and for the response. The fragment is neither sent nor signed, so do not add it to \
    server.public_url.";

/// The URL of a callback for one public URL.
pub fn to_enter(public_url: &PublicUrl, kind: CallbackKind) -> String {
    format!("{}{OVERRIDES}", public_url.entered(kind.path()))
}

words! {
    /// How severe a problem is.
    #[derive(PartialOrd, Ord)]
    pub enum Severity {
        /// Callbacks will be refused, lost or never sent.
        Wrong = "wrong",
        /// Callbacks arrive, but some may be lost.
        Risky = "risky",
    }
}

/// A problem of a URL, with the next step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlProblem {
    pub severity: Severity,
    /// A short label.
    pub about: &'static str,
    pub sentence: String,
}

/// The problems of `url` as entered at Twilio, the severest first; empty if there is none.
pub fn check(url: &str, public_urls: &[PublicUrl]) -> Vec<UrlProblem> {
    let mut problems = Vec::new();
    let mut add = |severity, about, sentence: String| {
        problems.push(UrlProblem {
            severity,
            about,
            sentence,
        });
    };
    let parts = match parse(url) {
        Ok(parts) => parts,
        Err(sentence) => {
            add(Severity::Wrong, "url", sentence.to_owned());
            return problems;
        }
    };
    if parts.scheme != "https" {
        let scheme = "callbacks are sent unencrypted: others can read phone numbers and repeat \
                      callbacks; use https";
        add(Severity::Risky, "scheme", scheme.to_owned());
    }
    if parts.user_info.is_some() {
        let user = "it has user info, which Twilio does not sign and the bridge does not check; \
                    remove it";
        add(Severity::Wrong, "user-info", user.to_owned());
    }
    if let Some(sentence) = of_host(parts.host) {
        add(Severity::Wrong, "host", sentence);
    }
    if parts.host.contains('_') {
        let underscore = "its host has an underscore, which Twilio does not accept in callback \
                          URLs; use a name without one";
        add(Severity::Wrong, "underscore", underscore.to_owned());
    }
    if let Some(port) = parts.port {
        let (severity, sentence) = of_port(port, parts.scheme);
        add(severity, "port", sentence);
    }
    if let Some((severity, sentence)) = of_path(&parts, public_urls) {
        add(severity, "path", sentence);
    }
    for (severity, about, sentence) in of_query(parts.query.unwrap_or_default()) {
        add(severity, about, sentence);
    }
    for (severity, sentence) in of_overrides(parts.fragment.unwrap_or_default()) {
        add(severity, "overrides", sentence);
    }
    problems.sort_by_key(|problem| problem.severity);
    problems
}

/// Splits a URL that Twilio could request.
fn parse(url: &str) -> Result<RawUrl<'_>, &'static str> {
    if !url.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("it has a space or a non-ASCII character; percent-encode it");
    }
    let parts = RawUrl::of(url);
    if !["http", "https"].contains(&parts.scheme) || parts.host.is_empty() {
        return Err("it must start with https://, followed by a host");
    }
    Ok(parts)
}

fn of_host(host: &str) -> Option<String> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let is_public = match bare.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => is_public_v4(address),
        Ok(IpAddr::V6(address)) => is_public_v6(address),
        Err(_) => {
            let name = host.trim_end_matches('.').to_ascii_lowercase();
            let ends = [
                ".local",
                ".internal",
                ".lan",
                ".home",
                ".localdomain",
                ".corp",
                ".home.arpa",
            ];
            let inner = ends.iter().any(|end| name.ends_with(end));
            name.contains('.') && name != "localhost" && !name.ends_with(".localhost") && !inner
        }
    };
    let sentence = || {
        format!(
            "its host {host} is not public, so Twilio cannot reach it; use the bridge's public \
                 host name"
        )
    };
    (!is_public).then(sentence)
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    // RFC 6598: shared address space of carriers.
    let is_shared = first == 100 && (64..128).contains(&second);
    !(address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_unspecified()
        || address.is_broadcast()
        || address.is_documentation()
        || is_shared)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let first = address.segments()[0];
    let is_local = first & 0xfe00 == 0xfc00 || first & 0xffc0 == 0xfe80;
    let mapped = address.to_ipv4_mapped().is_none_or(is_public_v4);
    !(address.is_loopback() || address.is_unspecified() || is_local) && mapped
}

fn of_port(port: &str, scheme: &str) -> (Severity, String) {
    let default = if scheme == "https" { "443" } else { "80" };
    if port.parse::<u16>().is_ok_and(|number| number == 0) || port.parse::<u16>().is_err() {
        return (
            Severity::Wrong,
            format!("its port {port:?} is not a port number"),
        );
    }
    let sentence = if port == default {
        format!("its port {port} is the default; remove it, because Twilio may sign without it")
    } else {
        format!(
            "it has the port {port}, which Twilio may sign or not; the bridge accepts both if \
             server.public_url has the port too, but 443 is safer"
        )
    };
    (Severity::Risky, sentence)
}

fn of_path(parts: &RawUrl<'_>, public_urls: &[PublicUrl]) -> Option<(Severity, String)> {
    let whole = format!("{}{}", parts.origin(), parts.path);
    let served = |url: &PublicUrl| CallbackKind::ALL.map(|kind| url.entered(kind.path()));
    if public_urls.iter().flat_map(served).any(|url| url == whole) {
        return None;
    }
    let path = parts.path;
    let sentence = if let Some(kind) = CallbackKind::ALL
        .iter()
        .find(|kind| path.ends_with(kind.path()))
    {
        let is = &whole[..whole.len() - kind.path().len()];
        let known: Vec<String> = public_urls.iter().map(|url| format!("\"{url}\"")).collect();
        let known = if known.is_empty() {
            "not set".to_owned()
        } else {
            known.join(", ")
        };
        format!(
            "server.public_url is {known}, so signatures for this URL are invalid; enter another \
             URL or set server.public_url = \"{is}\""
        )
    } else if CallbackKind::ALL
        .iter()
        .any(|kind| path.trim_end_matches('/').ends_with(kind.path()))
    {
        "its path ends in a slash, which the bridge does not serve; remove the slash".to_owned()
    } else {
        let [status, recording] = CallbackKind::ALL.map(CallbackKind::path);
        format!(
            "its path {path:?} is not served; use {status} for calls, {recording} for recordings"
        )
    };
    Some((Severity::Wrong, sentence))
}

fn of_query(query: &str) -> Vec<(Severity, &'static str, String)> {
    let mut found = Vec::new();
    if query.is_empty() {
        return found;
    }
    let pairs = fields(query.as_bytes());
    let names: Vec<&str> = pairs.iter().map(|(name, _)| name).collect();
    if let Some(other) = names.iter().find(|name| **name != "email") {
        let sentence = format!(
            "its query has the key {other:?}; the bridge accepts only email, and answers 400"
        );
        found.push((Severity::Wrong, "query", sentence));
    }
    if !names.is_sorted() {
        let sentence = "its query keys are not in alphabetical order: Twilio signs them as entered and \
                        may send them sorted; sort them";
        found.push((Severity::Wrong, "query-order", sentence.to_owned()));
    }
    if query.contains('\'') {
        let sentence = "its query has an apostrophe, which Twilio signs as entered and may send as \
                        %27; write %27";
        found.push((Severity::Risky, "apostrophe", sentence.to_owned()));
    }
    if query.contains('+') {
        let sentence =
            "its query has a +, which may be read as a space or as a plus; write %20 or %2B";
        found.push((Severity::Risky, "plus", sentence.to_owned()));
    }
    if query.contains('@') {
        let sentence =
            "its query has an @, which Twilio signs as entered and sends as %40; write %40";
        found.push((Severity::Wrong, "at", sentence.to_owned()));
    }
    // RFC 3986, section 3.4: a query does not have these characters, so senders escape them.
    if let Some(other) = query.chars().find(|c| r#""<>[\]^`{|}"#.contains(*c)) {
        let sentence = format!(
            "its query has a {other}, which Twilio signs as entered and may send escaped; write %{:02X}",
            u32::from(other)
        );
        found.push((Severity::Risky, "unescaped", sentence));
    }
    found
}

fn of_overrides(fragment: &str) -> Vec<(Severity, String)> {
    let set: BTreeMap<String, String> = fields(fragment.as_bytes()).pairs().into_iter().collect();
    let value = |name: &str| set.get(name).map(String::as_str);
    let mut found = Vec::new();
    let retries: u32 = value("rc")
        .and_then(|count| count.parse().ok())
        .unwrap_or(1);
    let on: Vec<&str> = value("rp").unwrap_or("ct").split(',').collect();
    let on_5xx = on.contains(&"all") || on.contains(&"5xx");
    let on_slow = on.contains(&"all") || on.contains(&"rt");
    if retries > 5 {
        found.push((
            Severity::Wrong,
            format!("rc={retries} is above Twilio's limit of 5"),
        ));
    }
    if retries == 0 || !on_5xx || !on_slow {
        let sentence = format!(
            "it does not ask Twilio to retry after a 5xx or a slow response, so these lose the \
             callback; append {OVERRIDES}"
        );
        found.push((Severity::Risky, sentence));
    } else if retries < 5 {
        found.push((
            Severity::Risky,
            format!("rc={retries} asks for fewer retries than 5"),
        ));
    }
    // Milliseconds: range and default by the Twilio docs, "Webhooks connection overrides".
    for (name, range, usual) in [
        ("ct", 100..=10_000, 5000),
        ("rt", 100..=15_000, 15_000),
        ("tt", 100..=15_000, 15_000),
    ] {
        let Some(text) = value(name) else { continue };
        match text.parse::<u32>() {
            Ok(ms) if range.contains(&ms) && (ms >= 1000 || ms >= usual) => {}
            Ok(ms) if range.contains(&ms) => {
                let sentence = format!("{name}={ms} is less than one second");
                found.push((Severity::Risky, sentence));
            }
            _ => {
                let (least, most) = (range.start(), range.end());
                let sentence = format!("{name}={text} is not from {least} to {most} milliseconds");
                found.push((Severity::Wrong, sentence));
            }
        }
    }
    let known = ["ct", "rt", "tt", "rc", "rp", "sni", "e"];
    for name in set.keys().filter(|name| !known.contains(&name.as_str())) {
        found.push((Severity::Wrong, format!("Twilio has no override {name:?}")));
    }
    found
}

#[cfg(test)]
mod tests;
