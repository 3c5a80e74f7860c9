//! The errors with which a bridge ends.
//!
//! The exit code of each is chosen in `cli.rs`.

use std::time::Duration;

use crate::delivery::acquire_client::AcquireClientError;
use crate::net::tls::TlsError;
use crate::server::shared::ListenError;
use crate::store::OpenError;

/// Why a bridge cannot be built, or did not run to its end.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(transparent)]
    Store(#[from] OpenError),
    #[error(transparent)]
    Client(#[from] AcquireClientError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("{0} ended by itself")]
    Ended(&'static str),
    #[error(
        "stopping took longer than server.stop_timeout ({0:?}); calls in flight are sent again after the next start"
    )]
    SlowStop(Duration),
}
