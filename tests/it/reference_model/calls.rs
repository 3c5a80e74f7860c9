//! Random human calls of each kind in docs/calls.md.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::human_call::{Fate, HumanCall, Leg, Opening, Person, Second, SipSetting, UrlEmail};

/// Events are so many seconds apart or at the same time, because Twilio counts whole seconds.
const STEP: Second = 5;

/// A leg that is dialled for the first one, by its place in time.
#[derive(Clone, Debug)]
struct Dial {
    /// Chooses a person of the side that is dialled.
    who: u8,
    when: When,
    ring: Second,
    talk: Second,
    missed: Option<Fate>,
    /// By the leg before, not by the first one.
    is_chained: bool,
    url_email: UrlEmail,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    /// All legs before have ended.
    After,
    /// It starts and ends while the one before talks: a consultation.
    Within,
    /// It starts while the one before talks, and stays longer: a warm transfer.
    TakesOver,
    /// It rings at the same time as the one before, which is answered first.
    Beside,
}

/// Who starts the first leg, and with whom.
#[derive(Clone, Copy, Debug)]
enum Kind {
    CustomerCalls,
    AgentCalls,
    ApiCallsCustomer,
    ApiCallsAgent,
}

/// A call without the persons, who depend on the settings.
#[derive(Clone, Debug)]
pub struct Outline {
    kind: Kind,
    who: u8,
    url_email: UrlEmail,
    answers: bool,
    tail: Second,
    dials: Vec<Dial>,
}

pub fn outline() -> impl Strategy<Value = Outline> {
    use Kind::{AgentCalls, ApiCallsAgent, ApiCallsCustomer, CustomerCalls};
    let kind = select(&[CustomerCalls, AgentCalls, ApiCallsCustomer, ApiCallsAgent][..]);
    let first = (
        kind,
        0..16_u8,
        url_email(),
        prop::bool::weighted(0.8),
        0..2_i64,
    );
    (first, vec(dial(), 0..5)).prop_map(|((kind, who, url_email, answers, tail), dials)| Outline {
        kind,
        who,
        url_email,
        answers,
        tail,
        dials,
    })
}

fn customer(who: u8) -> Person {
    match who {
        0..=7 => Person::Customer(who % 4),
        8..=9 => Person::CustomerOnWhatsapp(who % 4),
        _ => Person::CustomerOnSip(who % 3),
    }
}

/// With `calls.sip_customers = "all"`, agents have only softphones.
fn agent(who: u8, setting: SipSetting) -> Person {
    match who {
        8..=11 if setting != SipSetting::All => Person::DeskPhone(who % 3),
        _ => Person::Softphone(who % 4),
    }
}

/// An agent is dialled for a customer, and a customer or another agent for an agent.
fn callee(kind: Kind, who: u8, setting: SipSetting) -> Person {
    match (kind, who) {
        (Kind::CustomerCalls | Kind::ApiCallsCustomer, 12..) => Person::Mobile(who % 3),
        (Kind::CustomerCalls | Kind::ApiCallsCustomer, _) => agent(who, setting),
        (Kind::AgentCalls | Kind::ApiCallsAgent, 12..) => agent(who - 8, setting),
        (Kind::AgentCalls | Kind::ApiCallsAgent, _) => customer(who),
    }
}

fn url_email() -> impl Strategy<Value = UrlEmail> {
    prop_oneof![
        4 => Just(UrlEmail::None),
        2 => Just(UrlEmail::Valid(0)),
        1 => (0..3_u8).prop_map(UrlEmail::Invalid),
    ]
}

fn dial() -> impl Strategy<Value = Dial> {
    use When::{After, Beside, TakesOver, Within};
    let missed = prop_oneof![
        3 => Just(None),
        1 => select(&[Fate::Busy, Fate::NoAnswer, Fate::Failed, Fate::Canceled][..]).prop_map(Some),
    ];
    let when = select(&[After, After, Within, TakesOver, Beside][..]);
    let is_chained = prop_oneof![4 => Just(false), 1 => Just(true)];
    let times = (1..6_i64, 3..60_i64).prop_map(|(ring, talk)| (ring * STEP, talk * STEP));
    let fields = (0..16_u8, when, missed, is_chained, url_email());
    (fields, times).prop_map(
        |((who, when, missed, is_chained, url_email), (ring, talk))| Dial {
            who,
            when,
            ring,
            talk,
            missed,
            is_chained,
            url_email,
        },
    )
}

/// The call that these legs make.
pub fn human_call(outline: Outline, setting: SipSetting) -> HumanCall {
    let Outline {
        kind,
        who,
        url_email,
        answers,
        tail,
        dials,
    } = outline;
    let first = match (kind, who) {
        (Kind::CustomerCalls, 15) => Person::CustomerWithheld,
        (Kind::CustomerCalls | Kind::ApiCallsCustomer, _) => customer(who),
        (Kind::AgentCalls | Kind::ApiCallsAgent, _) => agent(who, setting),
    };
    let (opening, from, to) = match (kind, first) {
        (Kind::CustomerCalls, Person::CustomerOnWhatsapp(_)) => {
            (Opening::Called, first, Person::OwnWhatsapp)
        }
        (Kind::CustomerCalls, _) => (Opening::Called, first, Person::OwnNumber),
        // A SIP phone dials the number that it calls.
        (Kind::AgentCalls, Person::DeskPhone(_)) => (Opening::Called, first, Person::DeskPhone(9)),
        (Kind::AgentCalls, _) => (Opening::Called, first, Person::Unnamed),
        (Kind::ApiCallsCustomer | Kind::ApiCallsAgent, _) => {
            (Opening::Api, Person::OwnNumber, first)
        }
    };
    // No leg is dialled for a person whom the API calls and who does not answer.
    let dials = if opening == Opening::Api && !answers {
        Vec::new()
    } else {
        dials
    };
    let mut legs = vec![Leg {
        dialled_by: None,
        from,
        to,
        started: 0,
        fate: Fate::Answered(0),
        ended: 2 * STEP,
        url_email: numbered(url_email, 0),
    }];
    for dial in dials {
        let to = callee(kind, dial.who, setting);
        add(&mut legs, &dial, kind, to);
    }
    let is_answered = legs[1..].iter().any(|leg| leg.answered().is_some());
    let last = legs.iter().map(|leg| leg.ended).max().unwrap_or_default();
    legs[0].ended = last + tail * STEP;
    // A caller who is connected only when an agent answers (`answerOnBridge`) hears the ringing till then.
    if !answers && !is_answered {
        legs[0].fate = Fate::NoAnswer;
    }
    HumanCall { opening, legs }
}

fn add(legs: &mut Vec<Leg>, dial: &Dial, kind: Kind, to: Person) {
    let first = legs[0].from;
    let place = legs.len();
    let before = place - 1;
    let other = (before > 0).then(|| legs[before].answered()).flatten();
    let after = legs.iter().skip(1).map(|leg| leg.ended).max().unwrap_or(0);
    let newest = legs
        .iter()
        .filter_map(Leg::answered)
        .max()
        .unwrap_or_default();
    let started = match (dial.when, other) {
        (When::Within | When::TakesOver, Some(_)) => newest + STEP,
        (When::Beside, Some(_)) => legs[before].started,
        _ => after + STEP,
    };
    let picked_up = started + dial.ring;
    let (fate, mut ended) = match (dial.missed, dial.when, other) {
        (_, When::Beside, Some(answered)) => (Fate::Canceled, answered),
        (Some(missed), ..) => (missed, picked_up),
        (None, ..) => (Fate::Answered(picked_up), picked_up + dial.talk),
    };
    if let (Fate::Answered(_), Some(_)) = (fate, other) {
        let met = legs[before].ended.max(picked_up + STEP);
        match dial.when {
            When::Within => legs[before].ended = legs[before].ended.max(ended + STEP),
            When::TakesOver => (legs[before].ended, ended) = (met, met + dial.talk),
            When::After | When::Beside => {}
        }
    }
    let talks = other.is_some();
    let dialled_by = if dial.is_chained && talks { before } else { 0 };
    let internal = matches!(to, Person::Softphone(_) | Person::DeskPhone(_));
    let from = match kind {
        Kind::CustomerCalls => first,
        Kind::AgentCalls if internal => first,
        _ => Person::OwnNumber,
    };
    legs.push(Leg {
        dialled_by: Some(dialled_by),
        from,
        to,
        started,
        fate,
        ended,
        url_email: numbered(dial.url_email, place),
    });
}

fn numbered(email: UrlEmail, place: usize) -> UrlEmail {
    match email {
        UrlEmail::Valid(_) => UrlEmail::Valid(u8::try_from(place).unwrap_or_default()),
        other => other,
    }
}
