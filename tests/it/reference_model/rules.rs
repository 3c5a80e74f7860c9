//! The rules of docs/calls.md, written a second time: what Acquire must get for a human call.
//!
//! This code knows the call and which of it Twilio reported. It shares nothing with `domain::plan`.

use twilio_acquire_bridge::acquire::{CallEnd, CallStatus, Direction};

use super::human_call::conversations;
use super::human_call::{
    Fate, HumanCall, Leg, Opening, Person, Second, Side, SipSetting, UrlEmail,
};

/// The operator's settings.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `calls.report = "call"`
    pub report: Report,
    pub sip_customers: SipSetting,
    /// `calls.missed = "parent"`
    pub missed_as_parent: bool,
    /// `[directory]`: the agents with these numbers have an entry.
    pub listed: [bool; 4],
    pub own_number_is_listed: bool,
    pub default_email: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    Call,
    Legs,
}

/// The facts of a leg that Twilio reported.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is known by itself")]
pub struct Known {
    /// Anything at all.
    pub started: bool,
    /// `in-progress`
    pub answered: bool,
    pub ended: bool,
    /// Its `CallDuration`, if that is a whole number.
    pub duration: Option<String>,
    /// Its URL's e-mail may be the end of another field.
    pub email_is_unsure: bool,
}

/// A recording that can be fetched.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The leg that Twilio names.
    pub leg: usize,
    pub is_in_end_of_leg: bool,
    pub started: Second,
    pub ended: Second,
    pub url: String,
}

pub struct Facts<'a> {
    pub call: &'a HumanCall,
    pub known: &'a [Known],
    pub sids: &'a [String],
    pub recordings: &'a [Recorded],
    pub settings: &'a Settings,
}

impl Settings {
    /// The directory's entry for a person.
    pub fn entry(&self, person: Person) -> Option<String> {
        let name = match person {
            Person::Softphone(n) => format!("agent{n}"),
            Person::DeskPhone(n) => format!("desk{n}"),
            Person::Mobile(n) => format!("mobile{n}"),
            Person::OwnNumber | Person::OwnWhatsapp if self.own_number_is_listed => {
                return Some("line@example.com".to_owned());
            }
            _ => return None,
        };
        let n = usize::from(name.as_bytes()[name.len() - 1] - b'0');
        let is_listed = self.listed.get(n).copied().unwrap_or_default();
        is_listed.then(|| format!("{name}@example.com"))
    }
}

impl Facts<'_> {
    /// All call-ends, in no order.
    pub fn expected(&self) -> Vec<CallEnd> {
        let ends = match self.settings.report {
            Report::Call => self.human_calls(),
            Report::Legs => self.each_leg(),
        };
        // Acquire requires both.
        let is_complete = |end: &CallEnd| !end.from.is_empty() && !end.to.is_empty();
        ends.into_iter().filter(is_complete).collect()
    }

    fn each_leg(&self) -> Vec<CallEnd> {
        let ended = (0..self.known.len()).filter(|leg| self.has_ended(*leg));
        ended
            .map(|leg| CallEnd {
                recording_url: self.recording_of_leg(leg),
                ..self.as_twilio_says(leg)
            })
            .collect()
    }

    fn human_calls(&self) -> Vec<CallEnd> {
        let first = &self.call.legs[0];
        let dials_customer = self.dialled().any(|leg| self.is_customer(leg));
        if !self.known[0].started {
            return self.without_first_leg();
        }
        let opened_by_customer = match self.call.opening {
            Opening::Called => self.side(first.from) == Side::External,
            Opening::Api => self.side(first.to) == Side::External,
        };
        let none_dialled = self.dialled().next().is_none();
        let only_agents = self.call.opening == Opening::Api && !dials_customer;
        if opened_by_customer || none_dialled || only_agents {
            let is_first = self.has_ended(0).then(|| self.first_leg());
            return Vec::from_iter(is_first.or_else(|| self.one_of_dialled()));
        }
        self.session(dials_customer)
    }

    /// The first leg is the call.
    fn first_leg(&self) -> CallEnd {
        let leg = &self.call.legs[0];
        let mut end = self.as_twilio_says(0);
        let is_from_customer =
            self.call.opening == Opening::Called && self.side(leg.from) == Side::External;
        let is_to_customer =
            self.call.opening == Opening::Api && self.side(leg.to) == Side::External;
        if is_from_customer || is_to_customer {
            end.email = self.agent_email().or(end.email);
        }
        let is_missed = leg.answered().is_some() && self.answered_first().is_none();
        if is_from_customer && is_missed && !self.settings.missed_as_parent {
            let last = self.dialled().rfind(|leg| self.has_ended(*leg));
            end.call_status =
                last.map_or(end.call_status, |last| status(self.call.legs[last].fate));
        }
        end.recording_url = self.longest(|_| true);
        end
    }

    /// An agent dials: each conversation is a call, else the last leg that was dialled.
    fn session(&self, dials_customer: bool) -> Vec<CallEnd> {
        let ended: Vec<usize> = self.dialled().filter(|leg| self.has_ended(*leg)).collect();
        let mut wanted = ended
            .iter()
            .copied()
            .filter(|leg| self.is_customer(*leg) || !dials_customer);
        let talks = conversations(self.call, &ended);
        if talks.is_empty() {
            return match wanted.next_back() {
                Some(last) => vec![self.dialled_by_agent(last, |_| true)],
                None if self.has_ended(0) => vec![self.dialled_by_agent(0, |_| true)],
                None => Vec::from_iter(self.one_of_dialled()),
            };
        }
        talks
            .iter()
            .map(|talk| {
                let customer = talk.iter().copied().find(|leg| self.is_customer(*leg));
                let leg = customer.unwrap_or(talk[0]);
                self.dialled_by_agent(leg, |recorded| {
                    talks.len() == 1 || self.is_of(recorded, talk)
                })
            })
            .collect()
    }

    fn dialled_by_agent(&self, leg: usize, is_own: impl Fn(&Recorded) -> bool) -> CallEnd {
        let mut end = self.as_twilio_says(leg);
        end.recording_url = self.longest(is_own);
        let dials_customer = self.dialled().any(|leg| self.is_customer(leg));
        if self.is_customer(leg) && leg > 0 || leg == 0 && dials_customer {
            let first = &self.call.legs[0];
            let agent = if self.call.opening == Opening::Called {
                first.from
            } else {
                first.to
            };
            let known = self.url_email(leg).or_else(|| self.url_email(0));
            end.email = known.or_else(|| self.settings.entry(agent)).or(end.email);
            end.direction = Direction::Outgoing;
        }
        end
    }

    /// Nothing is known of the first leg, so each conversation counts, unless a phone was put through to an
    /// agent: that is one call from a customer.
    fn without_first_leg(&self) -> Vec<CallEnd> {
        let Some(one) = self.one_of_dialled_leg() else {
            return Vec::new();
        };
        let ended: Vec<usize> = self.dialled().filter(|leg| self.has_ended(*leg)).collect();
        let talks: Vec<usize> = ended
            .into_iter()
            .filter(|leg| !self.is_put_through(*leg))
            .collect();
        let talks = conversations(self.call, &talks);
        if self.is_put_through(one) || talks.is_empty() {
            return Vec::from_iter(self.one_of_dialled());
        }
        talks
            .iter()
            .map(|talk| CallEnd {
                recording_url: self
                    .longest(|recorded| talks.len() == 1 || self.is_of(recorded, talk)),
                ..self.as_twilio_says(talk[0])
            })
            .collect()
    }

    fn one_of_dialled_leg(&self) -> Option<usize> {
        let ended: Vec<usize> = self.dialled().filter(|leg| self.has_ended(*leg)).collect();
        let answered = ended.iter().copied().filter(|leg| self.is_answered(*leg));
        answered
            .min_by_key(|leg| self.call.legs[*leg].answered())
            .or(ended.last().copied())
    }

    /// The end of the first leg is not known: the one that was answered first, else the last one.
    fn one_of_dialled(&self) -> Option<CallEnd> {
        let leg = self.one_of_dialled_leg()?;
        let mut end = self.as_twilio_says(leg);
        let is_api = self.known[0].started && self.call.opening == Opening::Api;
        if self.is_put_through(leg) && !is_api {
            end.direction = Direction::Incoming;
            end.email = self.email(leg, Direction::Incoming);
        }
        end.recording_url = self.longest(|_| true);
        Some(end)
    }

    fn as_twilio_says(&self, place: usize) -> CallEnd {
        let leg = &self.call.legs[place];
        let direction = match (place, self.call.opening) {
            (0, Opening::Called) => Direction::Incoming,
            _ => Direction::Outgoing,
        };
        CallEnd {
            from: leg.from.address(),
            to: leg.to.address(),
            call_id: self.sids[place].clone(),
            email: self.email(place, direction),
            call_status: status(leg.fate),
            recording_url: None,
            duration: self.known[place].duration.clone(),
            direction,
        }
    }

    fn email(&self, place: usize, direction: Direction) -> Option<String> {
        let leg = &self.call.legs[place];
        let caller = (direction == Direction::Outgoing)
            .then(|| self.settings.entry(leg.from))
            .flatten();
        let default = || {
            self.settings
                .default_email
                .then(|| "all@example.com".to_owned())
        };
        self.url_email(place)
            .or_else(|| self.settings.entry(leg.to))
            .or(caller)
            .or_else(default)
    }

    /// "E-mail of the agent who answered first."
    fn agent_email(&self) -> Option<String> {
        let agent = self.answered_first()?;
        self.url_email(agent)
            .or_else(|| self.settings.entry(self.call.legs[agent].to))
    }

    fn url_email(&self, place: usize) -> Option<String> {
        let leg = &self.call.legs[place];
        let is_used = self.known[place].started && !self.known[place].email_is_unsure;
        let is_valid = matches!(leg.url_email, UrlEmail::Valid(_));
        leg.typed_email().filter(|_| is_used && is_valid)
    }

    fn recording_of_leg(&self, place: usize) -> Option<String> {
        let first = &self.call.legs[0];
        let first_is_sent = self.known[0].started
            && first.to != Person::Unnamed
            && first.from != Person::CustomerWithheld;
        let of_first = if first_is_sent {
            Some(0)
        } else {
            self.answered_first()
        };
        self.longest(|recorded| {
            let is_own = recorded.is_in_end_of_leg && recorded.leg == place;
            is_own || !recorded.is_in_end_of_leg && of_first == Some(place)
        })
    }

    /// "Of several recordings the longest goes; of equally long ones the one that started first."
    fn longest(&self, is_own: impl Fn(&Recorded) -> bool) -> Option<String> {
        let own = self.recordings.iter().filter(|recorded| is_own(recorded));
        let longest =
            own.min_by_key(|recorded| (recorded.started - recorded.ended, recorded.started));
        longest.map(|recorded| recorded.url.clone())
    }

    fn is_of(&self, recorded: &Recorded, talk: &[usize]) -> bool {
        let talks = talk.iter().map(|leg| &self.call.legs[*leg]);
        talks.clone().any(|leg| {
            leg.answered()
                .is_some_and(|at| at < recorded.ended && recorded.started < leg.ended)
        })
    }

    fn dialled(&self) -> impl DoubleEndedIterator<Item = usize> {
        (1..self.known.len()).filter(|leg| self.known[*leg].started)
    }

    fn answered_first(&self) -> Option<usize> {
        let answered = self.dialled().filter(|leg| self.is_answered(*leg));
        answered.min_by_key(|leg| self.call.legs[*leg].answered())
    }

    fn is_answered(&self, place: usize) -> bool {
        let known = &self.known[place];
        self.call.legs[place].answered().is_some() && (known.answered || known.ended)
    }

    fn has_ended(&self, place: usize) -> bool {
        self.known[place].ended
    }

    fn side(&self, person: Person) -> Side {
        person.side(self.settings.sip_customers)
    }

    fn is_customer(&self, place: usize) -> bool {
        self.side(self.call.legs[place].to) == Side::External
    }

    fn is_put_through(&self, place: usize) -> bool {
        let Leg { from, to, .. } = self.call.legs[place];
        self.side(from) == Side::External && self.side(to) == Side::Internal
    }
}

fn status(fate: Fate) -> CallStatus {
    match fate {
        Fate::Answered(_) => CallStatus::Completed,
        Fate::Busy => CallStatus::Busy,
        Fate::NoAnswer => CallStatus::NoAnswer,
        Fate::Failed => CallStatus::Failed,
        Fate::Canceled => CallStatus::Canceled,
    }
}
