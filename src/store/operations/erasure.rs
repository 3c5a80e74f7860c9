//! Erasures: what is removed of a subject, in which order, and the receipt.
//!
//! An erasure is an [`Operation`]. Each node empties its spool first, so that nothing of it reaches the
//! database later. Then the calls are removed, again until a search finds none, then the refused requests.
//! Last, the subject itself is removed from the row of the operation, and the files are overwritten.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Cursor, NewOperation, Operation, OperationBatch};
use crate::clock::Millis;
use crate::domain::audit::{Act, Actor, AuditEntry};
use crate::domain::call_filter::CallFilter;
use crate::domain::class::Class;
use crate::domain::operation::{OperationKind, OperationState};
use crate::domain::plural::counted;
use crate::domain::subject::Subject;
use crate::store::{
    CallQuery, Detail, RefusedRequest, RemovalCause, SignedRequest, StoredCall, StoredCallback,
    Towards,
};

/// Whether the files of the store are rewritten as a whole, which blocks all other work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compaction {
    #[default]
    Off,
    Full,
}

/// The next step of an erasure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErasurePhase {
    Spools,
    Calls,
    Refused,
    Files,
}

/// An erasure to make.
#[derive(Clone, Debug)]
pub struct NewErasure {
    pub subject: Subject,
    /// [`Subject::words`].
    pub words: String,
    pub compaction: Compaction,
}

impl NewErasure {
    /// The operation that erases it, without a reason.
    pub fn operation(self, actor: Actor, now: Millis) -> NewOperation {
        NewOperation {
            erasure: Some(self),
            ..NewOperation::new(OperationKind::Erase, CallFilter::default(), actor, now)
        }
    }
}

/// What the row of an operation has of an erasure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erasure {
    /// Until all rows that have it are removed; then the operation has only its hash.
    pub subject: Option<Subject>,
    pub compaction: Compaction,
    pub phase: ErasurePhase,
    pub removed: Removed,
    /// Calls that were removed since the search started at the first call.
    in_pass: u64,
    /// Nodes that cleared their spools.
    pub nodes: Vec<String>,
    /// Places that could not be reached, so far.
    pub not_reached: Vec<String>,
    pub receipt: Option<Receipt>,
}

/// Counts of the removed data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    pub calls: u64,
    pub legs: u64,
    /// Of the calls: those that Acquire never accepted, and never will.
    pub undelivered: u64,
    pub refused: u64,
    /// Callbacks in spools; `None` if no spool was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spooled: Option<u64>,
}

impl Removed {
    /// Counts a call that is to be removed.
    pub fn add_call(&mut self, call: &StoredCall) {
        let class = RemovalCause::Erased.kept_class(call.summary.class);
        self.calls += 1;
        self.legs += legs_of(call).len() as u64;
        self.undelivered += u64::from(class == Class::Erased);
    }
}

impl std::ops::AddAssign for Removed {
    fn add_assign(&mut self, more: Self) {
        self.calls += more.calls;
        self.legs += more.legs;
        self.undelivered += more.undelivered;
        self.refused += more.refused;
        if let Some(more) = more.spooled {
            *self.spooled.get_or_insert_default() += more;
        }
    }
}

impl fmt::Display for Removed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} with {}, {} of them not accepted by Acquire; {}",
            counted(self.calls, "call"),
            counted(self.legs, "leg"),
            self.undelivered,
            counted(self.refused, "refused request"),
        )?;
        self.spooled.map_or(Ok(()), |callbacks| {
            write!(f, "; {} in spools", counted(callbacks, "callback"))
        })
    }
}

/// What an erasure did. It has no personal data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    pub number: i64,
    pub at: Millis,
    pub actor: String,
    pub reason: Option<String>,
    /// The keyed hash of what was asked for.
    pub subject: String,
    pub removed: Removed,
    /// What was done with the bytes in the files of the store.
    pub files: String,
    /// The files that still have the value.
    pub found_in: Vec<String>,
    pub not_reached: Vec<String>,
}

/// The places that no erasure reaches.
const BEYOND: [&str; 6] = [
    "Acquire and Twilio: ask them to erase it",
    "logs of the bridge, of proxies and of load balancers (CallSids and masked numbers)",
    "notifications that were sent (the CallSid of an example), and the audit log (CallSids)",
    "exports, and copies of the database that others made",
    "directory.file and directory.entries of the configuration",
    "callbacks that arrived after the search",
];

impl Receipt {
    /// The receipt in lines, for a terminal and a page.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![
            format!("receipt {}, {}, {}", self.number, self.at, self.subject),
            format!(
                "by {}: {}",
                self.actor,
                self.reason.as_deref().unwrap_or_default()
            ),
            format!("removed: {}", self.removed),
            format!("files: {}", self.files),
        ];
        let found = self.found_in.iter();
        lines.extend(found.map(|place| format!("STILL FOUND: {place}")));
        let beyond = self.not_reached.iter();
        lines.extend(beyond.map(|place| format!("not reached: {place}")));
        lines
    }
}

/// What was done with the bytes of removed rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wiped {
    /// In a sentence without its stop.
    pub done: String,
    /// The files that still have the value.
    pub found_in: Vec<String>,
    pub not_reached: Vec<String>,
}

/// The state of the spool of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpoolErasure {
    /// Its callbacks are being transferred to the database first.
    Waiting,
    Cleared {
        callbacks: u64,
        found_in: Vec<String>,
    },
}

/// The calls that have a subject, in the order of their rows, so that no call that arrives meanwhile is
/// missed. A page continues from its `start`.
pub fn calls_with(subject: &Subject, detail: Detail, limit: usize) -> CallQuery {
    let subject = subject.clone();
    CallQuery {
        wanted: Some(Arc::new(move |call: &_| is_in_call(&subject, call))),
        towards: Towards::Start,
        detail,
        ..CallQuery::of(CallFilter::default(), limit)
    }
}

/// The legs of a call, its first one included.
fn legs_of(call: &StoredCall) -> BTreeSet<String> {
    let read = |stored: &StoredCallback| Some(stored.request.read().ok()?.leg.to_string());
    let mut legs: BTreeSet<String> = call.callbacks.iter().filter_map(read).collect();
    legs.insert(call.summary.sid.to_string());
    legs
}

/// The subject; of a call, with the SIDs of all its legs.
pub fn with_legs(subject: Subject, calls: &[StoredCall]) -> Subject {
    let Subject::Call(mut sids) = subject else {
        return subject;
    };
    let legs = calls.iter().flat_map(legs_of);
    sids.extend(legs.filter(|leg| *leg != sids[0]).collect::<Vec<_>>());
    Subject::Call(sids)
}

/// Whether a verified request has the subject.
pub fn is_in_request(subject: &Subject, request: &SignedRequest) -> bool {
    subject.is_in_form(request.url.as_bytes())
        || subject.is_in_form(&request.body)
        // A record that was imported is JSON.
        || subject.is_in(&request.body)
        || subject.is_in(request.headers.as_bytes())
}

/// Whether anything that the store has of a call has the subject.
pub fn is_in_call(subject: &Subject, call: &StoredCall) -> bool {
    let mut requests = call.callbacks.iter().map(|stored| &stored.request);
    requests.any(|request| is_in_request(subject, request))
        || call.attempts.iter().any(|attempt| {
            subject.is_in(attempt.sent.as_bytes()) || subject.is_in(attempt.excerpt.as_bytes())
        })
        || call
            .summary
            .reason
            .as_ref()
            .is_some_and(|reason| subject.is_in(reason.as_bytes()))
}

/// Whether a refused request has the subject.
pub fn is_in_refused(subject: &Subject, request: &RefusedRequest) -> bool {
    let forms = [
        request.target.as_bytes(),
        request.url.as_bytes(),
        &request.body,
    ];
    forms.iter().any(|form| subject.is_in_form(form))
        || [
            &request.body[..],
            request.headers.as_bytes(),
            request.explanation.as_bytes(),
        ]
        .iter()
        .any(|text| subject.is_in(text))
}

impl Erasure {
    pub(super) fn new(new: &NewErasure) -> Self {
        Self {
            subject: Some(new.subject.clone()),
            compaction: new.compaction,
            phase: ErasurePhase::Spools,
            removed: Removed::default(),
            in_pass: 0,
            nodes: Vec::new(),
            not_reached: Vec::new(),
            receipt: None,
        }
    }

    /// Moves on behind a batch; returns where the next one starts.
    pub(super) fn move_on(&mut self, to: Cursor, removed: Removed) -> Cursor {
        self.removed += removed;
        self.in_pass += removed.calls;
        if to != Cursor::End {
            return to;
        }
        match self.phase {
            // Calls may have been merged behind the search: only a search that finds none is the last one.
            ErasurePhase::Calls if self.in_pass > 0 => self.in_pass = 0,
            ErasurePhase::Calls => self.phase = ErasurePhase::Refused,
            _ => self.phase = ErasurePhase::Files,
        }
        Cursor::Start
    }
}

impl Operation {
    /// Notes that the spool of a node is cleared.
    pub fn spool_cleared(&mut self, node: &str, callbacks: u64, found_in: &[String]) {
        if let Some(erasure) = &mut self.erasure
            && !erasure.nodes.iter().any(|known| known == node)
        {
            erasure.nodes.push(node.to_owned());
            *erasure.removed.spooled.get_or_insert_default() += callbacks;
            let kept = found_in
                .iter()
                .map(|place| format!("{place} on node {node}"));
            erasure.not_reached.extend(kept);
        }
    }

    /// Ends the wait for the spools; those of these nodes are not cleared.
    pub fn spools_done(&mut self, missing: &[String]) {
        if let Some(erasure) = &mut self.erasure {
            erasure.phase = ErasurePhase::Calls;
            let missing = missing.iter();
            let missing = missing.map(|node| {
                format!("the spool of node {node}, which did not confirm: erase again once it runs")
            });
            erasure.not_reached.extend(missing);
        }
    }

    /// What an erasure did, once it has ended.
    pub fn receipt(&self) -> Option<&Receipt> {
        self.erasure.as_ref()?.receipt.as_ref()
    }

    /// Takes the subject out of the row, so that the files can be overwritten.
    pub fn forget_subject(&mut self) {
        if let Some(erasure) = &mut self.erasure {
            erasure.subject = None;
        }
    }

    /// Ends it with a receipt. Returns the row of the audit log.
    pub fn erased(&mut self, wiped: Wiped, now: Millis) -> AuditEntry {
        let is_clean = wiped.found_in.is_empty();
        self.state = if is_clean {
            OperationState::Done
        } else {
            OperationState::Failed
        };
        self.changed = now;
        let (mut removed, mut not_reached) = (Removed::default(), wiped.not_reached);
        if let Some(erasure) = &mut self.erasure {
            removed = erasure.removed;
            erasure.subject = None;
            not_reached.append(&mut erasure.not_reached);
            not_reached.extend(BEYOND.map(str::to_owned));
            erasure.receipt = Some(Receipt {
                number: self.id,
                at: now,
                actor: self.actor.clone(),
                reason: self.reason.clone(),
                subject: self.words.clone(),
                removed,
                files: wiped.done,
                found_in: wiped.found_in,
                not_reached,
            });
        }
        let failed = if is_clean {
            ""
        } else {
            "; a file still has the value"
        };
        AuditEntry {
            count: Some(removed.calls),
            result: Some(format!("{removed}{failed}")),
            ..self.entry(Act::Erase, Actor::system(), now)
        }
    }
}

impl OperationBatch {
    /// The refused requests that an erasure removes.
    pub fn of_refused(operation: &Operation, refused: Vec<i64>) -> Self {
        Self {
            operation: operation.id,
            from: operation.position,
            to: Cursor::End,
            calls: Vec::new(),
            refused,
            held_for: None,
        }
    }
}
