//! A port of the loopback that no other test gets.

use std::net::SocketAddr;

use socket2::{Domain, Socket, Type};

/// Bound without a listener for as long as it is kept: a connection is refused, and a test that asks for any
/// free port gets another. A server may listen on it, because servers reuse addresses.
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
