//! The client's address for the log, also behind load balancers. No decision depends on it.

use std::net::{IpAddr, SocketAddr};

use actix_web::HttpRequest;
use actix_web::http::header::{FORWARDED, HeaderMap, X_FORWARDED_FOR};
use ipnet::IpNet;

/// The address of the client, as far as `trusted` proxies confirm it.
pub fn address(request: &HttpRequest, trusted: &[IpNet]) -> Option<String> {
    let peer = request.peer_addr()?.ip();
    Some(client(peer, request.headers(), trusted).to_string())
}

/// The last address that is not a trusted proxy. A proxy appends the address that it saw, so an entry
/// that the client forged comes earlier and is never reached. If both headers are present, a proxy may
/// have forwarded one unchanged from the client: then both must name the same address.
fn client(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let peer = peer.to_canonical();
    let clients = [X_FORWARDED_FOR, FORWARDED].map(|name| {
        let is_forwarded = name == FORWARDED;
        let values: Vec<&str> = headers
            .get_all(name)
            .map(|value| value.to_str().unwrap_or_default())
            .flat_map(|value| value.split(','))
            .collect();
        let node = |text| {
            if is_forwarded {
                forwarded_for(text)
            } else {
                node(text)
            }
        };
        (!values.is_empty()).then(|| last_untrusted(peer, values.into_iter().map(node), trusted))
    });
    match clients {
        // If the headers disagree, only the peer's address is certain.
        [Some(one), Some(other)] if one != other => peer,
        [Some(client), _] | [None, Some(client)] => client,
        [None, None] => peer,
    }
}

/// Goes back from the peer while each address is trusted. An entry that is no address ends the search.
fn last_untrusted(
    peer: IpAddr,
    path: impl DoubleEndedIterator<Item = Option<IpAddr>>,
    trusted: &[IpNet],
) -> IpAddr {
    let mut client = peer;
    for before in path.rev() {
        match before {
            Some(before) if is_trusted(client, trusted) => client = before,
            _ => break,
        }
    }
    client
}

/// Whether a trusted proxy has this address.
pub fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    let address = address.to_canonical();
    trusted.iter().any(|network| network.contains(&address))
}

/// The `for` of an element of `Forwarded` (RFC 7239, section 4).
fn forwarded_for(element: &str) -> Option<IpAddr> {
    element.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        let is_for = name.trim().eq_ignore_ascii_case("for");
        is_for.then(|| node(value.trim().trim_matches('"')))?
    })
}

/// An address with or without port. An IPv6 address may be in brackets.
fn node(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    let address = bare.parse().ok();
    let with_port = || text.parse().ok().map(|socket: SocketAddr| socket.ip());
    address
        .or_else(with_port)
        .map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    /// `headers` are lines.
    fn seen(peer: &str, headers: &str) -> String {
        let trusted = ["10.0.0.0/24", "fd00::7/128"].map(|text| text.parse().expect("a network"));
        let headers = headers.lines().filter_map(|line| line.split_once(": "));
        let request = headers.fold(TestRequest::default(), TestRequest::append_header);
        let peer = peer.parse().expect("an address");
        client(peer, request.to_http_request().headers(), &trusted).to_string()
    }

    #[test]
    fn the_last_address_that_is_not_a_trusted_proxy_is_the_client() {
        let client = "192.0.2.1";
        for (peer, headers) in [
            (client, ""),
            ("10.0.0.1", "X-Forwarded-For: 192.0.2.1"),
            ("::ffff:10.0.0.1", "X-Forwarded-For: 192.0.2.1"),
            ("10.0.0.1", "X-Forwarded-For: 192.0.2.1, 10.0.0.2"),
            ("10.0.0.1", "X-Forwarded-For: 192.0.2.1:4711"),
            ("10.0.0.1", "Forwarded: for=192.0.2.1;proto=https"),
            (
                "10.0.0.1",
                "X-Forwarded-For: 192.0.2.1\nX-Forwarded-For: 10.0.0.9",
            ),
        ] {
            assert_eq!(seen(peer, headers), client, "{peer} {headers:?}");
        }
        assert_eq!(seen("10.0.0.1", ""), "10.0.0.1");
        let forwarded = "Forwarded: proto=https; For=\"[2001:db8::1]:47\"";
        assert_eq!(seen("10.0.0.1", forwarded), "2001:db8::1");
        let forwarded = "X-Forwarded-For: 2001:db8::1";
        assert_eq!(seen("fd00::7", forwarded), "2001:db8::1");
    }

    #[test]
    fn an_address_that_a_client_forges_changes_nothing() {
        for (peer, headers, client) in [
            // No trusted proxy came between.
            ("192.0.2.1", "X-Forwarded-For: 203.0.113.9", "192.0.2.1"),
            ("192.0.2.1", "Forwarded: for=203.0.113.9", "192.0.2.1"),
            // The proxy appended what it saw.
            (
                "10.0.0.1",
                "X-Forwarded-For: 203.0.113.9, 192.0.2.1",
                "192.0.2.1",
            ),
            (
                "10.0.0.1",
                "X-Forwarded-For: 203.0.113.9\nX-Forwarded-For: 192.0.2.1",
                "192.0.2.1",
            ),
            (
                "10.0.0.1",
                "Forwarded: for=203.0.113.9, for=192.0.2.1",
                "192.0.2.1",
            ),
            // The proxy wrote only one of the two headers.
            (
                "10.0.0.1",
                "X-Forwarded-For: 192.0.2.1\nForwarded: for=203.0.113.9",
                "10.0.0.1",
            ),
            // The proxy did not know the address.
            (
                "10.0.0.1",
                "Forwarded: for=203.0.113.9, for=unknown",
                "10.0.0.1",
            ),
            ("10.0.0.1", "X-Forwarded-For: 203.0.113.9, , ", "10.0.0.1"),
        ] {
            assert_eq!(seen(peer, headers), client, "{peer} {headers:?}");
        }
    }
}
