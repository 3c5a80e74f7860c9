//! Receives sockets from systemd and reports the state of the bridge to it, by `sd_listen_fds(3)` and
//! `sd_notify(3)`.
//!
//! Does nothing under any other service manager.

pub mod watchdog;

use std::io;
use std::net::{SocketAddr, TcpListener};

use listenfd::ListenFd;
use sd_notify::NotifyState;
use socket2::SockRef;
use tracing::warn;

use crate::config::AdminSettings;

/// The names in `FileDescriptorName=` of the socket units.
const PUBLIC: &str = "public";
const ADMIN: &str = "admin";

/// Sockets that outlive the process: connections wait in them until the next process accepts.
#[derive(Debug)]
pub struct InheritedSockets {
    pub public: TcpListener,
    pub admin: TcpListener,
}

/// Why the sockets that systemd passed cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InheritedSocketError {
    #[error("the sockets that systemd passed (LISTEN_FDS, LISTEN_FDNAMES) cannot be read")]
    Unreadable(#[source] io::Error),
    #[error(
        "systemd passed sockets named {}, but one named public and one named admin are needed: set FileDescriptorName in each socket unit, and name both units in Sockets= of the service",
        .0.join(", ")
    )]
    Names(Vec<String>),
    #[error(
        "the socket {0} that systemd passed is not a listening TCP socket: its unit needs ListenStream=IP:PORT and Accept=no"
    )]
    NotListening(&'static str),
    #[error(
        "the socket admin that systemd passed listens on {0}, which is not a loopback address: set admin.token, admin.token_file or [[operators]], with at least 20 characters"
    )]
    OpenToAll(SocketAddr),
}

/// The sockets that systemd passed, if any. To be called once, before other threads start, because it
/// changes the environment.
///
/// # Errors
/// The sockets are not two listening TCP sockets with the expected names.
pub fn inherited(
    settings: &AdminSettings,
) -> Result<Option<InheritedSockets>, InheritedSocketError> {
    let names: Vec<String> = sd_notify::listen_fds_with_names()
        .map_err(InheritedSocketError::Unreadable)?
        .map(|(_, name)| name)
        .collect();
    if names.is_empty() {
        return Ok(None);
    }
    let (public, admin) = places(&names)?;
    // sd_notify gives the names; ListenFd checks that each descriptor is a TCP socket.
    let mut sockets = ListenFd::from_env();
    let mut socket = |name, place| {
        let socket = sockets.take_tcp_listener(place).ok().flatten();
        socket
            .filter(|socket| SockRef::from(socket).is_listener().unwrap_or(false))
            .ok_or(InheritedSocketError::NotListening(name))
    };
    let (public, admin) = (socket(PUBLIC, public)?, socket(ADMIN, admin)?);
    let address = admin
        .local_addr()
        .map_err(InheritedSocketError::Unreadable)?;
    // The unit chose this address, so the check of admin.listen has not seen it.
    if !address.ip().is_loopback() && !settings.has_strong_sign_in() {
        return Err(InheritedSocketError::OpenToAll(address));
    }
    Ok(Some(InheritedSockets { public, admin }))
}

fn places(names: &[String]) -> Result<(usize, usize), InheritedSocketError> {
    match names {
        [first, second] if first == PUBLIC && second == ADMIN => Ok((0, 1)),
        [first, second] if first == ADMIN && second == PUBLIC => Ok((1, 0)),
        _ => Err(InheritedSocketError::Names(names.to_vec())),
    }
}

/// Reports that the store is open and both listeners accept.
pub fn ready() {
    notify(&[NotifyState::Ready]);
}

/// Reports that a reload has started; [`ready`] reports its end.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(why) => warn!("cannot notify systemd of the reload: {why}"),
    }
}

/// Reports that the bridge is stopping.
pub fn stopping() {
    notify(&[NotifyState::Stopping]);
}

fn notify(states: &[NotifyState]) {
    if let Err(why) = sd_notify::notify(states) {
        warn!("cannot notify systemd of {}: {why}", states[0]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_decide_which_socket_is_which() {
        let places = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            places(&names).map_err(|why| why.to_string())
        };
        assert_eq!(places(&["public", "admin"]), Ok((0, 1)));
        assert_eq!(places(&["admin", "public"]), Ok((1, 0)));
        for wrong in [
            &["public"][..],
            &["public", "public"],
            &["unknown", "unknown"],
            &["public", "admin", "admin"],
            &["public", "bridge-admin.socket"],
        ] {
            let why = places(wrong).expect_err("wrong names");
            assert!(
                why.contains(&format!("named {},", wrong.join(", "))),
                "{why}"
            );
        }
    }
}
