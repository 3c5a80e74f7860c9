//! Binds the listening sockets that systemd does not pass to the bridge.

use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

use crate::server::shared::ListenError;

/// Connections that may wait to be accepted: many calls may end at the same moment.
const LISTEN_BACKLOG_CONNECTIONS: i32 = 1024;

/// Listens on `address`. The error names the setting `key`.
pub(crate) fn listen(key: &'static str, address: SocketAddr) -> Result<TcpListener, ListenError> {
    let bind = || {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(LISTEN_BACKLOG_CONNECTIONS)?;
        Ok(socket.into())
    };
    bind().map_err(|source| ListenError::Bind {
        key,
        address,
        source,
    })
}
