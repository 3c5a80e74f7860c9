//! The legs of a call with short names, and the missing sequence numbers of each.

use std::collections::BTreeSet;

use serde::Serialize;

use super::callbacks::CallbackView;

/// One leg. A leg may be known only as the parent of another.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct LegView {
    /// `A` is the first leg of the call.
    pub name: String,
    pub sid: String,
    /// The name of the leg that dialled it.
    pub parent: Option<String>,
    pub from: String,
    pub to: String,
    /// The `SequenceNumber`s below the highest received one that did not arrive: Twilio counts the
    /// subscribed events of a leg from 0.
    pub missing: Vec<u32>,
}

/// Legs without a parent come first, then the order of the first callback.
pub(super) fn legs(callbacks: &[CallbackView]) -> Vec<LegView> {
    let mut sids: Vec<&str> = Vec::new();
    let parents = callbacks
        .iter()
        .filter_map(|callback| callback.parent.as_deref());
    let named = callbacks.iter().map(|callback| callback.leg.as_str());
    for sid in parents.chain(named).filter(|sid| !sid.is_empty()) {
        if !sids.contains(&sid) {
            sids.push(sid);
        }
    }
    let parent = |sid: &str| {
        callbacks
            .iter()
            .find(|callback| callback.leg == sid)?
            .parent
            .as_deref()
    };
    sids.sort_by_key(|sid| parent(sid).is_some());
    let name = |sid: &str| sids.iter().position(|other| *other == sid).map(name);
    let legs = sids.iter().map(|sid| {
        let own = || {
            callbacks
                .iter()
                .filter(|callback| callback.leg == *sid && callback.kind == "status")
        };
        let first = own().next();
        let text =
            |field: fn(&CallbackView) -> &String| first.map(field).cloned().unwrap_or_default();
        LegView {
            name: name(sid).unwrap_or_default(),
            sid: (*sid).to_owned(),
            parent: parent(sid).and_then(name),
            from: text(|callback| &callback.from),
            to: text(|callback| &callback.to),
            missing: missing(
                &own()
                    .filter_map(|callback| callback.sequence_number)
                    .collect(),
            ),
        }
    });
    legs.collect()
}

fn missing(seen: &BTreeSet<u32>) -> Vec<u32> {
    // The field may have any number: a list of thousands would be of no use.
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
