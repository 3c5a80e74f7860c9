//! Whose e-mail a message names.

use std::borrow::Cow;

use super::Rules;
use super::reported_legs::Reported;
use crate::acquire;
use crate::domain::directory::Directory;
use crate::twilio::StatusCallback;

/// An e-mail and where it is from.
pub(super) type CalleeEmail = (String, Cow<'static, str>);

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

/// The person's e-mail: the callback URL's, else the directory's.
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
