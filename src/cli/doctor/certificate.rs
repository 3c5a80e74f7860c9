//! Checks the certificate that Twilio gets: in the files of `server`, from the running bridge, and at
//! `server.public_url`, where a load balancer may have its own.

use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs as _};
use std::time::Duration;

use rustls::pki_types::CertificateDer;

use super::note::Note;
use crate::clock::Millis;
use crate::config::{Config, ProxyProtocolSetting};
use crate::net::http_url::HttpUrl;
use crate::net::tls::chain::{expiry, problems};
use crate::net::tls::handshake::presented_chain;
use crate::server::listener::certificate;

const ABOUT: &str = "certificate";

/// For each step of a handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);

type Chain = Vec<CertificateDer<'static>>;

/// The files, and the bridge on this machine.
pub(super) fn of_bridge(config: &Config, now: Millis) -> Vec<Note> {
    let server = &config.server;
    let Some(pair) = &server.tls else {
        return Vec::new();
    };
    let file = pair.cert_file.display();
    let key_file = pair.key_file.display();
    let hosts = server.https_hosts();
    let hosts: Vec<&str> = hosts.iter().map(|url| url.host.as_str()).collect();
    let mut notes = Vec::new();
    let chain = match certificate::read(pair) {
        Ok(read) => read.cert,
        Err(why) => {
            notes.push(Note::problem(
                ABOUT,
                format!("{why}: serve cannot start with it; set the pair that belongs together"),
            ));
            return notes;
        }
    };
    let name = format!("server.tls_cert_file {file} with {key_file}");
    notes.extend(of_chain(&name, &chain, &hosts, now));
    let mut address = server.listen;
    if address.ip().is_unspecified() {
        address.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    if let ProxyProtocolSetting::Off = server.proxy_protocol
        && let Some(host) = hosts.first()
        // Without a running bridge there is nothing to compare.
        && let Ok(served) = presented_chain(address, host, HANDSHAKE_TIMEOUT)
        && served != chain
    {
        notes.push(Note::problem(
            ABOUT,
            format!(
                "the program on server.listen ({address}) serves another certificate than {file}: look \
                 in the log of the bridge for the reason why it kept the previous one, or restart it"
            ),
        ));
        let name = format!("the certificate on {address}");
        notes.extend(of_chain(&name, &served, &hosts, now));
    }
    notes
}

/// What a client gets at each public URL. Not every network lets a machine reach its own public address.
pub(super) fn of_public_urls(config: &Config, now: Millis) -> Vec<Note> {
    let of_host = |url: HttpUrl| {
        let name = format!("the certificate at https://{}:{}", url.host, url.port);
        let presented = (url.host.as_str(), url.port)
            .to_socket_addrs()
            .and_then(|mut found| found.next().ok_or(std::io::ErrorKind::NotFound.into()))
            .and_then(|address: SocketAddr| presented_chain(address, &url.host, HANDSHAKE_TIMEOUT));
        match presented {
            Ok(chain) => of_chain(&name, &chain, &[&url.host], now),
            Err(why) => vec![Note::unknown(
                ABOUT,
                format!("{name} cannot be checked from this machine: {why}"),
            )],
        }
    };
    let hosts = config.server.https_hosts().into_iter();
    hosts.flat_map(of_host).collect()
}

fn of_chain(name: &str, chain: &Chain, hosts: &[&str], now: Millis) -> Vec<Note> {
    let problems = problems(chain, hosts, now);
    if problems.is_empty() {
        let until = expiry(chain).unwrap_or_default();
        return vec![Note::ok(ABOUT, format!("{name} is valid until {until}"))];
    }
    let note = |problem| Note::problem(ABOUT, format!("{name}: {problem}"));
    problems.into_iter().map(note).collect()
}
