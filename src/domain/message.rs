//! The messages of notifications: their text, as JSON of Standard Webhooks and as Slack's.
//!
//! A message has no phone number and no e-mail, whatever its sentences are made of.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::condition::ConditionKind;
use super::plain_text::cut;
use super::plural::counted;
use crate::clock::Millis;

/// The most causes in a message.
const MAX_CAUSES: usize = 3;

/// Slack refuses a longer block (3,000 characters).
const MAX_SLACK_TEXT: usize = 3_000;

/// Fewer digits in a row are no phone number.
const MIN_DIGITS: usize = 7;

/// What became of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    Opened,
    /// More calls were parked.
    More,
    Closed,
    /// A test by an operator: nothing has changed.
    Test,
}

impl Change {
    /// The `type` of its JSON, as Standard Webhooks names one.
    fn event_type(self) -> &'static str {
        match self {
            Self::Opened => "condition.opened",
            Self::More => "condition.more",
            Self::Closed => "condition.closed",
            Self::Test => "test",
        }
    }
}

/// Calls or requests with a cause.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CauseOfCalls {
    /// Its code.
    pub cause: String,
    /// Empty if the sentence of the message says it.
    pub sentence: String,
    pub count: Option<u64>,
    /// The `CallSid` of one of them.
    pub example: Option<String>,
}

/// What a message says about a condition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Details {
    /// As on the page Today.
    pub sentence: String,
    /// The calls or requests that it concerns, if their number is known.
    pub count: Option<u64>,
    /// The calls since the last message.
    pub new_calls: Option<u64>,
    pub causes: Vec<CauseOfCalls>,
    /// The `CallSid` of one of the calls.
    pub example: Option<String>,
}

impl Details {
    pub(super) fn examples(&self) -> impl Iterator<Item = &str> {
        let causes = self.causes.iter().filter_map(|of| of.example.as_deref());
        causes.chain(self.example.as_deref())
    }

    pub(super) fn forget_examples(&mut self, calls: &BTreeSet<String>) {
        let causes = self.causes.iter_mut().map(|of| &mut of.example);
        for example in causes.chain([&mut self.example]) {
            example.take_if(|sid| calls.contains(sid));
        }
    }

    /// Without phone numbers and e-mails. Messages wait in the store, where an erasure does not look for them.
    pub fn anonymous(self) -> Self {
        Self {
            sentence: anonymous(&self.sentence),
            ..self
        }
    }
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The same for each target and each attempt, so that a receiver can recognise a repeat.
    pub id: String,
    pub at: Millis,
    pub change: Change,
    /// `None` for a test.
    pub kind: Option<ConditionKind>,
    pub subject: String,
    /// When the condition was first seen.
    pub since: Millis,
    /// The name of the machine that reports it.
    pub node: String,
    pub link: String,
    pub details: Details,
}

impl Message {
    /// A message that reports nothing, for an operator who tests a target.
    pub fn test(id: String, node: String, link: String, at: Millis) -> Self {
        let sentence = "This is a test message; nothing has happened.".to_owned();
        Self {
            id,
            at,
            change: Change::Test,
            kind: None,
            subject: String::new(),
            since: at,
            node,
            link,
            details: Details {
                sentence,
                ..Details::default()
            },
        }
    }

    /// The body for `kind = "json"`, in the form of Standard Webhooks: type, timestamp, data.
    pub fn json(&self) -> String {
        let details = &self.details;
        let causes = details.causes.iter().take(MAX_CAUSES);
        json!({
            "type": self.change.event_type(),
            "timestamp": self.at,
            "data": {
                "condition": self.kind,
                "subject": self.subject,
                "since": self.since,
                "sentence": details.sentence,
                "count": details.count,
                "new_calls": details.new_calls,
                "causes": causes.collect::<Vec<_>>(),
                "example": details.example,
                "link": self.link,
                "node": self.node,
            },
        })
        .to_string()
    }

    /// The body for `kind = "slack"`: a block of plain text, and the same text for receivers without blocks.
    pub fn slack(&self) -> String {
        let text = self.text();
        let text = cut(&text, MAX_SLACK_TEXT);
        // Only these have a meaning there.
        let escaped = text
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;");
        let block = json!({ "type": "section", "text": { "type": "plain_text", "text": text } });
        json!({ "text": escaped, "blocks": [block] }).to_string()
    }

    fn has_examples(&self) -> bool {
        self.details.causes.iter().any(|of| of.example.is_some())
    }

    fn text(&self) -> String {
        let details = &self.details;
        let mut lines = vec![format!(
            "twilio-acquire-bridge on {}: {}",
            self.node, details.sentence
        )];
        if let Some(calls) = details.new_calls {
            let was = if calls == 1 { "was" } else { "were" };
            let calls = counted(calls, "more call");
            lines.push(format!("{calls} {was} parked."));
        }
        for cause in details.causes.iter().take(MAX_CAUSES) {
            let count = cause.count.map(|count| format!(" ({count})"));
            let example = cause
                .example
                .as_ref()
                .map(|sid| format!(", for example {sid}"));
            lines.push(format!(
                "{}: {}{}{}",
                cause.cause,
                cause.sentence,
                count.unwrap_or_default(),
                example.unwrap_or_default()
            ));
        }
        if let Some(example) = details.example.as_ref().filter(|_| !self.has_examples()) {
            lines.push(format!("A call that waits is {example}."));
        }
        lines.push(self.link.clone());
        lines.join("\n")
    }
}

/// The text with `****` instead of each word that may have a phone number or an e-mail. SIDs and times stay.
fn anonymous(text: &str) -> String {
    let words = text.split_inclusive(char::is_whitespace);
    let shown = words.map(|piece| {
        let word = piece.trim_end();
        if is_personal(word) {
            format!("****{}", &piece[word.len()..])
        } else {
            piece.to_owned()
        }
    });
    shown.collect()
}

fn is_personal(word: &str) -> bool {
    let lower = word.to_ascii_lowercase();
    let is_address = ["@", "%40", "client:", "client%3a", "sip:", "sips:"];
    // An encoded plus would separate the digits of a SID from their letters.
    let parts = lower.split(|c: char| !c.is_ascii_alphanumeric());
    let mut parts = parts.map(|part| part.strip_prefix("2b").unwrap_or(part));
    let is_number =
        |text: &str| text.len() >= MIN_DIGITS && text.bytes().all(|b| b.is_ascii_digit());
    let grouped = lower.replace(['+', '-', '(', ')', '.', ';', ':', ','], "");
    is_address.iter().any(|mark| lower.contains(mark))
        || parts.any(is_number)
        || (word.contains(['+', '-']) && is_number(&grouped))
}
