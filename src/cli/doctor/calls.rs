//! Reports the calls and requests in the store that need an operator: parked, overdue, refused.

use std::collections::BTreeMap;
use std::time::Duration;

use super::note::Note;
use crate::clock::Millis;
use crate::config::StoreUrl;
use crate::domain::plural::counted;
use crate::store::{
    self, CallSummary, ListFilter, ReadStore, RefusedCause, RefusedFilter, State, StoreError,
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

fn of_refused(reader: &dyn ReadStore, now: Millis) -> Result<Vec<Note>, StoreError> {
    let causes = reader.refused_by_cause()?;
    causes.iter().map(|of| of_cause(reader, of, now)).collect()
}

fn of_cause(reader: &dyn ReadStore, of: &RefusedCause, now: Millis) -> Result<Note, StoreError> {
    let RefusedCause {
        cause,
        count,
        last,
        example,
        ..
    } = of;
    let found = reader.refused(&RefusedFilter {
        id: Some(*example),
        cause: None,
        limit: 1,
    })?;
    let explanation = found.first().map(|stored| &stored.request.explanation);
    let explanation = explanation.map_or_else(String::new, |text| text.replace('\n', " "));
    let explanation = explanation.trim_end_matches('.');
    let requests = counted(*count, "request");
    let sentence = format!(
        "{requests} refused with cause {cause}, the latest at {last}: {explanation}; see show {example}; \
         after the fix, export --refused {example} and replay repair one that Twilio sent"
    );
    Ok(if now.since(*last) < RECENT {
        Note::problem("refused", sentence)
    } else {
        Note::ok("refused", sentence)
    })
}
