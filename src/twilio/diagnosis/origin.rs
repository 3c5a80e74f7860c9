//! Which scheme, host and port may have been signed instead.

use super::super::raw_url::RawUrl;
use super::difference::Difference;
use super::{Candidate, DiagnosisInput};

/// Ports that services and proxies usually stand on.
const USUAL_PORTS: [&str; 9] = [
    "443", "80", "8443", "8080", "3000", "5000", "8000", "8888", "9443",
];

/// Headers in which a proxy tells the host that it was asked for.
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

/// The origins to try for one that is configured, itself first.
pub(super) fn origins(configured: &str, evidence: &DiagnosisInput<'_>) -> Vec<Candidate> {
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
    for (host, host_fault, source) in hosts(&origin, evidence) {
        for (scheme, scheme_fault) in [(origin.scheme, None), (other, Some(Difference::Scheme))] {
            for (port, port_fault, known) in ports(&origin, evidence) {
                let colon = if port.is_empty() { "" } else { ":" };
                let text = format!("{scheme}://{host}{colon}{port}");
                let faults = [host_fault.clone(), scheme_fault.clone(), port_fault];
                let faults = leftover.iter().cloned().chain(faults.into_iter().flatten());
                let candidate = Candidate::new(text, faults);
                // What a proxy tells hangs together, and is one difference.
                let told = source == Source::Told && known == Source::Told;
                let cost = if told { 1 } else { candidate.cost };
                found.push(candidate.costs(cost));
            }
        }
    }
    found
}

/// How a host or port came to be tried.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Configured,
    /// By a header of the request.
    Told,
    Guessed,
}

type Found = Vec<(String, Option<Difference>, Source)>;

fn hosts(origin: &RawUrl<'_>, evidence: &DiagnosisInput<'_>) -> Found {
    let mut hosts = vec![(origin.host.to_owned(), None, Source::Configured)];
    let mut add = |host: &str, source| {
        let is_host = !host.is_empty() && host.bytes().all(|b| b.is_ascii_graphic() && b != b'/');
        if is_host && hosts.len() < MAX_HOSTS && hosts.iter().all(|(known, ..)| known != host) {
            hosts.push((host.to_owned(), Some(Difference::Host), source));
        }
    };
    for authority in authorities(evidence) {
        add(RawUrl::of(&authority).host, Source::Told);
    }
    add(&origin.host.to_ascii_lowercase(), Source::Guessed);
    match origin.host.strip_prefix("www.") {
        Some(bare) => add(bare, Source::Guessed),
        None => add(&format!("www.{}", origin.host), Source::Guessed),
    }
    hosts
}

fn ports(origin: &RawUrl<'_>, evidence: &DiagnosisInput<'_>) -> Found {
    let default = if origin.scheme.eq_ignore_ascii_case("https") {
        "443"
    } else {
        "80"
    };
    let configured = origin.port.unwrap_or_default();
    let mut ports = vec![(configured.to_owned(), None, Source::Told)];
    let mut add = |port: &str, source| {
        let is_port = port.bytes().all(|byte| byte.is_ascii_digit());
        if is_port && ports.len() < MAX_PORTS && ports.iter().all(|(known, ..)| known != port) {
            // Plain verification leaves a port out, and adds the default one, by itself.
            let is_plain = port.is_empty() || (configured.is_empty() && port == default);
            ports.push((
                port.to_owned(),
                (!is_plain).then_some(Difference::Port),
                source,
            ));
        }
    };
    add("", Source::Told);
    for port in evidence.header("x-forwarded-port") {
        add(port.trim(), Source::Told);
    }
    for authority in authorities(evidence) {
        add(
            RawUrl::of(&authority).port.unwrap_or_default(),
            Source::Told,
        );
    }
    for port in USUAL_PORTS {
        add(port, Source::Guessed);
    }
    ports
}

/// The hosts, with their ports, that headers tell.
fn authorities(evidence: &DiagnosisInput<'_>) -> Vec<String> {
    let headers = HOST_HEADERS.iter().flat_map(|name| evidence.header(name));
    let mut told: Vec<String> = headers
        .flat_map(|value| value.split(','))
        .map(|host| host.trim().to_owned())
        .collect();
    told.extend(evidence.forwarded("host"));
    told
}
