//! Which role a route of the admin listener needs: one table for all of them.

use actix_web::http::Method;

use crate::config::Role;

/// Routes that the rule below does not fit, with the role that they need.
const EXCEPTIONS: [(&str, &str, Role); 3] = [
    // Searches send what they look for in the body, so that it is in no URL.
    ("POST", "/calls", Role::Viewer),
    ("POST", "/api/calls/search", Role::Viewer),
    ("GET", "/operations/new", Role::Operator),
];

/// The role that a request needs. Viewers read; a route that is forgotten above refuses them.
/// `path` is the pattern of the route.
pub(super) fn needed(method: &Method, path: &str) -> Role {
    let only_reads = [Method::GET, Method::HEAD].contains(method);
    let method = if only_reads { "GET" } else { method.as_str() };
    let exception = EXCEPTIONS
        .iter()
        .find(|(one, pattern, _)| *one == method && *pattern == path);
    match exception {
        Some((.., role)) => *role,
        None if only_reads => Role::Viewer,
        None => Role::Operator,
    }
}
