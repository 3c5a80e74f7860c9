//! Reports the calls and requests in the store that need an operator: parked, overdue, refused.

use std::collections::BTreeMap;
use std::time::Duration;

use super::note::Note;
use crate::clock::Millis;
use crate::config::StoreUrl;
use crate::debugging::missing_call::MAX_SEARCHED;
use crate::domain::plural::counted;
use crate::store::{
    self, CallSummary, ListFilter, ReadStore, RefusedFilter, RefusedRequest, State, StoreError,
    StoredRefusedRequest,
};

/// A running bridge sends calls within milliseconds, and calls that were requeued within minutes.
const OVERDUE: Duration = Duration::from_secs(5 * 60);

/// Requests that were refused longer ago are listed, but are no problem any more.
const RECENT: Duration = Duration::from_secs(7 * 24 * 3_600);

/// The number of causes that are listed.
const MAX_CAUSES: usize = 10;

pub(super) fn check(url: &StoreUrl, now: Millis) -> Vec<Note> {
    // Another check reports a store that cannot be opened.
    let Ok(reader) = store::open_to_read(url) else {
        return Vec::new();
    };
    let found = || {
        Ok(std::iter::once(of_version(&*reader)?)
            .chain(of_overdue(&*reader, now)?)
            .chain(of_parked(&*reader)?)
            .chain(of_refused(&*reader, now)?)
            .collect())
    };
    found().unwrap_or_else(|why: StoreError| {
        vec![Note::problem(
            "store",
            format!("{why}; run check --store for details"),
        )]
    })
}

fn of_version(reader: &dyn ReadStore) -> Result<Note, StoreError> {
    let (own, store) = (env!("CARGO_PKG_VERSION"), reader.version()?);
    Ok(Note::ok("version", format!("program {own}, {store}")))
}

/// Calls `each` with every call in a state.
fn visit(
    reader: &dyn ReadStore,
    state: State,
    mut each: impl FnMut(&CallSummary),
) -> Result<(), StoreError> {
    let filter = ListFilter {
        state: Some(state),
        limit: usize::MAX,
    };
    let found = reader.find(filter, &mut |call| {
        each(call);
        Ok(false)
    });
    found.map(drop)
}

fn of_overdue(reader: &dyn ReadStore, now: Millis) -> Result<Option<Note>, StoreError> {
    let (mut count, mut oldest) = (0, None);
    visit(reader, State::Pending, |call| {
        if let Some(due) = call.due.filter(|due| now.since(*due) > OVERDUE) {
            count += 1;
            let this = (due, call.sid.clone());
            oldest = Some(oldest.take().map_or(this.clone(), |other| this.min(other)));
        }
    })?;
    let note = |(due, sid)| {
        let sentence = format!(
            "{} overdue by more than 5 minutes, the oldest since {due}; show {sid} says why; calls wait \
             while no bridge runs, and while deliveries to their account are paused",
            counted(count, "call")
        );
        Note::problem("overdue", sentence)
    };
    Ok(oldest.map(note))
}

fn of_parked(reader: &dyn ReadStore) -> Result<Vec<Note>, StoreError> {
    let mut causes: BTreeMap<String, (u64, CallSummary)> = BTreeMap::new();
    visit(reader, State::Parked, |call| {
        let cause = cause_of(call.reason.as_deref().unwrap_or_default());
        causes.entry(cause).or_insert_with(|| (0, call.clone())).0 += 1;
    })?;
    let mut causes: Vec<_> = causes.into_iter().collect();
    causes.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
    let note = |(cause, (count, call)): &(String, (u64, CallSummary))| {
        let sentence = format!(
            "{} parked: {cause}; see show {}; after the fix, requeue --state parked --call-reason TEXT sends \
             them again",
            counted(*count, "call"),
            call.sid
        );
        Note::problem("parked", sentence)
    };
    let mut notes: Vec<_> = causes.iter().take(MAX_CAUSES).map(note).collect();
    if let Some((_, others)) = causes.split_at_checked(MAX_CAUSES)
        && !others.is_empty()
    {
        let calls: u64 = others.iter().map(|(_, (count, _))| count).sum();
        let sentence = format!(
            "{} parked for {} more; list --state parked lists them",
            counted(calls, "call"),
            counted(others.len() as u64, "reason")
        );
        notes.push(Note::problem("parked", sentence));
    }
    Ok(notes)
}

/// A reason without the SIDs in it, so that equal causes are counted together.
fn cause_of(reason: &str) -> String {
    let is_sid = |word: &str| word.len() == 34 && word.bytes().all(|b| b.is_ascii_alphanumeric());
    let is_end = |c: char| !c.is_ascii_alphanumeric();
    let plain = |piece: &str| {
        let (word, end) = piece.split_at(piece.trim_end_matches(is_end).len());
        let word = if is_sid(word) { "..." } else { word };
        word.to_owned() + end
    };
    reason.split_inclusive(is_end).map(plain).collect()
}

/// Requests that Twilio may have sent, by cause. Scanners send all others, and only their number is listed.
fn of_refused(reader: &dyn ReadStore, now: Millis) -> Result<Vec<Note>, StoreError> {
    let filter = RefusedFilter {
        id: None,
        cause: None,
        limit: MAX_SEARCHED,
    };
    let mut by_cause: Vec<(StoredRefusedRequest, usize)> = Vec::new();
    let mut others = 0;
    for stored in reader.refused(&filter)? {
        let is_same = |(latest, _): &&mut (StoredRefusedRequest, usize)| {
            latest.request.cause == stored.request.cause
        };
        if !may_be_twilios(&stored.request) {
            others += 1;
        } else if let Some((_, count)) = by_cause.iter_mut().find(is_same) {
            *count += 1;
        } else {
            by_cause.push((stored, 1));
        }
    }
    let mut notes: Vec<_> = by_cause.iter().map(|of| of_cause(of, now)).collect();
    if others > 0 {
        let sentence = format!(
            "{} refused that Twilio did not send (without a signature and an AccountSid); list --refused \
             lists them",
            counted(others, "request")
        );
        notes.push(Note::ok("refused", sentence));
    }
    Ok(notes)
}

/// Twilio signs each request, and names the account. A proxy may have removed one of the two.
fn may_be_twilios(request: &RefusedRequest) -> bool {
    let names_account = |text: &str| text.contains("AccountSid");
    request.headers.contains("x-twilio-signature: ")
        || names_account(&request.target)
        || names_account(&String::from_utf8_lossy(&request.body))
}

/// The latest request of a cause, and their number.
fn of_cause((latest, count): &(StoredRefusedRequest, usize), now: Millis) -> Note {
    let (id, request) = (latest.id, &latest.request);
    let explanation = request.explanation.replace('\n', " ");
    let sentence = format!(
        "{} refused with cause {}, the latest at {}: {}; see show {id}; after the fix, export --refused \
         {id} and replay repair one that Twilio sent",
        counted(*count, "request"),
        request.cause,
        request.at,
        explanation.trim_end_matches('.')
    );
    if now.since(request.at) < RECENT {
        Note::problem("refused", sentence)
    } else {
        Note::ok("refused", sentence)
    }
}
