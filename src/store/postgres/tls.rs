//! TLS to the database server, as `sslmode` in the URL says.
//!
//! It does not build the client that verifies certificates (`net/tls.rs`).

use tokio_postgres_rustls::MakeRustlsConnect;

use crate::config::postgres::ServerTrust;
use crate::net::tls::handshake::unverified_client_config;
use crate::net::tls::{TlsError, database_client_config};

/// Sets up TLS for connections.
pub(super) fn connector(trust: &ServerTrust) -> Result<MakeRustlsConnect, TlsError> {
    let config = match trust {
        ServerTrust::Verified(file) => database_client_config(file.as_deref())?,
        // As libpq does for `sslmode=prefer` and `require`: encrypted, but without a check of the name.
        ServerTrust::Anyone => unverified_client_config()?,
    };
    Ok(MakeRustlsConnect::new(config))
}
