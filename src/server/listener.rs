//!

pub mod bind;
pub mod certificate;
pub mod connection;
pub mod drain;
pub mod http;
pub mod proxy_protocol;
pub mod serve;
