//! Decides which repeats of a callback are stored: those that have new fields.
//!
//! It compares names, not values: Twilio sends the fields of a status once, and a repeat that has
//! another value for one of them contradicts the first.

use std::collections::HashSet;

use crate::twilio::signature::fields;

/// The most callbacks with one key that are stored, so that no sender can fill the database with one
/// event.
pub(super) const MAX_STORED_PER_KEY: usize = 4;

/// Whether the form has a field with a value that no stored form of its key has, and may be stored.
pub(super) fn is_stored(form: &[u8], stored: &[impl AsRef<[u8]>]) -> bool {
    if stored.len() >= MAX_STORED_PER_KEY {
        return false;
    }
    let known: HashSet<String> = stored
        .iter()
        .flat_map(|form| filled(form.as_ref()))
        .collect();
    filled(form).any(|name| !known.contains(&name))
}

/// The names of the fields that are not empty.
fn filled(form: &[u8]) -> impl Iterator<Item = String> {
    let fields = fields(form).into_iter();
    fields.filter_map(|(name, value)| (!value.is_empty()).then_some(name))
}
