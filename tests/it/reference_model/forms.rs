//! The forms that Twilio sends for a human call: status callbacks, recording callbacks, and requests that
//! only look like one.

use twilio_acquire_bridge::clock::Millis;

use super::human_call::{Fate, HumanCall, Leg, Opening, Person, Second};
use super::rules::Recorded;
use super::setup::{EndForm, REFUSABLE, Recording, Traffic};
use super::traffic::{Content, Form, Request, STARTED, url_of};

const ACCOUNT: &str = "AC00000000000000000000000000000001";
/// Of another call, which a web page may name.
const STRANGER: &str = "CA000000000000000000000000000000ff";

impl Traffic {
    pub fn of_leg(&self, call: &HumanCall, place: usize) -> Vec<Request> {
        if self.is_silent(call, place) {
            return Vec::new();
        }
        let (leg, setup) = (&call.legs[place], &self.legs[place]);
        let [initiated, ringing, answered] = setup.events;
        // Twilio reports an inbound leg at its end only. Without the duration, only the time of the answer
        // shows who answered first.
        let early = place > 0 || call.opening == Opening::Api;
        let answered = answered || !self.has_duration(place) && early;
        let mut events: Vec<(Second, &str, Content)> = Vec::new();
        if early {
            events.extend(initiated.then_some((leg.started, "initiated", Content::Started)));
            events.extend(ringing.then_some((leg.started + 1, "ringing", Content::Started)));
            let at = leg.answered().filter(|_| answered);
            events.extend(at.map(|at| (at, "in-progress", Content::Answered)));
        }
        let end = match leg.fate {
            Fate::Answered(_) => "completed",
            Fate::Busy => "busy",
            Fate::NoAnswer => "no-answer",
            Fate::Failed => "failed",
            Fate::Canceled => "canceled",
        };
        let seconds = leg.talked() + Second::from(setup.is_rounded_up && leg.talked() > 0);
        let duration = (setup.end != EndForm::NoDuration && self.has_duration(place))
            .then(|| seconds.to_string());
        let sequence = events.len();
        let mut found: Vec<Request> = events
            .into_iter()
            .enumerate()
            .map(|(number, (at, word, content))| {
                self.status(call, place, (at, word, number), content)
            })
            .collect();
        let ended = |content| self.status(call, place, (leg.ended, end, sequence), content);
        if setup.end == EndForm::RepeatedWithMore {
            found.push(ended(Content::Ended(None)));
        }
        found.push(ended(Content::Ended(duration)));
        found
    }

    /// A status callback, as Twilio's captures show it.
    fn status(
        &self,
        call: &HumanCall,
        place: usize,
        (at, word, number): (Second, &str, usize),
        content: Content,
    ) -> Request {
        let (leg, setup) = (&call.legs[place], &self.legs[place]);
        let mut form = self.standard(call, place, word);
        form.push(field("CallbackSource", "call-progress-events"));
        if self.has_timestamps {
            form.push(field("Timestamp", &twilio_time(at)));
        }
        if self.has_sequence {
            form.push(field("SequenceNumber", &number.to_string()));
        }
        if let Some(parent) = leg.dialled_by {
            form.push(field("ParentCallSid", &self.sids(call)[parent]));
        }
        if setup.has_application || is_softphone(leg, place) {
            form.push(field(
                "ApplicationSid",
                "AP00000000000000000000000000000001",
            ));
        }
        if let Content::Ended(duration) = &content {
            if let Some(duration) = duration {
                form.extend([field("CallDuration", duration), field("Duration", "1")]);
            } else if setup.end == EndForm::FractionalDuration {
                form.push(field("CallDuration", "12.5"));
            }
            let is_poor = duration.is_none() && setup.end == EndForm::RepeatedWithMore;
            let own = self
                .recordings(call)
                .into_iter()
                .filter(|own| own.is_in_end_of_leg && own.leg == place && !is_poor);
            form.extend(own.map(|own| field("RecordingUrl", &own.url)));
        }
        for name in self.parameters(call, place) {
            let value = if name == "ParentCallSid" {
                STRANGER
            } else {
                "https://api.twilio.com/parameter"
            };
            form.push(field(name, value));
        }
        request(call, place, at, content, form)
    }

    /// Only a softphone's own leg has parameters of a web page.
    fn parameters(&self, call: &HumanCall, place: usize) -> Vec<&'static str> {
        let mut names = if is_softphone(&call.legs[place], place) {
            self.legs[place].parameters.clone()
        } else {
            Vec::new()
        };
        names.sort_unstable();
        names.dedup();
        names
    }

    fn standard(&self, call: &HumanCall, place: usize, word: &str) -> Form {
        let leg = &call.legs[place];
        let direction = match (place, call.opening) {
            (0, Opening::Called) => "inbound",
            (0, Opening::Api) => "outbound-api",
            _ => "outbound-dial",
        };
        let sid = &self.sids(call)[place];
        let (from, to) = (leg.from.address(), leg.to.address());
        [
            ("CallSid", &**sid),
            ("AccountSid", ACCOUNT),
            ("ApiVersion", "2010-04-01"),
            ("CallStatus", word),
            ("Direction", direction),
            ("From", &from),
            ("Caller", &from),
            ("To", &to),
            ("Called", &to),
        ]
        .map(|(name, value)| field(name, value))
        .to_vec()
    }

    pub fn of_recordings(&self, call: &HumanCall) -> Vec<Request> {
        let made = |number: usize, recorded: &Recorded, word: &str, at: Second| {
            let sid = self.sids(call)[recorded.leg].clone();
            let mut form = vec![
                field("AccountSid", ACCOUNT),
                field("CallSid", &sid),
                field("RecordingSid", &url_of(number)[31..]),
                field("RecordingStatus", word),
                field("RecordingStartTime", &twilio_time(recorded.started)),
            ];
            if word == "completed" {
                form.extend([
                    field("RecordingUrl", &recorded.url),
                    field(
                        "RecordingDuration",
                        &(recorded.ended - recorded.started).to_string(),
                    ),
                ]);
            }
            Request {
                at: Millis(STARTED + 1000 * at),
                leg: recorded.leg,
                content: Content::Recording,
                form,
                url: "https://bridge.example.com/twilio/voice/recording".to_owned(),
            }
        };
        let absent = Recorded {
            leg: 0,
            is_in_end_of_leg: false,
            started: 2,
            ended: 2,
            url: url_of(0),
        };
        if self.recording == Recording::Absent {
            return vec![made(0, &absent, "absent", 3)];
        }
        let recordings = self
            .recordings(call)
            .into_iter()
            .filter(|own| !own.is_in_end_of_leg);
        recordings
            .enumerate()
            .flat_map(|(number, own)| {
                // An announced one may take as long as `recording.wait`.
                let late = if self.is_announced { 60 } else { 1 };
                let announced = self
                    .is_announced
                    .then(|| made(number, &own, "in-progress", own.started));
                announced
                    .into_iter()
                    .chain([made(number, &own, "completed", own.ended + late)])
                    .collect::<Vec<_>>()
            })
            .collect()
    }

    /// The requests for the first leg that are no status callbacks.
    pub fn others(&self, call: &HumanCall) -> Vec<Request> {
        let at = call.legs[0].ended;
        let form = || self.standard(call, 0, "completed");
        let is_sent =
            self.weak_end && !self.is_silent(call, 0) && call.legs[0].answered().is_some();
        let weak = is_sent.then(|| request(call, 0, at, Content::WeaklyEnded, form()));
        let refusable = self.refusable.iter().map(|number| {
            let (name, value) = REFUSABLE[*number];
            request(
                call,
                0,
                at,
                Content::Refusable,
                [form(), vec![field(name, value)]].concat(),
            )
        });
        weak.into_iter().chain(refusable).collect()
    }
}

fn is_softphone(leg: &Leg, place: usize) -> bool {
    place == 0 && matches!(leg.from, Person::Softphone(_))
}

fn field(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

fn twilio_time(at: Second) -> String {
    let time = jiff::Timestamp::from_second(STARTED / 1000 + at).expect("a time of this year");
    time.strftime("%a, %d %b %Y %H:%M:%S +0000").to_string()
}

fn request(call: &HumanCall, leg: usize, at: Second, content: Content, form: Form) -> Request {
    let email = call.legs[leg]
        .typed_email()
        .map(|email| serde_urlencoded::to_string([("email", email)]).expect("a query"));
    let email = email.map_or(String::new(), |query| format!("?{query}"));
    Request {
        at: Millis(STARTED + 1000 * at),
        leg,
        content,
        form,
        url: format!("https://bridge.example.com/twilio/voice/status{email}"),
    }
}
