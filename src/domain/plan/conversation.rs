//! The conversations of a call, and the leg of each that Acquire knows it by.
//!
//! Most calls are one conversation. A session of a softphone or SIP phone can dial one after another: legs
//! that were answered and do not overlap are conversations of their own.

use std::collections::BTreeMap;
use std::time::Duration;

use super::call::{Call, Leg};
use super::call_shape::{CallShape, is_put_through, starts_internally};
use crate::clock::Millis;
use crate::twilio::CallSid;

/// Twilio counts whole seconds, so that two legs can seem to overlap by one.
const ROUNDING_TOLERANCE: Duration = Duration::from_secs(1);

/// A conversation of a call.
pub(super) struct Conversation<'r, 'a> {
    /// The leg that is reported.
    pub leg: &'r Leg<'a>,
    /// All its legs.
    pub legs: Vec<&'r Leg<'a>>,
    /// When the first of its legs was answered.
    pub answered_at: Millis,
    /// When the last of its legs ended.
    pub ended_at: Millis,
}

/// Whether more legs can still become known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Knowledge {
    /// All known legs have ended, or the wait for them is over.
    Final,
    Growing,
}

/// The conversations of a call; none while the reported leg can still change.
///
/// `tried` are the legs of which Acquire knows, in the order of their first attempts. A conversation stays
/// the leg that was tried first, so that no later callback contradicts it.
pub(super) fn conversations<'r, 'a>(
    shape: Option<CallShape>,
    call: &'r Call<'a>,
    tried: &[&'r Leg<'a>],
    knowledge: Knowledge,
) -> Vec<Conversation<'r, 'a>> {
    let chosen = match (tried.first(), knowledge) {
        (Some(tried), _) => Some(*tried),
        (None, Knowledge::Final) => ended_leg(shape, call),
        (None, Knowledge::Growing) => shape.and_then(|shape| certain_leg(shape, call)),
    };
    let Some(first) = chosen else {
        return Vec::new();
    };
    let whole_call = || vec![Conversation::of(first, call.legs.iter().collect())];
    if !is_dialled_in_session(shape, first) {
        // Legs that one leg dialled were tried as conversations, so the settings were others then.
        let is_apart = |leg: &&&Leg<'_>| leg.parent.is_some() && leg.parent == first.parent;
        let apart: Vec<&&Leg<'_>> = tried.iter().filter(is_apart).collect();
        if apart.len() < 2 {
            return whole_call();
        }
        let apart = apart.into_iter();
        return apart.map(|leg| Conversation::of(leg, vec![leg])).collect();
    }
    let mut found = answered_in_session(shape, call, knowledge);
    let places = places(&found);
    // The first that was tried comes last, so that it is the one that remains.
    for leg in tried.iter().rev() {
        if let Some(place) = places.get(leg.sid) {
            found[*place].leg = leg;
        }
    }
    // A leg that was tried stays, whatever became known about it later.
    let is_missing = |leg: &&&Leg<'_>| !places.contains_key(leg.sid);
    let stay: Vec<&&Leg<'_>> = tried.iter().filter(is_missing).collect();
    if stay.is_empty() && found.is_empty() {
        return whole_call();
    }
    let stay = stay.into_iter().map(|leg| Conversation::of(leg, vec![leg]));
    stay.chain(found).collect()
}

impl<'r, 'a> Conversation<'r, 'a> {
    fn of(leg: &'r Leg<'a>, legs: Vec<&'r Leg<'a>>) -> Self {
        Self {
            leg,
            legs,
            answered_at: leg.answered_at(),
            ended_at: leg.ended_at(),
        }
    }
}

/// The place of the conversation that each leg is in.
pub(super) fn places<'a>(all: &[Conversation<'_, 'a>]) -> BTreeMap<&'a CallSid, usize> {
    let mut places = BTreeMap::new();
    for (place, conversation) in all.iter().enumerate() {
        for leg in &conversation.legs {
            places.entry(leg.sid).or_insert(place);
        }
    }
    places
}

/// The leg that will be the call whatever callbacks follow, so that its events can be sent. An event of
/// another leg would show Acquire a call that never ends.
fn certain_leg<'r, 'a>(shape: CallShape, call: &'r Call<'a>) -> Option<&'r Leg<'a>> {
    match shape {
        CallShape::CalledIn | CallShape::CalledOut => call.root(),
        // A phone number may yet be dialled for an internal address.
        CallShape::Plain => call.root().filter(|root| !starts_internally(root)),
        // If the dialled leg is not answered, another may be dialled.
        CallShape::DialledOut | CallShape::Internal => {
            pick(call, |child| child.is_answered() && shape.is_of(child))
        }
    }
}

/// The leg that is the call once its legs have ended or the wait is over; at least one has ended.
fn ended_leg<'r, 'a>(shape: Option<CallShape>, call: &'r Call<'a>) -> Option<&'r Leg<'a>> {
    let has_ended = |leg: &Leg<'a>| leg.end.is_some();
    let dialled = match shape {
        Some(shape @ (CallShape::DialledOut | CallShape::Internal)) => {
            let wanted = pick(call, |child| has_ended(child) && shape.is_of(child));
            // Agents may have talked even if no customer's leg has ended.
            wanted.or_else(|| pick(call, |child| has_ended(child) && child.is_answered()))
        }
        Some(CallShape::CalledIn | CallShape::CalledOut | CallShape::Plain) | None => None,
    };
    dialled
        .or_else(|| call.root().filter(|root| has_ended(root)))
        .or_else(|| pick(call, has_ended))
}

/// The first wanted child that was answered, else the last wanted one.
fn pick<'r, 'a>(call: &'r Call<'a>, wanted: impl Fn(&Leg<'a>) -> bool) -> Option<&'r Leg<'a>> {
    let answered = call.answered_children();
    let answered = answered.into_iter().find(|child| wanted(child));
    answered.or_else(|| {
        call.children()
            .into_iter()
            .rev()
            .find(|child| wanted(child))
    })
}

/// Whether the first leg of the call dialled `leg`, and may dial others after it. Of a first leg
/// without a status, the dialled legs show whether it is an agent who calls out.
fn is_dialled_in_session(shape: Option<CallShape>, leg: &Leg<'_>) -> bool {
    let is_session = match shape {
        Some(CallShape::DialledOut | CallShape::Internal) => true,
        Some(CallShape::CalledIn | CallShape::CalledOut | CallShape::Plain) => false,
        None => !is_put_through(leg),
    };
    is_session && leg.parent.is_some()
}

/// The conversations of the answered legs: a leg that was answered while another still talked is of
/// the same conversation.
fn answered_in_session<'r, 'a>(
    shape: Option<CallShape>,
    call: &'r Call<'a>,
    knowledge: Knowledge,
) -> Vec<Conversation<'r, 'a>> {
    let mut answered = call.answered_children();
    answered.retain(|leg| {
        let is_known = leg.end.is_some() || knowledge == Knowledge::Growing;
        is_known && is_dialled_in_session(shape, leg)
    });
    let mut found: Vec<Conversation<'_, '_>> = Vec::new();
    for leg in answered {
        match found.last_mut() {
            Some(last) if leg.answered_at().plus(ROUNDING_TOLERANCE) < last.ended_at => {
                last.legs.push(leg);
                last.ended_at = last.ended_at.max(leg.ended_at());
            }
            _ => found.push(Conversation::of(leg, vec![leg])),
        }
    }
    for conversation in &mut found {
        let customer = |leg: &&&Leg<'_>| shape.is_none_or(|shape| shape.is_of(leg));
        if let Some(customer) = conversation.legs.iter().find(customer) {
            conversation.leg = customer;
        }
    }
    // While legs can still become known, another agent may be the first of a conversation with a customer.
    found.retain(|conversation| {
        knowledge == Knowledge::Final || shape.is_some_and(|shape| shape.is_of(conversation.leg))
    });
    found
}
