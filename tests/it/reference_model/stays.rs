//! Checks what holds even if callbacks come after all waits.

use std::collections::BTreeSet;

use twilio_acquire_bridge::domain::plan::ReportMode;

use super::bridge::Sent;
use super::human_call::{HumanCall, Opening, Person, Side, conversations};
use super::rules::{Known, Settings};

/// What was sent for a call of which each callback came in the end.
pub struct Stays<'a> {
    pub call: &'a HumanCall,
    pub sids: &'a [String],
    pub known: &'a [Known],
    pub sent: &'a [Sent],
    /// So many were sent before the last callback came.
    pub known_late: usize,
    /// So many were sent before the requeue.
    pub all: usize,
    /// Whether a callback of the first leg came in time.
    pub knows_first_leg: bool,
}

impl Stays<'_> {
    pub fn check(&self, settings: &Settings, is_chain: bool) -> Result<(), &'static str> {
        let (first, again) = self.sent.split_at(self.all);
        let (legs, requeued) = (self.legs(first), self.legs(again));
        let accepted: Vec<usize> = first
            .iter()
            .filter(|sent| sent.is_accepted)
            .map(|sent| self.place(sent))
            .collect();
        if accepted.len() != BTreeSet::from_iter(&accepted).len() {
            return Err("Acquire got an end twice");
        }
        if !requeued.is_subset(&legs) || requeued.is_empty() != legs.is_empty() {
            return Err("a requeue sends another leg");
        }
        // "The mode under which it was first tried stays too."
        let modes: BTreeSet<bool> = self
            .sent
            .iter()
            .map(|sent| sent.mode == ReportMode::Call)
            .collect();
        if modes.len() > 1 {
            return Err("a change of calls.report makes a second record");
        }
        let is_unclear = !self.knows_first_leg && self.looks_like_another_kind(settings);
        if modes.contains(&false) || legs.is_empty() || is_unclear {
            return Ok(());
        }
        if is_chain && legs.contains(&0) && !self.is_one_conversation(settings) {
            return Ok(());
        }
        if self.is_one_conversation(settings) || legs.contains(&0) {
            // Two calls can be sent before a leg shows that they are one.
            let late = self.legs(&self.sent[self.known_late..]);
            let early = self.legs(&self.sent[..self.known_late]);
            if !is_chain && legs.len() > 1 {
                return Err("one conversation has two ends");
            }
            if late.len() > 1 || !early.is_empty() && !late.is_subset(&early) {
                return Err("a call that was joined has another end");
            }
            return Ok(());
        }
        self.check_session(&legs, is_chain)
    }

    /// Without its first leg, a call to agents on the phone network looks like calls of an agent, and an
    /// agent's call to another agent like one from a customer.
    fn looks_like_another_kind(&self, settings: &Settings) -> bool {
        let is_external = |person: Person| person.side(settings.sip_customers) == Side::External;
        let is_one = self.is_one_conversation(settings);
        self.call.legs[1..].iter().any(|leg| {
            let is_put_through = is_external(leg.from) && !is_external(leg.to);
            is_put_through != is_one
        })
    }

    /// Each conversation of an agent who dials has an end, and no two of its legs have.
    fn check_session(&self, legs: &BTreeSet<usize>, is_chain: bool) -> Result<(), &'static str> {
        let dialled: Vec<usize> = (1..self.known.len())
            .filter(|leg| self.known[*leg].ended)
            .collect();
        for talk in conversations(self.call, &dialled) {
            if talk.iter().all(|leg| !legs.contains(leg)) {
                return Err("a conversation is lost");
            }
            let sent = talk.iter().filter(|leg| legs.contains(leg));
            let joins = talk.iter().any(|one| {
                let others = talk
                    .iter()
                    .filter(|other| *other != one && self.talk_together(*one, **other));
                others.count() > 0
                    && legs.contains(one)
                    && sent
                        .clone()
                        .any(|other| other != one && self.talk_together(*one, *other))
            });
            if joins && !is_chain {
                return Err("two ends of one conversation");
            }
        }
        Ok(())
    }

    fn talk_together(&self, one: usize, other: usize) -> bool {
        let (one, other) = (&self.call.legs[one], &self.call.legs[other]);
        match (one.answered(), other.answered()) {
            (Some(a), Some(b)) => a < other.ended && b < one.ended,
            _ => false,
        }
    }

    /// Whether the first leg is the call: the customer's, or an agent's for whom no customer was dialled.
    fn is_one_conversation(&self, settings: &Settings) -> bool {
        let is_customer = |person: Person| person.side(settings.sip_customers) == Side::External;
        let first = &self.call.legs[0];
        match self.call.opening {
            Opening::Called => is_customer(first.from),
            Opening::Api => {
                let legs = self.call.legs.iter().zip(self.known);
                let mut known = legs.filter(|(_, known)| known.started);
                is_customer(first.to) || known.all(|(leg, _)| !is_customer(leg.to))
            }
        }
    }

    fn place(&self, sent: &Sent) -> usize {
        self.sids
            .iter()
            .position(|sid| *sid == sent.end.call_id)
            .unwrap_or_default()
    }

    fn legs(&self, sent: &[Sent]) -> BTreeSet<usize> {
        sent.iter().map(|sent| self.place(sent)).collect()
    }
}
