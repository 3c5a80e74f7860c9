//! Opens sockets, accepts connections and serves HTTP/1.1 on them, until the bridge is stopped.
//!
//! What a request means is decided by its handler.

pub mod bind;
pub mod certificate;
mod connection;
pub mod drain;
mod http;
mod proxy_protocol;
pub mod serve;
