//! Whether a request comes from the console itself, or from a page of another site in the same browser.
//!
//! A page can point a name of its own to the address of the admin listener (DNS rebinding). Its requests
//! then have that name as their host.

use std::net::IpAddr;

use actix_web::dev::RequestHead;
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderMap, HeaderName};
use actix_web::http::uri::Authority;

use super::error::AdminError;

/// Refuses a host that is not the bridge's, and a request of a page of another site. `hosts` are the
/// names of `admin.hosts`, in lower case.
pub(super) fn check(head: &RequestHead, hosts: &[String]) -> Result<(), AdminError> {
    let host = one(&head.headers, header::HOST).ok_or(AdminError::ForeignHost)?;
    // A client may send the whole URL as the target; then both must be right.
    let in_target = head.uri.authority().map(Authority::as_str);
    if ![Some(host), in_target]
        .into_iter()
        .flatten()
        .all(|host| is_own(host, hosts))
    {
        return Err(AdminError::ForeignHost);
    }
    if head.headers.contains_key(header::ORIGIN) {
        let origin = one(&head.headers, header::ORIGIN);
        if !origin.is_some_and(|origin| is_origin_of(origin, host)) {
            return Err(AdminError::AnotherSite);
        }
    }
    // A link on another page may open a page of the console, but a form there may do nothing. Over
    // plain HTTP to a name, browsers do not send this header, so the origin is checked as well.
    let fetch_site = head.headers.get_all("sec-fetch-site");
    let is_from_elsewhere = fetch_site
        .into_iter()
        .any(|site| site != "same-origin" && site != "none");
    if is_from_elsewhere && ![Method::GET, Method::HEAD].contains(&head.method) {
        return Err(AdminError::AnotherSite);
    }
    Ok(())
}

/// The value of a header that must not be repeated.
fn one(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name);
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// Loopback names, IP addresses (rebinding needs a name) and `hosts`, on any port.
fn is_own(host: &str, hosts: &[String]) -> bool {
    let Some((name, _)) = split_port(host) else {
        return false;
    };
    let bare = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'));
    if let Some(bare) = bare {
        return matches!(bare.parse(), Ok(IpAddr::V6(_)));
    }
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    name == "localhost" || matches!(name.parse(), Ok(IpAddr::V4(_))) || hosts.contains(&name)
}

/// A host and its port; `None` if the port is no number.
fn split_port(host: &str) -> Option<(&str, Option<u16>)> {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => Some((name, Some(port.parse().ok()?))),
        _ => Some((host, None)),
    }
}

/// Whether `origin` has the host and port of `host`. The scheme may differ, because a proxy may decrypt.
fn is_origin_of(origin: &str, host: &str) -> bool {
    let (origin, default) = match origin.split_once("://") {
        Some(("http", rest)) => (rest, 80),
        Some(("https", rest)) => (rest, 443),
        _ => return false,
    };
    let port = |port: Option<u16>| port.unwrap_or(default);
    match (split_port(origin), split_port(host)) {
        (Some((name, one)), Some((own, other))) => {
            name.eq_ignore_ascii_case(own) && port(one) == port(other)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    /// `headers` are lines.
    fn checked(method: Method, headers: &str) -> Result<(), AdminError> {
        let headers = headers.lines().filter_map(|line| line.split_once(": "));
        let request = headers.fold(TestRequest::default(), TestRequest::append_header);
        let request = request.method(method).to_srv_request();
        check(request.head(), &["console.internal".to_owned()])
    }

    fn is_served(host: &str) -> bool {
        match checked(Method::GET, &format!("Host: {host}")) {
            Ok(()) => true,
            Err(why) => !matches!(why, AdminError::ForeignHost),
        }
    }

    #[test]
    fn only_the_names_of_the_bridge_and_addresses_are_served() {
        let own = "127.0.0.1 127.0.0.1:9090 localhost LOCALHOST:9090 localhost. [::1] [::1]:9090 \
                   10.0.0.7:9090 console.internal Console.Internal:8443";
        for host in own.split(' ') {
            assert!(is_served(host), "{host}");
        }
        let foreign = "rebind.example.org rebind.example.org:9090 127.0.0.1.example.org \
                       localhost.example.org notlocalhost :9090 127.0.0.1:x [::1 ::1 127.1 [127.0.0.1] \
                       console.internal.example.org user@localhost";
        for host in foreign.split(' ') {
            assert!(!is_served(host), "{host}");
        }
        assert!(!is_served("") && !is_served("localhost:9090, rebind.example.org"));
        for headers in ["", "Host: localhost\nHost: localhost"] {
            let refused = checked(Method::GET, headers);
            assert!(matches!(refused, Err(AdminError::ForeignHost)), "{headers}");
        }
        let absolute = TestRequest::with_uri("http://rebind.example.org/")
            .insert_header(("Host", "localhost"))
            .to_srv_request();
        assert!(check(absolute.head(), &[]).is_err());
    }

    #[test]
    fn a_page_of_another_site_is_refused_also_without_sec_fetch_site() {
        for headers in [
            "Host: localhost:9090",
            "Host: localhost:9090\nOrigin: http://localhost:9090",
            "Host: localhost:9090\nOrigin: http://LOCALHOST:9090\nSec-Fetch-Site: same-origin",
            "Host: localhost:9090\nSec-Fetch-Site: none",
            "Host: console.internal\nOrigin: https://console.internal",
            "Host: localhost:443\nOrigin: https://localhost",
        ] {
            assert!(checked(Method::POST, headers).is_ok(), "{headers}");
        }
        for headers in [
            "Origin: null",
            "Origin: http://localhost:8080",
            "Origin: http://localhost",
            "Origin: https://rebind.example.org",
            "Origin: http://localhost:9090.example.org",
            "Origin: http://localhost:9090\nOrigin: https://rebind.example.org",
            "Sec-Fetch-Site: cross-site",
            "Sec-Fetch-Site: same-site\nOrigin: http://localhost:9090",
        ] {
            let refused = checked(Method::POST, &format!("Host: localhost:9090\n{headers}"));
            assert!(matches!(refused, Err(AdminError::AnotherSite)), "{headers}");
        }
        let link = "Host: localhost:9090\nSec-Fetch-Site: cross-site";
        assert!(checked(Method::GET, link).is_ok(), "a link opens a page");
    }
}
