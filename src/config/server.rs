//! `[server]`: the public listener, which Twilio's requests reach.
//!
//! Sockets are opened in `server/listener`.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;

use super::duration::{hours, millis, minutes, seconds};
use super::files::pair;
use super::reader::SettingsReader;
use super::setting::restart;
use crate::net::http_url::HttpUrl;
use crate::net::tls::CertificatePair;
use crate::twilio::callback::CallbackKind;
use crate::twilio::signature::PublicUrl;

/// Applies on reload, unless HTTPS is switched on or off.
const TLS_FILES: [&str; 2] = ["server.tls_cert_file", "server.tls_key_file"];

/// Applies on reload, unless the PROXY protocol is required and no proxy would be left.
const TRUSTED_PROXIES: &str = "server.trusted_proxies";

/// The public listener.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    pub listen: SocketAddr,
    /// At least one: the URLs entered at Twilio, without the served path.
    pub public_urls: Vec<PublicUrl>,
    /// Limit of open connections.
    pub max_connections: usize,
    /// For each address of a client, except trusted proxies.
    pub max_connections_per_client: usize,
    /// Limit for receiving one request with its body.
    pub request_timeout: Duration,
    /// How long an idle connection stays open.
    pub keep_alive: Duration,
    /// Time between the signal to stop and the stop. Meanwhile `/readyz` answers 503 and callbacks
    /// are still accepted.
    pub drain: Duration,
    /// Limit for finishing requests and deliveries in flight after the drain.
    pub stop_timeout: Duration,
    /// Serves HTTPS if set.
    pub tls: Option<CertificatePair>,
    /// Load balancers that may name the client's address.
    pub trusted_proxies: Vec<IpNet>,
    pub proxy_protocol: ProxyProtocolSetting,
}

words! {
    /// Whether connections start with a PROXY protocol header.
    pub enum ProxyProtocolSetting {
        Off = "off",
        /// Every connection starts with a header, version 1 or 2, and comes from one of the trusted
        /// proxies, of which there is at least one.
        Required = "required",
    }
}

/// Reads the section.
pub(super) fn read(reader: &mut SettingsReader) -> Option<ServerSettings> {
    let listen = reader.text(restart("server.listen"), socket_address);
    let public_urls = public_urls(reader);
    if !reader.is_set("server.public_url") {
        reader.mistake(
            "server.public_url is not set: set it to the URL entered at Twilio, such as \
             https://bridge.example.com (or set BRIDGE__SERVER__PUBLIC_URL)",
        );
    }
    let max_connections = reader.number(restart("server.max_connections"), 1..=1_000_000);
    let max_connections_per_client =
        reader.number(restart("server.max_connections_per_client"), 1..=1_000_000);
    let request_timeout =
        reader.duration(restart("server.request_timeout"), millis(100)..=seconds(15));
    let keep_alive = reader.duration(restart("server.keep_alive"), seconds(1)..=hours(24));
    let drain = reader.duration(restart("server.drain"), millis(0)..=minutes(10));
    let stop_timeout = reader.duration(restart("server.stop_timeout"), millis(100)..=minutes(10));
    let tls = pair(reader, TLS_FILES, "TLS");
    let protocols = &ProxyProtocolSetting::WORDS;
    let proxy_protocol = reader.choice(restart("server.proxy_protocol"), protocols);
    let trusted_proxies = reader.list(TRUSTED_PROXIES, network);
    if proxy_protocol == Some(ProxyProtocolSetting::Required) && !reader.is_set(TRUSTED_PROXIES) {
        let name = reader.name("server.proxy_protocol");
        reader.mistake(format!(
            "{name} = \"required\" needs {TRUSTED_PROXIES}: set it to the addresses of the load \
             balancers that send the header"
        ));
    }
    Some(ServerSettings {
        listen: listen?,
        public_urls: public_urls?,
        max_connections: max_connections?,
        max_connections_per_client: max_connections_per_client?,
        request_timeout: request_timeout?,
        keep_alive: keep_alive?,
        drain: drain?,
        stop_timeout: stop_timeout?,
        tls,
        trusted_proxies: trusted_proxies.unwrap_or_default(),
        proxy_protocol: proxy_protocol?,
    })
}

pub(super) fn public_urls(reader: &mut SettingsReader) -> Option<Vec<PublicUrl>> {
    let status = reader.text(restart("server.status_path"), path);
    let recording = reader.text(restart("server.recording_path"), path);
    let urls = reader.list(restart("server.public_url"), |text| {
        PublicUrl::parse(text).map_err(|why| why.to_string())
    });
    let (status, recording) = (status?, recording?);
    let with_paths = |url: PublicUrl| {
        url.with_path(CallbackKind::Status.path(), &status)
            .with_path(CallbackKind::Recording.path(), &recording)
    };
    urls.map(|urls| urls.into_iter().map(with_paths).collect())
}

fn path(text: &str) -> Result<String, String> {
    if text.starts_with('/') && !text.contains(|c: char| "?#".contains(c) || c.is_whitespace()) {
        Ok(text.to_owned())
    } else {
        Err("must be a path such as /hooks/voice-ended, without a query".to_owned())
    }
}

impl ServerSettings {
    /// The hosts to which Twilio connects by TLS.
    pub fn https_hosts(&self) -> Vec<HttpUrl> {
        let urls = self.public_urls.iter();
        let urls = urls.filter_map(|url| HttpUrl::parse(&url.to_string()).ok());
        urls.filter(|url| url.is_https).collect()
    }

    /// These settings with what `new` changes in a running bridge, and the keys that keep their old
    /// values this time although a reload usually applies them.
    pub(super) fn reload(&self, new: Self) -> (Self, Vec<&'static str>) {
        let mut server = self.clone();
        let mut kept = Vec::new();
        // Without a trusted proxy the listener would close every connection.
        if self.proxy_protocol == ProxyProtocolSetting::Required && new.trusted_proxies.is_empty() {
            kept.push(TRUSTED_PROXIES);
        } else {
            server.trusted_proxies = new.trusted_proxies;
        }
        // An open listener cannot change between HTTP and HTTPS.
        if self.tls.is_some() == new.tls.is_some() {
            server.tls = new.tls;
        } else {
            kept.extend(TLS_FILES);
        }
        (server, kept)
    }
}

pub(super) fn socket_address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "must be IP:PORT, such as 127.0.0.1:9090 or [::1]:9090".to_owned())
}

pub(super) fn network(text: &str) -> Result<IpNet, String> {
    let address = |_| text.parse::<IpAddr>().map(IpNet::from);
    text.parse().or_else(address).map_err(|_| {
        "must be an IP address or a network, such as 10.0.0.7 or 10.0.0.0/24".to_owned()
    })
}
