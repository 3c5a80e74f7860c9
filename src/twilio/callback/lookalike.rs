//! Names the requests of Twilio that are not status or recording callbacks, but that reach the bridge
//! if its URL is entered in the wrong place.
//!
//! Twilio writes the same standard fields into most of its requests. After a hang-up they have
//! `CallStatus=completed`, so such a request could pass for the end of its call. It has no
//! `CallbackSource`; the fields below are those that Twilio documents for that request alone.

use super::{CallbackKind, Fields, Form};
use crate::twilio::{CallStatus, Evidence};

/// A request of Twilio that belongs to another URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lookalike {
    #[error(
        "a recording status callback; the URL for RecordingStatusCallback ends in \
         /twilio/voice/recording"
    )]
    Recording,
    #[error("a call's status callback; the URL for StatusCallback ends in /twilio/voice/status")]
    Status,
    #[error("the recording of a conference, which belongs to no call; remove this URL there")]
    ConferenceRecording,
    /// After a verb ended, Twilio asks its `action` URL how to go on.
    #[error(
        "the action request of <{0}>, which expects TwiML in the response; enter this URL as \
         StatusCallback of the number or of the dialled noun instead"
    )]
    Action(&'static str),
    #[error(
        "a request for TwiML; enter this URL as the number's StatusCallback (\"Call status \
         changes\"), not under \"A call comes in\""
    )]
    Twiml,
    /// A report about something other than a call.
    #[error("{0}; the bridge has no use for it, so remove this URL there")]
    Report(&'static str),
}

const ASYNC_AMD: Lookalike = Lookalike::Report(
    "the result of asynchronous answering machine detection (AsyncAmdStatusCallback)",
);
const CONFERENCE: Lookalike = Lookalike::Report("a conference status callback");
const CONVERSATION: Lookalike = Lookalike::Report("a webhook of Twilio Conversations");
const DEBUGGER: Lookalike = Lookalike::Report("a webhook of the Twilio debugger");
const EVENT_STREAMS: Lookalike = Lookalike::Report("a batch of Twilio Event Streams");
const INTELLIGENCE: Lookalike = Lookalike::Report("a webhook of Conversational Intelligence");
const MESSAGE: Lookalike = Lookalike::Report("a message or its status callback (Messaging)");
const PAYMENT: Lookalike = Lookalike::Report("a payment's status callback (<Pay> or Payments API)");
const REAL_TIME_TRANSCRIPTION: Lookalike =
    Lookalike::Report("a status callback of <Transcription>");
const SIPREC: Lookalike = Lookalike::Report("a status callback of <Siprec>");
const STREAM: Lookalike = Lookalike::Report("a status callback of <Stream>");
const STUDIO: Lookalike = Lookalike::Report("a request of Twilio Studio");
const TASK_ROUTER: Lookalike = Lookalike::Report("an event or assignment of TaskRouter");
const TRANSCRIPTION: Lookalike =
    Lookalike::Report("the transcription of a recording (transcribeCallback of <Record>)");
const VIDEO_ROOM: Lookalike = Lookalike::Report("a video room's status callback");

/// Fields, each of which names a request whatever else it has. The first match decides, so the more
/// special come first.
///
/// Sources: Twilio docs, "TwiML Voice" (each verb's "action" and "statusCallback"), "Payment resource",
/// "Siprec subresource", "Media Streams", "Debugging events webhook", "`TaskRouter` event callbacks",
/// "Messaging webhooks", "Studio"; and public captures.
const RULES: &[(&[&str], Lookalike)] = &[
    (&["TranscriptionEvent"], REAL_TIME_TRANSCRIPTION),
    (
        &[
            "TranscriptionSid",
            "TranscriptionText",
            "TranscriptionStatus",
        ],
        TRANSCRIPTION,
    ),
    (&["SiprecSid", "SiprecEvent"], SIPREC),
    (&["StreamEvent"], STREAM),
    (&["RoomSid"], VIDEO_ROOM),
    (&["RecordingStatus"], Lookalike::Recording),
    (&["StatusCallbackEvent"], CONFERENCE),
    (
        &[
            "DialCallStatus",
            "DialCallSid",
            "DialCallDuration",
            "DialBridged",
            "DialSipCallId",
            "DialSipResponseCode",
        ],
        Lookalike::Action("Dial"),
    ),
    // The waitUrl of <Enqueue>, referUrl of <Dial> and a number's fallback URL.
    (
        &["QueuePosition", "ReferTransferTarget", "ErrorUrl"],
        Lookalike::Twiml,
    ),
    (
        &["QueueResult", "QueueSid", "QueueTime"],
        Lookalike::Action("Enqueue"),
    ),
    (
        &[
            "ReferCallStatus",
            "ReferSipResponseCode",
            "NotifySipResponseCode",
        ],
        Lookalike::Action("Refer"),
    ),
    // <VirtualAgent>, <ConversationRelay> and <Stream> inside <Connect>.
    (
        &[
            "VirtualAgentStatus",
            "VirtualAgentProvider",
            "VirtualAgentErrorCode",
            "SessionId",
            "SessionStatus",
            "HandoffData",
            "StreamSid",
        ],
        Lookalike::Action("Connect"),
    ),
    (&["ConversationSid"], CONVERSATION),
    (
        &["FlowSid", "FlowEvent", "FlowExecutionSid", "ExecutionSid"],
        STUDIO,
    ),
    (
        &[
            "TaskSid",
            "TaskAttributes",
            "WorkspaceSid",
            "WorkerSid",
            "ReservationSid",
            "TaskQueueSid",
        ],
        TASK_ROUTER,
    ),
    (&["PayloadType"], DEBUGGER),
    (&["TranscriptSid"], INTELLIGENCE),
    (&["ConferenceSid"], CONFERENCE),
];

/// Fields of the Payment resource that the action request of `<Pay>` does not have.
const OF_PAYMENTS: [&str; 5] = ["PaymentSid", "For", "Attempt", "Capture", "PartialResult"];

const OF_MESSAGES: [&str; 5] = [
    "MessageSid",
    "SmsSid",
    "SmsMessageSid",
    "MessageStatus",
    "SmsStatus",
];

const OF_GATHER: [&str; 7] = [
    "Confidence",
    "Digits",
    "FinishedOnKey",
    "SpeechResult",
    "StableSpeechResult",
    "Stability",
    "UnstableSpeechResult",
];

/// Names the request that a form at the path of `kind` is, if it is not a callback of that kind.
pub(super) fn of_form(kind: CallbackKind, fields: &Fields<'_>) -> Option<Lookalike> {
    let is_status = super::evidence(fields) == Evidence::StatusCallback;
    match kind {
        // A web page can add a parameter of any name to the callbacks of its softphone, so no field
        // makes another request of a status callback.
        CallbackKind::Status if is_status => None,
        CallbackKind::Status => named(fields),
        CallbackKind::Recording if is_status => Some(Lookalike::Status),
        CallbackKind::Recording if fields.has("RecordingStatus") => {
            let is_conference = fields.has("ConferenceSid");
            is_conference.then_some(Lookalike::ConferenceRecording)
        }
        CallbackKind::Recording => named(fields).or_else(|| of_status(fields)),
    }
}

/// Names a JSON body: a batch of events, or an object with the fields of one of the forms.
pub fn of_json(body: &[u8]) -> Option<Lookalike> {
    let json: serde_json::Value = serde_json::from_slice(body).ok()?;
    let first = json.as_array().map_or(Some(&json), |batch| batch.first())?;
    let members = first.as_object()?;
    // Twilio docs, "Event Streams": events are CloudEvents, and Twilio's types start with com.twilio.
    let event_type = members.get("type").and_then(serde_json::Value::as_str);
    if members.contains_key("specversion")
        || event_type.is_some_and(|name| name.starts_with("com.twilio."))
    {
        return Some(EVENT_STREAMS);
    }
    let fields: Form = members
        .iter()
        .map(|(name, value)| {
            let value = value.as_str().unwrap_or_default();
            (capitalized(name), value)
        })
        .collect();
    named(&Fields(&fields))
}

/// `flow_sid` as forms write it: `FlowSid`.
fn capitalized(name: &str) -> String {
    let words = name.split('_').map(|word| {
        let (first, rest) = word.split_at(word.chars().next().map_or(0, char::len_utf8));
        first.to_uppercase() + rest
    });
    words.collect()
}

fn named(fields: &Fields<'_>) -> Option<Lookalike> {
    let by_field = RULES.iter().find(|(names, _)| fields.has_any(names));
    by_field
        .map(|(_, lookalike)| *lookalike)
        .or_else(|| of_payment(fields))
        .or_else(|| of_message(fields))
        .or_else(|| of_call_without_name(fields))
}

/// The Payment resource reports its own SID (`PK...`); `<Pay>` reports the standard fields of its call.
fn of_payment(fields: &Fields<'_>) -> Option<Lookalike> {
    let has_payment_sid = fields.values("Sid").any(|sid| sid.starts_with("PK"));
    if has_payment_sid || fields.has_any(&OF_PAYMENTS) {
        return Some(PAYMENT);
    }
    let has_payment = fields.0.iter().any(|(name, _)| name.starts_with("Payment"));
    let is_pay = has_payment || fields.has_any(&["ProfileId", "PayErrorCode"]);
    (is_pay || fields.has_any(&["Result"]) && fields.has("CallStatus"))
        .then_some(Lookalike::Action("Pay"))
}

/// `<Sms>` sends a message during a call, so its action request has the call's SID too.
fn of_message(fields: &Fields<'_>) -> Option<Lookalike> {
    fields.has_any(&OF_MESSAGES).then(|| {
        if fields.has("CallSid") {
            Lookalike::Action("Sms")
        } else {
            MESSAGE
        }
    })
}

/// Requests that have no field of their own. A status callback can have a recording too, or the page's
/// parameter `Digits`, but then it has the `CallDuration` that no action request has.
fn of_call_without_name(fields: &Fields<'_>) -> Option<Lookalike> {
    let is_call = fields.has("CallStatus");
    let has_duration = fields.has("CallDuration");
    let is_amd = fields.has_any(&["AnsweredBy", "MachineDetectionDuration"]);
    let has_recording = fields.has_any(&["RecordingSid", "RecordingUrl", "RecordingDuration"]);
    match (is_call, has_duration) {
        (true, false) if has_recording => Some(Lookalike::Action("Record")),
        (true, false) if fields.has_any(&OF_GATHER) => Some(Lookalike::Action("Gather")),
        // Before the end, a request for TwiML has the result of synchronous detection.
        (true, false) if is_amd && of_status(fields) == Some(Lookalike::Status) => Some(ASYNC_AMD),
        (true, _) => None,
        (false, _) => is_amd.then_some(ASYNC_AMD),
    }
}

/// A request about a call's status at the path for recordings.
fn of_status(fields: &Fields<'_>) -> Option<Lookalike> {
    let status = fields.values("CallStatus").next()?;
    let is_terminal = super::is_terminal(&CallStatus::parse(status));
    Some(if is_terminal {
        Lookalike::Status
    } else {
        Lookalike::Twiml
    })
}
