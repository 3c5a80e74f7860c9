//! Decides which repeats of a callback are stored: those that have new fields.
//!
//! It compares names, not values: Twilio sends the fields of a status once, and a repeat that has
//! another value for one of them contradicts the first.

use std::collections::HashSet;

use super::SignedRequest;
use crate::twilio::form::{Form, fields};
use crate::twilio::listed::RequestSource;

/// Headers and body of a stored request.
pub(super) type StoredForm = (String, Vec<u8>);

/// The most callbacks with one key that are stored, so that no sender can fill the database with one
/// event.
const MAX_STORED_PER_KEY: usize = 4;

/// Whether to store a request beside the `stored` forms of its key: it is the first, or it has a field
/// that none of them has.
///
/// An imported request is stored only as the first of its key. A signed one is stored beside it: the
/// plan uses it, as long as nothing was sent.
pub(super) fn is_worth_storing(request: &SignedRequest, stored: &[StoredForm]) -> bool {
    let is_signed = |headers: &str| RequestSource::of(headers) == RequestSource::Signed;
    if stored.is_empty() {
        return true;
    }
    if stored.len() >= MAX_STORED_PER_KEY || !is_signed(&request.headers) {
        return false;
    }
    let signed = stored.iter().filter(|(headers, _)| is_signed(headers));
    let forms: Vec<Form> = signed.map(|(_, form)| fields(form)).collect();
    let known: HashSet<&str> = forms.iter().flat_map(filled).collect();
    filled(&fields(&request.body)).any(|name| !known.contains(name))
}

/// The names of the fields that are not empty.
fn filled(form: &Form) -> impl Iterator<Item = &str> {
    let filled = form.iter().filter(|(_, value)| !value.is_empty());
    filled.map(|(name, _)| name)
}
