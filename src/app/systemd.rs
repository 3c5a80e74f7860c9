//! The service manager's side: the sockets it hands over, and what it is told. Without one, nothing
//! here does anything. The protocol is that of `sd_listen_fds(3)` and `sd_notify(3)`.

pub mod watchdog;

use std::io;
use std::net::{SocketAddr, TcpListener};

use listenfd::ListenFd;
use sd_notify::NotifyState;
use socket2::SockRef;
use tracing::warn;

use crate::config::AdminSettings;

/// As in `FileDescriptorName=` of the socket units.
const PUBLIC: &str = "public";
const ADMIN: &str = "admin";

/// Sockets that outlive the process: what connects while none runs waits for the next one.
#[derive(Debug)]
pub struct InheritedSockets {
    pub public: TcpListener,
    pub admin: TcpListener,
}

/// Why sockets that were handed over cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InheritedSocketError {
    #[error("the sockets that systemd hands over (LISTEN_FDS, LISTEN_FDNAMES) cannot be read")]
    Unreadable(#[source] io::Error),
    #[error(
        "systemd handed over sockets named {}, and one named public and one named admin are needed: give each socket unit its FileDescriptorName, and name both units in Sockets= of the service",
        .0.join(", ")
    )]
    Names(Vec<String>),
    #[error(
        "what systemd handed over as {0} is not a listening TCP socket: its unit needs ListenStream=IP:PORT and Accept=no"
    )]
    NotListening(&'static str),
    #[error(
        "the socket that systemd handed over as admin listens on {0}, beyond loopback, which is allowed only with admin.token or admin.token_file"
    )]
    OpenToAll(SocketAddr),
}

/// What was handed over, if anything was. To be asked once, before other threads are begun.
pub fn handed(settings: &AdminSettings) -> Result<Option<InheritedSockets>, InheritedSocketError> {
    let names: Vec<String> = sd_notify::listen_fds_with_names()
        .map_err(InheritedSocketError::Unreadable)?
        .map(|(_, name)| name)
        .collect();
    if names.is_empty() {
        return Ok(None);
    }
    let (public, admin) = places(&names)?;
    let mut sockets = ListenFd::from_env();
    let mut take = |name, place| {
        let socket = sockets.take_tcp_listener(place).ok().flatten();
        socket
            .filter(|socket| SockRef::from(socket).is_listener().unwrap_or(false))
            .ok_or(InheritedSocketError::NotListening(name))
    };
    let (public, admin) = (take(PUBLIC, public)?, take(ADMIN, admin)?);
    let address = admin
        .local_addr()
        .map_err(InheritedSocketError::Unreadable)?;
    if !address.ip().is_loopback() && settings.token.is_none() {
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

/// The store is open and both listeners accept.
pub fn ready() {
    notify(&[NotifyState::Ready]);
}

/// The configuration is being read again; [`ready`] tells the end of that.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(why) => warn!("cannot tell systemd that the configuration is read again: {why}"),
    }
}

/// The bridge was told to stop, and does.
pub fn stopping() {
    notify(&[NotifyState::Stopping]);
}

fn notify(states: &[NotifyState]) {
    if let Err(why) = sd_notify::notify(states) {
        warn!("cannot tell systemd {}: {why}", states[0]);
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
