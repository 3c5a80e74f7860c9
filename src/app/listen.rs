//! Sockets of the bridge's own.

use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

use super::AppError;

/// Connections that may wait to be accepted: a burst of calls that end together.
const BACKLOG: i32 = 1024;

/// Listens on `address`, which the setting `key` names.
pub(super) fn listen(key: &'static str, address: SocketAddr) -> Result<TcpListener, AppError> {
    let bind = || {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    bind().map_err(|source| AppError::Listen {
        key,
        address,
        source,
    })
}
