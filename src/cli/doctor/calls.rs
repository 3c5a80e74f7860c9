//! Reports the calls and requests in the store that need an operator: parked, overdue, refused.

use std::collections::BTreeMap;
use std::time::Duration;

use super::note::{NoteStatus, Notes};
use crate::clock::Millis;
use crate::config::StoreUrl;
use crate::debugging::missing_call::SEARCHED;
use crate::domain::plural::counted;
use crate::store::{
    self, CallSummary, ListFilter, ReadStore, RefusedRequest, State, StoreError,
    StoredRefusedRequest,
};

/// A running bridge sends calls within milliseconds, and calls that were requeued within minutes.
const OVERDUE: Duration = Duration::from_secs(5 * 60);

/// Requests that were refused longer ago are listed, but are no problem any more.
const RECENT: Duration = Duration::from_secs(7 * 24 * 3_600);

/// The number of causes that are listed.
const MAX_CAUSES: usize = 10;

pub(super) fn check(notes: &mut Notes, url: &StoreUrl, now: Millis) {
    // Another check reports a store that cannot be opened.
    if let Ok(reader) = store::open_to_read(url)
        && let Err(why) = read(notes, &*reader, now)
    {
        let sentence = format!("{why}; run check --store for details");
        notes.problem("store", sentence);
    }
}

fn read(notes: &mut Notes, reader: &dyn ReadStore, now: Millis) -> Result<(), StoreError> {
    let (own, store) = (env!("CARGO_PKG_VERSION"), reader.version()?);
    notes.ok("version", format_args!("program {own}, {store}"));
    of_overdue(notes, reader, now)?;
    of_parked(notes, reader)?;
    of_refused(notes, reader, now)
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

fn of_overdue(notes: &mut Notes, reader: &dyn ReadStore, now: Millis) -> Result<(), StoreError> {
    let (mut count, mut oldest) = (0, None);
    visit(reader, State::Pending, |call| {
        if let Some(due) = call.due.filter(|due| now.since(*due) > OVERDUE) {
            count += 1;
            let this = (due, call.sid.clone());
            oldest = Some(oldest.take().map_or(this.clone(), |other| this.min(other)));
        }
    })?;
    if let Some((due, sid)) = oldest {
        let calls = counted(count, "call");
        let sentence = format!(
            "{calls} overdue by more than 5 minutes, the oldest since {due}; show {sid} says why; calls wait \
             while no bridge runs, and while deliveries to their account are paused"
        );
        notes.problem("overdue", sentence);
    }
    Ok(())
}

fn of_parked(notes: &mut Notes, reader: &dyn ReadStore) -> Result<(), StoreError> {
    let mut causes: BTreeMap<String, (u64, CallSummary)> = BTreeMap::new();
    visit(reader, State::Parked, |call| {
        let cause = cause_of(call.reason.as_deref().unwrap_or_default());
        causes.entry(cause).or_insert_with(|| (0, call.clone())).0 += 1;
    })?;
    let mut causes: Vec<_> = causes.into_iter().collect();
    causes.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
    let others = causes.split_off(causes.len().min(MAX_CAUSES));
    for (cause, (count, CallSummary { sid, .. })) in causes {
        let calls = counted(count, "call");
        let sentence = format!(
            "{calls} parked: {cause}; see show {sid}; after the fix, requeue --state parked --call-reason TEXT \
             sends them again"
        );
        notes.problem("parked", sentence);
    }
    if !others.is_empty() {
        let calls: u64 = others.iter().map(|(_, (count, _))| count).sum();
        let (calls, reasons) = (
            counted(calls, "call"),
            counted(others.len() as u64, "reason"),
        );
        let sentence = format!("{calls} parked for {reasons} more; list --state parked lists them");
        notes.problem("parked", sentence);
    }
    Ok(())
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
fn of_refused(notes: &mut Notes, reader: &dyn ReadStore, now: Millis) -> Result<(), StoreError> {
    let mut by_cause: Vec<(StoredRefusedRequest, usize)> = Vec::new();
    let mut others = 0;
    for stored in reader.refused(&SEARCHED)? {
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
    for (StoredRefusedRequest { id, request }, count) in by_cause {
        let RefusedRequest { cause, at, .. } = &request;
        let requests = counted(count, "request");
        let explanation = request.explanation.replace('\n', " ");
        let explanation = explanation.trim_end_matches('.');
        // A bridge would refuse the content of all others again.
        let repair = match request.status {
            403 | 503 => Some(format!("export --refused {id}")),
            404 | 405 | 415 => Some("export CALLSID".to_owned()),
            _ => None,
        };
        let repair = repair.map_or_else(String::new, |export| {
            format!("; after the fix, {export} and replay repair one that Twilio sent")
        });
        let sentence = format!(
            "{requests} refused with cause {cause}, the latest at {at}: {explanation}; see show {id}{repair}"
        );
        let status = if now.since(*at) < RECENT {
            NoteStatus::Problem
        } else {
            NoteStatus::Ok
        };
        notes.add(status, "refused", sentence);
    }
    if others > 0 {
        let requests = counted(others, "request");
        let sentence = format!(
            "{requests} refused that Twilio did not send (without a signature and an AccountSid); list \
             --refused lists them"
        );
        notes.ok("refused", sentence);
    }
    Ok(())
}

/// Twilio signs each request, and names the account. A proxy may have removed one of the two.
fn may_be_twilios(request: &RefusedRequest) -> bool {
    let names_account = |text: &str| text.contains("AccountSid");
    request.headers.contains("x-twilio-signature: ")
        || names_account(&request.target)
        || names_account(&String::from_utf8_lossy(&request.body))
}
