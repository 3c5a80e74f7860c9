//! Binds the listening sockets that systemd does not pass to the bridge.

use std::net::{SocketAddr, TcpListener};

use rustix::process::{Resource, getrlimit, setrlimit};
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

/// Raises the limit of open files as far as the system lets it: each connection is one, and shells
/// start with 1,024. Returns the limit; `None` is no limit.
pub(crate) fn raise_file_limit() -> Option<usize> {
    let mut limit = getrlimit(Resource::Nofile);
    let soft = limit.current;
    limit.current = limit.maximum;
    // A service manager may forbid it. Then the old limit holds.
    let raised = soft == limit.maximum || setrlimit(Resource::Nofile, limit).is_ok();
    let files = if raised { limit.maximum } else { soft };
    files.and_then(|files| usize::try_from(files).ok())
}
