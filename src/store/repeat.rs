//! Decides which repeats of a callback are stored: those that have new fields.
//!
//! It compares names, not values: Twilio sends the fields of a status once, and a repeat that has
//! another value for one of them contradicts the first.

use std::collections::HashSet;

use super::SignedRequest;
use crate::twilio::listed::RequestSource;
use crate::twilio::signature::fields;

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
    let known: HashSet<String> = signed.flat_map(|(_, form)| filled(form)).collect();
    filled(&request.body).any(|name| !known.contains(&name))
}

/// The names of the fields that are not empty.
fn filled(form: &[u8]) -> impl Iterator<Item = String> {
    let fields = fields(form).into_iter();
    fields.filter_map(|(name, value)| (!value.is_empty()).then_some(name))
}
