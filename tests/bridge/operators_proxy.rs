//! The sample of `deploy/` in which nginx signs operators in, before a real bridge.

use std::net::{SocketAddr, TcpStream};

use crate::audit::OPERATORS;
use crate::https::{Client, Pair};
use crate::proxies::Proxy;
use crate::proxies::rules::Kind;
use crate::support::harness::Bridge;
use crate::support::port::Port;
use crate::support::twilio::sid;

/// What oauth2-proxy answers: who has a session, here by a cookie. Without a name, it is a broken one.
const SIGN_IN: &str = "location = /oauth2/auth {
    if ($http_cookie = \"\") { return 401; }
    add_header X-Auth-Request-User $cookie_user;
    return 200;
}
location / { return 200 \"sign in\"; }";

const ADMIN: &str = "[admin]\nuser_header = \"X-Forwarded-User\"\ntrusted_proxies = [\"127.0.0.1\"]\n\
                     hosts = [\"bridge.example.com\"]\n";

fn sample(
    folder: &std::path::Path,
    listen: SocketAddr,
    bridge: SocketAddr,
    sign_in: SocketAddr,
) -> String {
    let mut text = include_str!("../../deploy/nginx-operators.conf").to_owned();
    let file = |name: &str| folder.join(name).display().to_string();
    for (from, to) in [
        ("listen 443", format!("listen {listen}")),
        ("/etc/nginx/bridge.pem", file("cert.pem")),
        ("/etc/nginx/bridge-key.pem", file("key.pem")),
        ("10.0.0.11:9090", bridge.to_string()),
        ("127.0.0.1:4180", sign_in.to_string()),
        (
            "events {",
            format!("{}events {{", Kind::nginx_in_front(folder)),
        ),
        ("http {", format!("http {{ {}", Kind::nginx_folders(folder))),
    ] {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, &to);
    }
    text
}

#[test]
fn nginx_signs_operators_in_and_a_name_that_a_client_sends_is_replaced() {
    let mut bridge = Bridge::with(&[("BRIDGE__ADMIN__TOKEN", "open-sesame")]);
    bridge.twilio.ends(&sid(1), "completed");
    bridge.settles();
    bridge.restarts_with(&format!("{ADMIN}{OPERATORS}"));
    let folder = tempfile::tempdir().expect("a folder");
    let (pair, port) = (Pair::new(), Port::reserve());
    pair.write(folder.path());
    let Some(sign_in) = Proxy::start(Kind::Nginx, SIGN_IN, bridge.admin_address()) else {
        return;
    };
    let text = sample(
        folder.path(),
        port.address,
        bridge.admin_address(),
        sign_in.address,
    );
    let proxy = Proxy::run(Kind::Nginx, &text, port, folder).expect("nginx is installed");
    let requeue = |headers: &[(&str, &str)]| {
        let tcp = TcpStream::connect(proxy.address).expect("nginx listens");
        let client = Client::over(tcp, &[&pair], &["http/1.1"]);
        let target = format!("/api/calls/{}/requeue", sid(1));
        client.expect("TLS").posts(&target, headers, "{}")
    };
    assert_eq!(requeue(&[]), 302, "to the page of the sign-in service");
    assert_eq!(requeue(&[("Cookie", "user=alice")]), 202);
    assert_eq!(requeue(&[("Cookie", "user=vera")]), 403, "a viewer");
    assert_eq!(
        requeue(&[("Cookie", "user=mallory")]),
        403,
        "not listed: a viewer"
    );
    let forged = [
        ("X-Forwarded-User", "alice"),
        ("Authorization", "Bearer token-of-alice"),
    ];
    assert_eq!(requeue(&forged), 302);
    let of_a_viewer = [&forged[..], &[("Cookie", "user=vera")]].concat();
    assert_eq!(requeue(&of_a_viewer), 403);
    let without_a_name = [&forged[..], &[("Cookie", "session=x")]].concat();
    assert_eq!(requeue(&without_a_name), 401, "of the bridge");
    let origin = [
        ("Cookie", "user=alice"),
        ("Origin", "https://bridge.example.com"),
    ];
    assert_eq!(requeue(&origin), 202, "the console's own form");
    let rows = bridge.admin("GET", "/api/audit", &[("X-Forwarded-User", "alice")]);
    let rows = rows.json()["audit"].clone();
    assert_eq!(rows[0]["actor"], "alice");
    assert_eq!(rows[0]["known_by"], "header");
    bridge.settles();
}
