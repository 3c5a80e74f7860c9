//! The legs of a call with short names, and what is missing of each.

use std::collections::BTreeSet;

use serde::Serialize;

use super::CallbackView;

/// One leg, or one that others name and that told nothing itself.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct LegView {
    /// `A` is the first leg of the call.
    pub name: String,
    pub sid: String,
    /// The name of the leg that dialled it.
    pub parent: Option<String>,
    pub from: String,
    pub to: String,
    /// The `SequenceNumber`s that are missing below the highest one that came: Twilio counts the
    /// subscribed events of a leg from 0.
    pub missing: Vec<u32>,
}

/// Those without a parent first, then in the order of their first callback.
pub(super) fn legs(callbacks: &[CallbackView]) -> Vec<LegView> {
    let mut sids: Vec<&str> = Vec::new();
    let parents = callbacks.iter().filter_map(|told| told.parent.as_deref());
    let named = callbacks.iter().map(|told| told.leg.as_str());
    for sid in parents.chain(named).filter(|sid| !sid.is_empty()) {
        if !sids.contains(&sid) {
            sids.push(sid);
        }
    }
    let parent = |sid: &str| {
        callbacks
            .iter()
            .find(|told| told.leg == sid)?
            .parent
            .as_deref()
    };
    sids.sort_by_key(|sid| parent(sid).is_some());
    let name = |sid: &str| sids.iter().position(|other| *other == sid).map(name);
    let legs = sids.iter().map(|sid| {
        let own = || {
            callbacks
                .iter()
                .filter(|told| told.leg == *sid && told.kind == "status")
        };
        let told = own().next();
        let text = |of: fn(&CallbackView) -> &String| told.map(of).cloned().unwrap_or_default();
        LegView {
            name: name(sid).unwrap_or_default(),
            sid: (*sid).to_owned(),
            parent: parent(sid).and_then(name),
            from: text(|told| &told.from),
            to: text(|told| &told.to),
            missing: missing(&own().filter_map(|told| told.sequence_number).collect()),
        }
    });
    legs.collect()
}

fn missing(seen: &BTreeSet<u32>) -> Vec<u32> {
    // An app may make any number up; a list of thousands tells nobody anything.
    let highest = seen.last().copied().unwrap_or_default().min(99);
    (0..highest)
        .filter(|number| !seen.contains(number))
        .collect()
}

/// `A` to `Z`, then `A1` and so on.
fn name(place: usize) -> String {
    let letter = char::from(b'A' + u8::try_from(place % 26).unwrap_or_default());
    match place / 26 {
        0 => letter.to_string(),
        round => format!("{letter}{round}"),
    }
}
