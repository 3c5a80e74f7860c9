//! Chooses the e-mail address in a request: of the callback URL, or of the directory.
//!
//! How an address matches an entry is decided in `domain/directory.rs`.

use std::borrow::Cow;

use super::reported::{CalleeEmail, Reported};
use super::rules::Rules;
use super::status::url_email;
use crate::acquire;
use crate::domain::directory::Directory;
use crate::twilio::StatusCallback;

/// The e-mail of a reported call: that of another leg, else its own; and its source, or why there is
/// none.
pub(super) fn call_email(
    reported: &Reported<'_, '_>,
    status: &StatusCallback,
    direction: acquire::Direction,
    rules: &Rules,
) -> (Option<String>, Cow<'static, str>) {
    let found = reported
        .email
        .clone()
        .or_else(|| email(status, direction, &rules.directory));
    let invalid = reported.invalid_emails.join("; ");
    match (found, invalid.is_empty()) {
        (Some((email, why)), true) => (Some(email), why),
        (Some((email, why)), false) => (Some(email), format!("{why}; {invalid}").into()),
        (None, true) => (
            None,
            "the callback URL has no ?email=, and [directory] has no entry".into(),
        ),
        (None, false) => (
            None,
            format!("{invalid}; and [directory] has no entry").into(),
        ),
    }
}

/// The callback URL's e-mail, else the directory's by `To`, by `From`, or its default.
fn email(
    status: &StatusCallback,
    direction: acquire::Direction,
    directory: &Directory,
) -> Option<CalleeEmail> {
    if let Some(email) = url_email(status) {
        return Some((email, "e-mail of the callback URL".into()));
    }
    if let Some(email) = directory.email_of(&status.to) {
        return Some((email, "e-mail of the directory by To".into()));
    }
    if direction == acquire::Direction::Outgoing
        && let Some(email) = directory.email_of(&status.from)
    {
        return Some((email, "e-mail of the directory by From".into()));
    }
    let default = directory.default.clone()?;
    Some((default, "e-mail for all (directory.default)".into()))
}
