//! Checks the certificate that Twilio gets: in the files of `server`, from the running bridge, and at
//! `server.public_url`, where a load balancer may have its own.

use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs as _};
use std::time::Duration;

use rustls::pki_types::CertificateDer;

use super::note::Notes;
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
pub(super) fn of_bridge(notes: &mut Notes, config: &Config, now: Millis) {
    let server = &config.server;
    let Some(pair) = &server.tls else {
        return;
    };
    let file = pair.cert_file.display();
    let key_file = pair.key_file.display();
    let hosts = server.https_hosts();
    let hosts: Vec<&str> = hosts.iter().map(|url| url.host.as_str()).collect();
    let chain = match certificate::read(pair) {
        Ok(read) => read.cert,
        Err(why) => {
            let sentence =
                format!("{why}: serve cannot start with it; set the pair that belongs together");
            return notes.problem(ABOUT, sentence);
        }
    };
    let name = format!("server.tls_cert_file {file} with {key_file}");
    of_chain(notes, &name, &chain, &hosts, now);
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
        notes.problem(
            ABOUT,
            format_args!(
                "the program on server.listen ({address}) serves another certificate than {file}: look \
                 in the log of the bridge for the reason why it kept the previous one, or restart it"
            ),
        );
        let name = format!("the certificate on {address}");
        of_chain(notes, &name, &served, &hosts, now);
    }
}

/// What a client gets at each public URL. Not every network lets a machine reach its own public address.
pub(super) fn of_public_urls(notes: &mut Notes, config: &Config, now: Millis) {
    for HttpUrl { host, port, .. } in config.server.https_hosts() {
        let name = format!("the certificate at https://{host}:{port}");
        let presented = (host.as_str(), port)
            .to_socket_addrs()
            .and_then(|mut found| found.next().ok_or(std::io::ErrorKind::NotFound.into()))
            .and_then(|address: SocketAddr| presented_chain(address, &host, HANDSHAKE_TIMEOUT));
        match presented {
            Ok(chain) => of_chain(notes, &name, &chain, &[&host], now),
            Err(why) => {
                let sentence = format!("{name} cannot be checked from this machine: {why}");
                notes.unknown(ABOUT, sentence);
            }
        }
    }
}

fn of_chain(notes: &mut Notes, name: &str, chain: &Chain, hosts: &[&str], now: Millis) {
    let problems = problems(chain, hosts, now);
    if problems.is_empty() {
        let until = expiry(chain).unwrap_or_default();
        notes.ok(ABOUT, format_args!("{name} is valid until {until}"));
    }
    for problem in problems {
        notes.problem(ABOUT, format_args!("{name}: {problem}"));
    }
}
