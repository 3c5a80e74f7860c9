//! A port of the loopback that nobody gets by chance.

use std::net::SocketAddr;

use socket2::{Domain, Socket, Type};

/// Bound and not listened on, as long as it is kept: who connects is refused, and nobody who wants any
/// free port gets this one. A server that is told it may listen there, since servers reuse addresses.
pub struct Port {
    pub address: SocketAddr,
    _socket: Socket,
}

impl Port {
    pub fn reserve() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.set_reuse_address(true).expect("a fresh socket");
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        socket.bind(&any.into()).expect("a free port");
        let address = socket.local_addr().expect("it is bound");
        Self {
            address: address.as_socket().expect("an address"),
            _socket: socket,
        }
    }
}
