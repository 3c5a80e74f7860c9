//! Rules that are common in configurations of proxies, and the cause that the bridge finds for each.

use std::net::SocketAddr;
use std::path::Path;

#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Nginx,
    Haproxy,
}

impl Kind {
    pub fn program(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
        }
    }

    /// Rules that pass everything as it is.
    pub fn plain(self) -> &'static str {
        match self {
            Self::Nginx => "location / { proxy_pass http://bridge; }",
            Self::Haproxy => "",
        }
    }

    /// What every nginx configuration of the tests starts with.
    pub fn nginx_in_front(folder: &Path) -> String {
        let folder = folder.display();
        format!("daemon off; master_process off; pid {folder}/pid; error_log stderr warn;\n")
    }

    /// What it writes to, in its `http`.
    pub fn nginx_folders(folder: &Path) -> String {
        let folder = folder.display();
        format!(
            "client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;\n\
             fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;\n"
        )
    }

    pub fn configuration(
        self,
        rules: &str,
        listen: SocketAddr,
        bridge: SocketAddr,
        folder: &Path,
    ) -> String {
        let (in_front, folders) = (Self::nginx_in_front(folder), Self::nginx_folders(folder));
        match self {
            Self::Nginx => format!(
                "{in_front}\
                 events {{ worker_connections 64; }}\n\
                 http {{ access_log off;\n\
                 {folders}\
                 upstream bridge {{ server {bridge}; }}\n\
                 server {{ listen {listen};\n{rules}\n}} }}\n"
            ),
            Self::Haproxy => format!(
                "global\n expose-experimental-directives\n\
                 defaults\n mode http\n timeout connect 5s\n timeout client 5s\n timeout server 5s\n\
                 frontend twilio\n bind {listen}\n{rules}\n default_backend bridge\n\
                 backend bridge\n server bridge {bridge}\n"
            ),
        }
    }
}

pub struct Case {
    pub kind: Kind,
    pub rules: &'static str,
    pub public_url: &'static str,
    /// The URL entered at Twilio. The tests request its path and query.
    pub signed_url: &'static str,
    pub reason: &'static str,
}

const PLAIN: &str = "https://bridge.example.com";
const STATUS: &str = "https://bridge.example.com/twilio/voice/status";

#[rustfmt::skip]
/// A row each: the rules, `server.public_url`, the URL entered at Twilio, the cause.
const NGINX: [(&str, &str, &str, &str); 21] = [
    ("location /acme/ { proxy_pass http://bridge/; proxy_set_header X-Forwarded-Prefix /acme; }",
        PLAIN, "https://bridge.example.com/acme/twilio/voice/status", "prefix"),
    ("location /api/ { proxy_pass http://bridge/; }",
        PLAIN, "https://bridge.example.com/api/twilio/voice/status", "prefix"),
    ("location /a/b/ { proxy_pass http://bridge/; proxy_set_header X-Original-URI $request_uri; }",
        PLAIN, "https://bridge.example.com/a/b/twilio/voice/status", "prefix"),
    ("location / { proxy_pass http://bridge/inner/; }",
        "https://bridge.example.com/inner", STATUS, "prefix"),
    ("location / { proxy_pass http://bridge; }",
        "https://bridge.example.com/calls", STATUS, "prefix"),
    ("location / { proxy_pass http://bridge; proxy_set_header X-Forwarded-Host $host; }",
        "https://old.example.com", STATUS, "host"),
    ("location / { proxy_pass http://bridge; proxy_set_header Host $http_host; }",
        "https://old.example.com", STATUS, "host"),
    ("location / { proxy_pass http://bridge; proxy_set_header Forwarded \"host=$host;proto=https\"; }",
        "http://127.0.0.1:8080", STATUS, "host"),
    ("location / { proxy_pass http://bridge; proxy_set_header X-Forwarded-Proto https; }",
        "http://bridge.example.com", STATUS, "scheme"),
    ("location / { proxy_pass http://bridge; proxy_set_header X-Forwarded-Port 4443; }",
        PLAIN, "https://bridge.example.com:4443/twilio/voice/status", "port"),
    ("location / { rewrite ^(.*)/$ $1 break; proxy_pass http://bridge; }",
        PLAIN, "https://bridge.example.com/twilio/voice/status/", "trailing-slash"),
    ("location / { proxy_pass http://bridge/; }",
        PLAIN, "https://bridge.example.com//twilio/voice/status", "path"),
    ("location = /phone/hook { proxy_pass http://bridge/twilio/voice/status; proxy_set_header X-Original-URI $request_uri; }",
        PLAIN, "https://bridge.example.com/phone/hook", "path"),
    ("location / { rewrite ^ /twilio/voice/status? break; proxy_pass http://bridge; }",
        PLAIN, "https://bridge.example.com/twilio/voice/status?email=jane%40example.com", "query-lost"),
    ("location / { rewrite ^ /twilio/voice/status? break; proxy_pass http://bridge; proxy_set_header X-Original-URI $request_uri; }",
        PLAIN, "https://bridge.example.com/twilio/voice/status?email=ann%40example.com", "query-lost"),
    ("location / { rewrite ^(.*)$ $1?via=edge break; proxy_pass http://bridge; }",
        PLAIN, STATUS, "query-added"),
    ("location / { set $args \"email=$arg_email&zone=$arg_zone\"; proxy_pass http://bridge; }",
        PLAIN, "https://bridge.example.com/twilio/voice/status?zone=1&email=a", "query-order"),
    ("location / { if ($args ~ \"^(.*)%40(.*)$\") { set $args $1@$2; } proxy_pass http://bridge; }",
        PLAIN, "https://bridge.example.com/twilio/voice/status?email=ann%40example.com", "query-encoding"),
    ("location / { proxy_pass http://bridge; proxy_http_version 1.1; proxy_pass_request_body off; proxy_set_header Content-Length \"\"; }",
        PLAIN, STATUS, "body-lost"),
    ("location / { proxy_pass http://bridge; proxy_set_header X-Twilio-Signature \"\"; }",
        PLAIN, STATUS, "no-signature"),
    ("location / { proxy_pass http://bridge; proxy_set_header X-Twilio-Signature \"'$http_x_twilio_signature'\"; }",
        PLAIN, STATUS, "signature-text"),
];

#[rustfmt::skip]
const HAPROXY: [(&str, &str, &str, &str); 12] = [
    (" http-request replace-path /acme(/.*) \\1\n http-request set-header X-Forwarded-Prefix /acme",
        PLAIN, "https://bridge.example.com/acme/twilio/voice/status", "prefix"),
    (" http-request replace-path /hooks(/.*) \\1",
        PLAIN, "https://bridge.example.com/hooks/twilio/voice/status", "prefix"),
    (" http-request set-header X-Forwarded-Host %[req.hdr(host)]\n http-request set-header Host inner:8080",
        "http://inner:8080", STATUS, "host"),
    (" http-request set-header X-Forwarded-Port 8443",
        PLAIN, "https://bridge.example.com:8443/twilio/voice/status", "port"),
    (" http-request replace-path (.*)/$ \\1",
        PLAIN, "https://bridge.example.com/twilio/voice/status/", "trailing-slash"),
    (" http-request normalize-uri path-merge-slashes",
        PLAIN, "https://bridge.example.com/twilio//voice/status", "path"),
    (" http-request normalize-uri query-sort-by-name",
        PLAIN, "https://bridge.example.com/twilio/voice/status?zone=1&email=a", "query-order"),
    (" http-request normalize-uri percent-to-uppercase",
        PLAIN, "https://bridge.example.com/twilio/voice/status?email=a%3ab", "query-encoding"),
    (" http-request set-query via=edge",
        PLAIN, STATUS, "query-added"),
    (" http-request set-header X-Original-URI %[url]\n http-request set-uri %[path]",
        PLAIN, "https://bridge.example.com/twilio/voice/status?email=ann%40example.com", "query-lost"),
    (" http-request del-header X-Twilio-Signature",
        PLAIN, STATUS, "no-signature"),
    (" http-request set-header X-Twilio-Signature %[req.hdr(x-twilio-signature),lower]",
        PLAIN, STATUS, "signature-text"),
];

pub fn cases() -> impl Iterator<Item = Case> {
    let of = |kind| {
        move |(rules, public_url, signed_url, reason)| Case {
            kind,
            rules,
            public_url,
            signed_url,
            reason,
        }
    };
    let nginx = NGINX.into_iter().map(of(Kind::Nginx));
    nginx.chain(HAPROXY.into_iter().map(of(Kind::Haproxy)))
}
