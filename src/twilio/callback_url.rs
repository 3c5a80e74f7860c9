//! The URL to enter at Twilio: what it should be, and what is wrong with one that is given.
//!
//! Pure; the host's name is judged by its form alone and not looked up.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::callback::CallbackKind;
use super::public_url::PublicUrl;
use super::raw_url::RawUrl;
use super::signature::fields;

/// Asks Twilio for five repeats on any failure; all tries share 15 s (Twilio docs, "Webhooks
/// connection overrides").
pub const OVERRIDES: &str = "#rc=5&rp=all";

/// What the overrides cost, for people.
pub const OVERRIDES_EXPLAINED: &str = "Without #rc=5&rp=all Twilio repeats once, and only if it could not \
    connect: a 5xx or a slow answer loses the call. With it a failing callback is sent up to six \
    times, all within 15 seconds; the bridge takes a repeat once. A try that hangs uses the 15 \
    seconds up: behind a slow network add &ct=2000&rt=5000, for the connection and the answer. The fragment is neither sent \
    nor signed, so it does not belong into server.public_url.";

/// The URL of a callback for one public URL.
#[must_use]
pub fn to_enter(public_url: &PublicUrl, form: CallbackKind) -> String {
    format!("{public_url}{}{OVERRIDES}", form.path())
}

/// How much a finding weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Callbacks will be refused, lost or never sent.
    Wrong,
    /// It works, and loses calls in a bad hour or may break.
    Risky,
}

impl Severity {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Wrong => "wrong",
            Self::Risky => "risky",
        }
    }
}

/// One thing about a URL, with what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlProblem {
    pub severity: Severity,
    /// A short label.
    pub about: &'static str,
    pub sentence: String,
}

/// All that is to be said of `url`, as it stands at Twilio; nothing if all is well.
#[must_use]
pub fn check(url: &str, public_urls: &[PublicUrl]) -> Vec<UrlProblem> {
    let mut remarks = Vec::new();
    let mut say = |weight, about, sentence: String| {
        remarks.push(UrlProblem {
            severity: weight,
            about,
            sentence,
        });
    };
    let parts = match parse(url) {
        Ok(parts) => parts,
        Err(sentence) => {
            say(Severity::Wrong, "url", sentence.to_owned());
            return remarks;
        }
    };
    if parts.scheme != "https" {
        let scheme = "it is sent in the clear: calls and numbers can be read on the way, and \
                      callbacks can be repeated by others; use https";
        say(Severity::Risky, "scheme", scheme.to_owned());
    }
    if parts.user_info.is_some() {
        let user = "it has user info, which Twilio leaves out of what it signs and the bridge does \
                    not ask for; leave it out";
        say(Severity::Wrong, "user-info", user.to_owned());
    }
    if let Some(sentence) = of_host(parts.host) {
        say(Severity::Wrong, "host", sentence);
    }
    if parts.host.contains('_') {
        let underscore = "its host has an underscore, which Twilio does not take for callbacks; \
                          use a name without";
        say(Severity::Wrong, "underscore", underscore.to_owned());
    }
    if let Some(port) = parts.port {
        let (weight, sentence) = of_port(port, parts.scheme);
        say(weight, "port", sentence);
    }
    if let Some((weight, sentence)) = of_path(&parts, public_urls) {
        say(weight, "path", sentence);
    }
    for (weight, about, sentence) in of_query(parts.query.unwrap_or_default()) {
        say(weight, about, sentence);
    }
    for (weight, sentence) in of_overrides(parts.fragment.unwrap_or_default()) {
        say(weight, "overrides", sentence);
    }
    remarks.sort_by_key(|remark| remark.severity);
    remarks
}

/// Splits a URL that Twilio could request.
fn parse(url: &str) -> Result<RawUrl<'_>, &'static str> {
    if !url.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("it has a space or a character beyond ASCII; write it in percent escapes");
    }
    let parts = RawUrl::of(url);
    if !["http", "https"].contains(&parts.scheme) || parts.host.is_empty() {
        return Err("it must begin with https://, followed by a host");
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
            "its host {host} is not public, so that Twilio cannot reach it; use the name by \
                 which the internet knows the bridge"
        )
    };
    (!is_public).then(sentence)
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    // RFC 6598, for carriers.
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
        return (Severity::Wrong, format!("its port {port:?} is none"));
    }
    let sentence = if port == default {
        format!("its port {port} is the default; leave it out, since Twilio may sign without it")
    } else {
        format!(
            "it has the port {port}, which Twilio may leave out of what it signs; the bridge takes \
             both, if server.public_url has the port too, but 443 is safer"
        )
    };
    (Severity::Risky, sentence)
}

fn of_path(parts: &RawUrl<'_>, public_urls: &[PublicUrl]) -> Option<(Severity, String)> {
    let whole = format!("{}{}", parts.origin(), parts.path);
    let served = |url: &PublicUrl| CallbackKind::ALL.map(|form| format!("{url}{}", form.path()));
    if public_urls.iter().flat_map(served).any(|url| url == whole) {
        return None;
    }
    let path = parts.path;
    let sentence = if let Some(form) = CallbackKind::ALL
        .iter()
        .find(|form| path.ends_with(form.path()))
    {
        let is = &whole[..whole.len() - form.path().len()];
        let known: Vec<String> = public_urls.iter().map(|url| format!("\"{url}\"")).collect();
        let known = if known.is_empty() {
            "not set".to_owned()
        } else {
            known.join(", ")
        };
        format!(
            "server.public_url is {known}, so that its signature will not hold; enter another URL \
             or set server.public_url = \"{is}\""
        )
    } else if CallbackKind::ALL
        .iter()
        .any(|form| path.trim_end_matches('/').ends_with(form.path()))
    {
        "its path ends in a slash, which the bridge does not serve; leave it out".to_owned()
    } else {
        let [status, recording] = CallbackKind::ALL.map(CallbackKind::path);
        format!("its path {path:?} is not served; calls go to {status}, recordings to {recording}")
    };
    Some((Severity::Wrong, sentence))
}

fn of_query(query: &str) -> Vec<(Severity, &'static str, String)> {
    let mut found = Vec::new();
    if query.is_empty() {
        return found;
    }
    let pairs = fields(query.as_bytes());
    let names: Vec<&str> = pairs.iter().map(|(name, _)| name.as_str()).collect();
    if let Some(other) = names.iter().find(|name| **name != "email") {
        let sentence = format!(
            "its query has the key {other:?}; the bridge takes email alone, and answers 400"
        );
        found.push((Severity::Wrong, "query", sentence));
    }
    if !names.is_sorted() {
        let sentence = "its query keys are out of order: Twilio signs them as they stand there and \
                        may send them sorted; put them into alphabetical order";
        found.push((Severity::Wrong, "query-order", sentence.to_owned()));
    }
    if query.contains('\'') {
        let sentence = "its query has an apostrophe, which Twilio signs as it is and may send as \
                        %27; write %27";
        found.push((Severity::Risky, "apostrophe", sentence.to_owned()));
    }
    if query.contains('+') {
        let sentence = "its query has a +, which is a space to some and a plus to others; write \
                        %20 or %2B";
        found.push((Severity::Risky, "plus", sentence.to_owned()));
    }
    if query.contains('@') {
        let sentence =
            "its query has an @, which Twilio signs as it is and sends as %40; write %40";
        found.push((Severity::Wrong, "at", sentence.to_owned()));
    }
    found
}

fn of_overrides(fragment: &str) -> Vec<(Severity, String)> {
    let set: BTreeMap<String, String> = fields(fragment.as_bytes()).into_iter().collect();
    let value = |name: &str| set.get(name).map(String::as_str);
    let mut found = Vec::new();
    let repeats: u32 = value("rc")
        .and_then(|count| count.parse().ok())
        .unwrap_or(1);
    let on: Vec<&str> = value("rp").unwrap_or("ct").split(',').collect();
    let on_5xx = on.contains(&"all") || on.contains(&"5xx");
    let on_slow = on.contains(&"all") || on.contains(&"rt");
    if repeats > 5 {
        found.push((
            Severity::Wrong,
            format!("rc={repeats} is more than Twilio takes, which is 5"),
        ));
    }
    if repeats == 0 || !on_5xx || !on_slow {
        let sentence = format!(
            "it does not ask Twilio to repeat after a 5xx or a slow answer, which then loses the \
             call; end it in {OVERRIDES}"
        );
        found.push((Severity::Risky, sentence));
    } else if repeats < 5 {
        found.push((
            Severity::Risky,
            format!("rc={repeats} asks for fewer repeats than 5"),
        ));
    }
    for (name, range, usual) in [
        ("ct", 100..=10_000, 5000),
        ("rt", 100..=15_000, 15_000),
        ("tt", 100..=15_000, 15_000),
    ] {
        let Some(text) = value(name) else { continue };
        match text.parse::<u32>() {
            Ok(ms) if range.contains(&ms) && (ms >= 1000 || ms >= usual) => {}
            Ok(ms) if range.contains(&ms) => {
                let sentence = format!("{name}={ms} gives up after less than a second");
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
        found.push((
            Severity::Wrong,
            format!("the override {name:?} is none of Twilio's"),
        ));
    }
    found
}

#[cfg(test)]
mod tests;
