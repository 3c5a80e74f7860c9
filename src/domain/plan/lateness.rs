//! The class of a call in the ledger, and whether Acquire accepted its requests late.
//!
//! A request is due once its callback has arrived, or the planned wait for a recording or other legs is
//! over. The plan of that time says when that was.

use std::time::Duration;

use super::history::History;
use super::item::{AcquireRequest, PlanItem};
use super::progress::Attempts;
use super::rules::Rules;
use super::{Next, Plan, ReceivedCallback};
use crate::clock::Millis;
use crate::domain::attempt::Attempt;
use crate::domain::class::Class;

/// The settings and records that decide whether a call is late.
#[derive(Clone, Copy)]
pub struct Lateness<'a> {
    /// Those that the plan was made from.
    pub callbacks: &'a [ReceivedCallback],
    pub history: History<'a>,
    pub rules: &'a Rules,
    /// `report.late`.
    pub late: Duration,
}

impl Plan {
    /// The class of the call; `before` is the one that it had so far.
    pub fn class(&self, known: Lateness<'_>, before: Class) -> Class {
        let was_late = matches!(before, Class::Late | Class::WaitingLate);
        let attempts = known.history.attempts;
        let mut is_accepted = attempts.iter().any(|made| made.verdict.is_accepted());
        let attempts = Attempts::of(attempts);
        let mut is_late = was_late;
        for entry in &self.entries {
            match &entry.item {
                PlanItem::Nothing(..) => {}
                PlanItem::Undecided(_) | PlanItem::Unmappable(..) => is_accepted = false,
                PlanItem::Send(planned) => match first_acceptance(&attempts, &planned.request) {
                    None => is_accepted = false,
                    Some(attempt) => {
                        is_late =
                            is_late || known.is_late(entry.position, &planned.request, attempt);
                    }
                },
            }
        }
        match self.next {
            _ if is_accepted && is_late => Class::Late,
            _ if is_accepted => Class::InTime,
            Next::Parked(..) => Class::Parked,
            Next::Skipped(..) => Class::Skipped,
            _ if was_late => Class::WaitingLate,
            _ => Class::Waiting,
        }
    }
}

fn first_acceptance<'a>(attempts: &Attempts<'a>, request: &AcquireRequest) -> Option<&'a Attempt> {
    attempts
        .made_for(request)
        .filter(|attempt| attempt.verdict.is_accepted())
        .min_by_key(|attempt| attempt.at)
}

impl Lateness<'_> {
    fn is_late(self, position: usize, request: &AcquireRequest, accepted: &Attempt) -> bool {
        let answered = accepted.at.plus(accepted.took);
        let is_late = |due: Millis| answered.since(due) > self.late;
        // No request is due before its callback, so most calls are not planned again.
        self.callbacks
            .get(position)
            .is_some_and(|callback| is_late(callback.at))
            && self.due_at(request, accepted.at).is_none_or(is_late)
    }

    /// When the request was due first, by the plans of the times up to `until`.
    fn due_at(self, request: &AcquireRequest, until: Millis) -> Option<Millis> {
        let mut arrivals: Vec<Millis> = self.callbacks.iter().map(|one| one.at).collect();
        arrivals.sort_unstable();
        arrivals.dedup();
        let ends = arrivals
            .iter()
            .skip(1)
            .copied()
            .chain([until.plus(Duration::from_millis(1))]);
        arrivals
            .iter()
            .zip(ends)
            .find_map(|(arrived, end)| self.due_between(request, *arrived, end))
    }

    /// The same, of the plans from the arrival of a callback to that of the next one.
    fn due_between(self, request: &AcquireRequest, arrived: Millis, end: Millis) -> Option<Millis> {
        let known = self.callbacks.iter().filter(|one| one.at <= arrived);
        let known: Vec<ReceivedCallback> = known.cloned().collect();
        let mut now = arrived;
        while now < end {
            let made = self.history.attempts.iter().filter(|made| made.at < now);
            let made: Vec<Attempt> = made.cloned().collect();
            let history = History {
                attempts: &made,
                before_requeue: 0,
                report: self.history.report,
            };
            let plan = Plan::of(&known, history, self.rules, now);
            let mut next = end;
            for item in plan.items() {
                let wait = match item {
                    PlanItem::Send(planned) if planned.request.is_for(request) => {
                        match &planned.wait {
                            Some(wait) if wait.until > now => wait.until,
                            _ => return Some(now),
                        }
                    }
                    PlanItem::Undecided(wait) => wait.until,
                    _ => continue,
                };
                if wait > now {
                    next = next.min(wait);
                }
            }
            now = next;
        }
        None
    }
}
