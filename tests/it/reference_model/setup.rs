//! The setup of Twilio for a call, and the arrival of its callbacks: the random part of the traffic.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// How Twilio is set up for a leg, and what it makes of it.
#[derive(Clone, Debug)]
pub struct LegSetup {
    /// `initiated`, `ringing`, `answered`; `completed` always.
    pub events: [bool; 3],
    /// It has no `StatusCallback`, or Twilio reports nothing.
    pub is_silent: bool,
    pub is_rounded_up: bool,
    pub end: EndForm,
    /// Names of the parameters that a web page adds, and an `ApplicationSid`.
    pub parameters: Vec<&'static str>,
    pub has_application: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndForm {
    Whole,
    /// The first end lacks fields that its repeat has.
    RepeatedWithMore,
    FractionalDuration,
    NoDuration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    Once,
    Twice,
    Lost,
    /// Hours later, after all waits.
    Late,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recording {
    None,
    WholeCall,
    EachConversation,
    /// Named by the end of the leg that was recorded.
    WithEnd,
    Absent,
}

#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is drawn by itself")]
pub struct Traffic {
    pub legs: Vec<LegSetup>,
    /// Of the requests with these numbers; all others come once.
    pub arrivals: Vec<(usize, Arrival)>,
    /// Step and start of a walk through the requests: their order if they come at the same time.
    pub order: (usize, usize),
    /// Each comes when it happened; else all come within seconds, in any order.
    pub is_live: bool,
    pub has_timestamps: bool,
    pub has_sequence: bool,
    pub recording: Recording,
    pub is_announced: bool,
    pub weak_end: bool,
    pub refusable: Vec<usize>,
    pub sids: u8,
}

const PARAMETERS: [&str; 12] = [
    "StatusCallbackEvent",
    "DialCallStatus",
    "RecordingStatus",
    "RecordingUrl",
    "ParentCallSid",
    "QueueResult",
    "Digits",
    "CallbackSource",
    "MessageSid",
    "crm.id",
    "_x",
    "1st",
];

/// `arrivals` are those of single requests.
pub fn traffic(arrivals: &'static [Arrival]) -> impl Strategy<Value = Traffic> {
    let setup = (
        any::<[bool; 3]>(),
        prop::bool::weighted(0.05),
        any::<bool>(),
        end_form(),
        vec(select(&PARAMETERS[..]), 0..3),
        any::<bool>(),
    );
    let setup = setup.prop_map(
        |(events, is_silent, is_rounded_up, end, parameters, has_application)| LegSetup {
            events,
            is_silent,
            is_rounded_up,
            end,
            parameters,
            has_application,
        },
    );
    let recording = [
        Recording::None,
        Recording::WholeCall,
        Recording::EachConversation,
        Recording::WithEnd,
        Recording::Absent,
    ];
    let flags = (
        any::<bool>(),
        prop::bool::weighted(0.8),
        prop::bool::weighted(0.9),
        any::<bool>(),
        prop::bool::weighted(0.1),
    );
    let lists = (
        vec(setup, 6),
        vec((0..30_usize, select(arrivals)), 0..6),
        (0..31_usize, 0..31_usize),
        vec(0..REFUSABLE.len(), 0..3),
    );
    (lists, flags, select(recording.to_vec()), 1..100_u8).prop_map(
        |(
            (legs, arrivals, order, refusable),
            (is_live, has_timestamps, has_sequence, is_announced, weak_end),
            recording,
            sids,
        )| Traffic {
            legs,
            arrivals,
            order,
            is_live,
            has_timestamps: has_timestamps || !is_live,
            has_sequence,
            recording,
            is_announced,
            weak_end,
            refusable,
            sids,
        },
    )
}

fn end_form() -> impl Strategy<Value = EndForm> {
    prop_oneof![
        8 => Just(EndForm::Whole),
        2 => Just(EndForm::RepeatedWithMore),
        1 => Just(EndForm::FractionalDuration),
        1 => Just(EndForm::NoDuration),
    ]
}

/// Fields that name a request that is no status callback. Each is sent after the hang-up, with
/// `CallStatus=completed` and without `CallbackSource`.
pub const REFUSABLE: [(&str, &str); 16] = [
    ("RecordingUrl", "https://api.twilio.com/x"),
    ("Digits", "1"),
    ("SpeechResult", "yes"),
    ("QueueResult", "hangup"),
    ("DialCallStatus", "completed"),
    ("SessionStatus", "ended"),
    ("ReferCallStatus", "completed"),
    ("PaymentCardType", "visa"),
    ("SmsStatus", "sent"),
    ("TranscriptionStatus", "completed"),
    ("StreamEvent", "stream-stopped"),
    ("TranscriptionEvent", "transcription-stopped"),
    ("SiprecSid", "x"),
    ("TaskSid", "x"),
    ("FlowSid", "x"),
    ("?mail", "x"),
];
