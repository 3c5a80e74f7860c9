//! Chooses the e-mail address in a request: of the callback URL, or of the directory.

use super::reported::{CalleeEmail, Reported};
use super::rules::Rules;
use crate::acquire;
use crate::domain::directory::Directory;
use crate::twilio::StatusCallback;

/// The e-mail of a reported call: that of another leg, else its own.
pub(super) fn call_email(
    reported: &Reported<'_, '_>,
    status: &StatusCallback,
    direction: acquire::Direction,
    rules: &Rules,
) -> Option<CalleeEmail> {
    reported
        .email
        .clone()
        .or_else(|| email(status, direction, &rules.directory))
}

/// The callback URL's e-mail, else the directory's by `To`, by `From`, or its default.
fn email(
    status: &StatusCallback,
    direction: acquire::Direction,
    directory: &Directory,
) -> Option<CalleeEmail> {
    if let Some(email) = &status.email {
        return Some((email.clone(), "e-mail of the callback URL".into()));
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
