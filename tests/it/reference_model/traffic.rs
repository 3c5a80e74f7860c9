//! The callbacks of a human call as they arrive, and the facts in them.

use twilio_acquire_bridge::clock::Millis;

use super::human_call::{HumanCall, Second, conversations};
use super::rules::{Known, Recorded};
use super::setup::{Arrival, EndForm, Recording, Traffic};

/// When the call started: 2026-01-01, 09:00 UTC.
pub const STARTED: i64 = 1_767_258_000_000;

/// The delay of a late callback.
const LATE: Second = 6 * 3600;

pub type Form = Vec<(String, String)>;

/// A request, and the fact that it reports.
#[derive(Clone)]
pub struct Request {
    pub at: Millis,
    pub leg: usize,
    pub content: Content,
    pub form: Form,
    pub url: String,
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let fields: Vec<String> = (self
            .form
            .iter()
            .map(|(name, value)| format!("{name}={value}")))
        .collect();
        let Self { at, content, .. } = self;
        write!(f, "{at}: {content:?} {} {}", self.url, fields.join(" "))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    Started,
    Answered,
    /// With a `CallDuration`.
    Ended(Option<String>),
    /// It has a terminal status, and is no status callback.
    WeaklyEnded,
    Recording,
    /// It must be refused with 400.
    Refusable,
}

impl Request {
    /// Whether it came after all waits.
    pub fn is_late(&self) -> bool {
        self.at.0 > STARTED + 1000 * LATE / 2
    }
}

impl Traffic {
    /// The SIDs of the legs, in an order that does not depend on time.
    pub fn sids(&self, call: &HumanCall) -> Vec<String> {
        let number = |place: usize| (place + 1) * usize::from(self.sids) % 101;
        (0..call.legs.len())
            .map(|place| format!("CA{:032x}", number(place)))
            .collect()
    }

    pub fn recordings(&self, call: &HumanCall) -> Vec<Recorded> {
        let dialled: Vec<usize> = (1..call.legs.len()).collect();
        let talks = conversations(call, &dialled);
        let started = |talk: &Vec<usize>| call.legs[talk[0]].answered().unwrap_or_default();
        let ended = |talk: &Vec<usize>| {
            talk.iter()
                .map(|leg| call.legs[*leg].ended)
                .max()
                .unwrap_or_default()
        };
        let recorded = |(number, (leg, started, ended))| Recorded {
            leg,
            is_in_end_of_leg: self.recording == Recording::WithEnd,
            started,
            ended,
            url: url_of(number),
        };
        let all = match (self.recording, talks.first()) {
            (Recording::WholeCall, Some(first)) => vec![(0, started(first), call.legs[0].ended)],
            (Recording::EachConversation, _) => talks
                .iter()
                .map(|talk| (0, started(talk), ended(talk)))
                .collect(),
            (Recording::WithEnd, Some(first)) => {
                vec![(first[0], started(first), call.legs[first[0]].ended)]
            }
            _ => Vec::new(),
        };
        (0..).zip(all).map(recorded).collect()
    }

    /// What Twilio sends and the network delivers, in the order of arrival; and whether anything is lost.
    pub fn requests(&self, call: &HumanCall) -> (Vec<Request>, bool) {
        let mut sent: Vec<Request> = (0..call.legs.len())
            .flat_map(|place| self.of_leg(call, place))
            .collect();
        sent.extend(self.of_recordings(call));
        sent.extend(self.others(call));
        let mut loses = (0..call.legs.len()).any(|place| self.is_silent(call, place));
        let mut arrived = Vec::new();
        for (number, mut request) in sent.into_iter().enumerate() {
            let rank =
                i64::try_from((number * self.order.0 + self.order.1) % 31).unwrap_or_default();
            // A burst starts after the call, and is shorter than `calls.settle`.
            let spread = match (self.is_live, self.has_timestamps) {
                (false, _) => 100,
                (true, true) => 10,
                // The time of arrival is all that is known.
                (true, false) => 0,
            };
            let start = if self.is_live {
                request.at.0
            } else {
                STARTED + 1000 * (call.legs[0].ended + 60)
            };
            // The end comes after the requests that only look like it.
            let is_end = request.leg == 0 && matches!(request.content, Content::Ended(_));
            let start = start
                + if self.is_live && self.weak_end && is_end {
                    20_000
                } else {
                    0
                };
            request.at = Millis(start + rank * spread);
            let arrival = self.arrivals.iter().find(|(other, _)| *other == number);
            let arrival = arrival.filter(|_| !self.is_needed(&request));
            match arrival.map_or(Arrival::Once, |(_, arrival)| *arrival) {
                Arrival::Lost if can_be_lost(call, &request) => {
                    loses = true;
                    continue;
                }
                Arrival::Twice => {
                    let again = Millis(if self.is_live {
                        request.at.0 + 2000
                    } else {
                        request.at.0
                    });
                    arrived.push(Request {
                        at: again,
                        ..request.clone()
                    });
                }
                Arrival::Late => request.at = Millis(request.at.0 + 1000 * LATE),
                Arrival::Once | Arrival::Lost => {}
            }
            arrived.push(request);
        }
        arrived.sort_by_key(|request| request.at);
        (arrived, loses)
    }

    /// Without these, the time of an answer is unknown.
    fn is_needed(&self, request: &Request) -> bool {
        match request.content {
            Content::Ended(_) => self.legs[request.leg].end == EndForm::RepeatedWithMore,
            Content::Answered => !self.has_duration(request.leg),
            _ => false,
        }
    }

    pub fn has_duration(&self, place: usize) -> bool {
        matches!(
            self.legs[place].end,
            EndForm::Whole | EndForm::RepeatedWithMore
        )
    }

    pub fn is_silent(&self, call: &HumanCall, place: usize) -> bool {
        let dials_others = place > 0 && call.legs.iter().any(|leg| leg.dialled_by == Some(place));
        self.legs[place].is_silent && !dials_others
    }
}

pub fn url_of(number: usize) -> String {
    format!("https://api.twilio.com/2010-04/RE{:032x}", number + 1)
}

/// A leg of which all is lost must not have dialled others, which would then be a call of their own.
fn can_be_lost(call: &HumanCall, request: &Request) -> bool {
    let mut dialled = call.legs.iter().filter_map(|leg| leg.dialled_by);
    match request.content {
        Content::Ended(_) => request.leg == 0 || dialled.all(|by| by != request.leg),
        Content::Started | Content::Answered => true,
        Content::Recording | Content::WeaklyEnded | Content::Refusable => false,
    }
}

/// The facts of each leg that these requests report.
pub fn known_from<'r>(
    call: &HumanCall,
    requests: impl Iterator<Item = &'r Request> + Clone,
) -> Vec<Known> {
    let mut known = vec![Known::default(); call.legs.len()];
    for request in requests {
        let leg = &mut known[request.leg];
        match &request.content {
            Content::Recording | Content::Refusable => continue,
            Content::Started => {}
            Content::Answered => leg.answered = true,
            Content::Ended(duration) => {
                leg.ended = true;
                leg.duration = duration.clone().or(leg.duration.take());
                leg.email_is_unsure = request.form.iter().any(|(name, _)| name == "1st");
            }
            Content::WeaklyEnded => leg.ended = true,
        }
        leg.started = true;
    }
    known
}
