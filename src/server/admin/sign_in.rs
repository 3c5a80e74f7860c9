//! The sender of a request to the admin listener: decided here, and only here.

use std::future::{Ready, ready};
use std::net::IpAddr;

use actix_web::dev::{Payload, ServiceRequest};
use actix_web::http::header::{self, HeaderMap};
use actix_web::{FromRequest, HttpRequest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::ExposeSecret as _;
use subtle::ConstantTimeEq as _;

use super::error::AdminError;
use crate::config::{AdminSettings, Operator, Role};
use crate::domain::audit::{Actor, KnownBy};
use crate::server::client_ip::is_trusted;

/// The user of a request, as an argument of handlers.
#[derive(Clone, Debug)]
pub struct User {
    pub actor: Actor,
    pub role: Role,
}

impl User {
    fn new(name: &str, known: KnownBy, role: Role) -> Self {
        let actor = Actor::new(name, known);
        Self { actor, role }
    }
}

tokio::task_local! {
    /// `None` for a request that needs no user, and one that is refused.
    static USER: Option<User>;
}

/// Answers a request of this user.
pub(super) async fn as_user<T>(user: Option<User>, answer: impl Future<Output = T>) -> T {
    USER.scope(user, answer).await
}

/// The user of the request that is being answered.
pub(super) fn current() -> Option<User> {
    USER.try_with(Clone::clone).ok().flatten()
}

impl FromRequest for User {
    type Error = AdminError;
    type Future = Ready<Result<Self, AdminError>>;

    fn from_request(_: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(current().ok_or(AdminError::NoToken))
    }
}

/// The user: by the header of a trusted proxy if it sends one, else by a token, which names its operator.
pub(super) fn user(request: &ServiceRequest, admin: &AdminSettings) -> Result<User, AdminError> {
    let peer = request.peer_addr().map(|peer| peer.ip());
    if let Some(user) = by_header(request.headers(), peer, admin) {
        return user;
    }
    if !admin.needs_sign_in() {
        return Ok(User::new("local", KnownBy::Local, Role::Operator));
    }
    let token = given_token(request.headers())?;
    // In constant time, so that response times do not reveal how many bytes were right.
    let has_token = |operator: &&Operator| {
        let right = operator.token.as_ref();
        right.is_some_and(|right| token.ct_eq(right.expose_secret().as_bytes()).into())
    };
    let operator = admin.operators.iter().find(has_token);
    operator
        .map(|operator| User::new(&operator.name, KnownBy::Token, operator.role))
        .ok_or(AdminError::WrongToken)
}

/// `None` if no trusted proxy names a user. An empty or repeated header is no name: the proxy may have
/// left in what its client sent.
fn by_header(
    headers: &HeaderMap,
    peer: Option<IpAddr>,
    admin: &AdminSettings,
) -> Option<Result<User, AdminError>> {
    let proxy = admin.proxy.as_ref()?;
    if !peer.is_some_and(|peer| is_trusted(peer, &proxy.trusted)) {
        return None;
    }
    let mut values = headers.get_all(&proxy.header);
    let name = values.next()?.to_str().ok();
    let name = name.filter(|name| !name.is_empty() && values.next().is_none());
    let user = |name: &str| {
        // The first may be that of admin.token: a user of the proxy with its name is another one.
        let own = usize::from(admin.token.is_some());
        let operator = admin.operators.iter().skip(own).find(|of| of.name == name);
        let role = operator.map_or(Role::Viewer, |operator| operator.role);
        User::new(name, KnownBy::Header, role)
    };
    Some(name.map(user).ok_or(AdminError::NoToken))
}

/// The token of `Bearer`, or the password of `Basic` for browsers.
fn given_token(headers: &HeaderMap) -> Result<Vec<u8>, AdminError> {
    let value = headers.get(header::AUTHORIZATION);
    let value = value.and_then(|value| value.to_str().ok());
    match value.ok_or(AdminError::NoToken)?.split_once(' ') {
        Some((scheme, given)) if scheme.eq_ignore_ascii_case("bearer") => Ok(given.into()),
        Some((scheme, pair)) if scheme.eq_ignore_ascii_case("basic") => {
            let pair = STANDARD.decode(pair.trim()).unwrap_or_default();
            // The user name is ignored: the token names the operator.
            let colon = pair.iter().position(|b| *b == b':');
            let colon = colon.ok_or(AdminError::WrongToken)?;
            Ok(pair[colon + 1..].to_vec())
        }
        _ => Err(AdminError::WrongToken),
    }
}
