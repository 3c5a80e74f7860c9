//! Schemes, hosts and ports that may have been signed instead of the configured ones.
//!
//! It computes no signature: `candidates` does.

use super::super::raw_url::RawUrl;
use super::candidates::Candidate;
use super::difference::Difference;
use super::input::DiagnosisInput;

/// Ports on which services and proxies usually listen.
const USUAL_PORTS: [&str; 9] = [
    "443", "80", "8443", "8080", "3000", "5000", "8000", "8888", "9443",
];

/// Headers in which a proxy reports the host that its client requested.
pub(super) const HOST_HEADERS: [&str; 6] = [
    "x-forwarded-host",
    "x-original-host",
    "x-host",
    "x-forwarded-server",
    "x-http-host-override",
    "host",
];

const MAX_HOSTS: usize = 9;
const MAX_PORTS: usize = 16;

/// The origins to try for a configured one, which comes first.
pub(super) fn origins(configured: &str, input: &DiagnosisInput<'_>) -> Vec<Candidate> {
    // A URL that was given without its scheme is diagnosed as https.
    let with_scheme = match RawUrl::of(configured).scheme {
        "" => format!("https://{configured}"),
        _ => configured.to_owned(),
    };
    let origin = RawUrl::of(&with_scheme);
    let leftover = origin.user_info.map(|_| Difference::Leftover);
    let other = if origin.scheme.eq_ignore_ascii_case("https") {
        "http"
    } else {
        "https"
    };
    let mut found = Vec::new();
    for (host, host_difference, source) in hosts(&origin, input) {
        for (scheme, scheme_difference) in
            [(origin.scheme, None), (other, Some(Difference::Scheme))]
        {
            for (port, port_difference, known) in ports(&origin, input) {
                let colon = if port.is_empty() { "" } else { ":" };
                let text = format!("{scheme}://{host}{colon}{port}");
                let differences = [
                    host_difference.clone(),
                    scheme_difference.clone(),
                    port_difference,
                ];
                let differences = leftover
                    .iter()
                    .cloned()
                    .chain(differences.into_iter().flatten());
                let candidate = Candidate::new(text, differences);
                // The host and port that a proxy reports belong together: one difference.
                let reported = source == Source::Reported && known == Source::Reported;
                let cost = if reported { 1 } else { candidate.cost };
                found.push(candidate.with_cost(cost));
            }
        }
    }
    found
}

/// Why a host or port is tried.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Configured,
    /// A header of the request has it.
    Reported,
    Guessed,
}

type Found = Vec<(String, Option<Difference>, Source)>;

fn hosts(origin: &RawUrl<'_>, input: &DiagnosisInput<'_>) -> Found {
    let mut hosts = vec![(origin.host.to_owned(), None, Source::Configured)];
    let mut add = |host: &str, source| {
        let is_host = !host.is_empty() && host.bytes().all(|b| b.is_ascii_graphic() && b != b'/');
        if is_host && hosts.len() < MAX_HOSTS && hosts.iter().all(|(known, ..)| known != host) {
            hosts.push((host.to_owned(), Some(Difference::Host), source));
        }
    };
    for authority in authorities(input) {
        add(RawUrl::of(&authority).host, Source::Reported);
    }
    add(&origin.host.to_ascii_lowercase(), Source::Guessed);
    match origin.host.strip_prefix("www.") {
        Some(bare) => add(bare, Source::Guessed),
        None => add(&format!("www.{}", origin.host), Source::Guessed),
    }
    hosts
}

fn ports(origin: &RawUrl<'_>, input: &DiagnosisInput<'_>) -> Found {
    let default = if origin.scheme.eq_ignore_ascii_case("https") {
        "443"
    } else {
        "80"
    };
    let configured = origin.port.unwrap_or_default();
    // Counts as reported, so that a reported host with the configured port is one difference.
    let mut ports = vec![(configured.to_owned(), None, Source::Reported)];
    let mut add = |port: &str, source| {
        let is_port = port.bytes().all(|byte| byte.is_ascii_digit());
        if is_port && ports.len() < MAX_PORTS && ports.iter().all(|(known, ..)| known != port) {
            // Plain verification also tries the URL without a port and with the default one.
            let is_plain = port.is_empty() || (configured.is_empty() && port == default);
            ports.push((
                port.to_owned(),
                (!is_plain).then_some(Difference::Port),
                source,
            ));
        }
    };
    add("", Source::Reported);
    for port in input.header("x-forwarded-port") {
        add(port.trim(), Source::Reported);
    }
    for authority in authorities(input) {
        add(
            RawUrl::of(&authority).port.unwrap_or_default(),
            Source::Reported,
        );
    }
    for port in USUAL_PORTS {
        add(port, Source::Guessed);
    }
    ports
}

/// The hosts, with their ports, that headers report.
fn authorities(input: &DiagnosisInput<'_>) -> Vec<String> {
    let headers = HOST_HEADERS.iter().flat_map(|name| input.header(name));
    let mut reported: Vec<String> = headers
        .flat_map(|value| value.split(','))
        .map(|host| host.trim().to_owned())
        .collect();
    reported.extend(input.forwarded("host"));
    reported
}
