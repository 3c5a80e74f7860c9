//! A stored call as a folder of files for `replay`: its callbacks byte for byte with the waits between
//! them, the rules of its plan, and the requests that Acquire accepted.
//!
//! Pure: the command writes the files.

use serde_json::{Value, json};

use crate::clock::Millis;
use crate::config::{duration, to_toml};
use crate::debugging::fixture::Fixture;
use crate::debugging::redact::Redactor;
use crate::domain::attempt::Attempt;
use crate::domain::plan::{Rules, SipCustomers, SipHost};
use crate::store::{State, StoredCall, StoredCallback};
use crate::twilio::listed::RequestSource;
use crate::twilio::{CallStatus, CallbackContent, Evidence, RecordingStatus};

/// Removed by redaction: without the auth token they prove nothing, and they are derived from it.
const SIGNATURES: [&str; 2] = ["x-twilio-signature", "x-twilio-webhooks-signature-settings"];

/// The content types of Twilio's forms.
const FORMS: [&str; 2] = [
    "application/x-www-form-urlencoded",
    "application/x-www-form-urlencoded; charset=UTF-8",
];

/// One call as a folder of fixtures.
#[derive(Clone, Debug)]
pub struct IncidentFolder {
    /// The call's SID.
    pub name: String,
    fixtures: Vec<(String, Fixture)>,
    rules: Rules,
    /// The requests that Acquire accepted, in order; `None` if more may follow.
    expected: Option<Vec<Value>>,
}

/// A file of the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncidentFile {
    pub name: String,
    pub text: String,
}

impl IncidentFolder {
    /// `rules` are the current ones; the directory is reduced to the addresses of the call.
    pub fn of(call: &StoredCall, rules: &Rules) -> Self {
        let mut addresses = Vec::new();
        let mut fixtures = Vec::new();
        let mut previous: Option<Millis> = None;
        for (number, stored) in (1..).zip(&call.callbacks) {
            let read = stored.request.read();
            let (label, leg) = match &read {
                Ok(callback) => (file_label(&callback.kind), callback.leg.as_str()),
                Err(_) => ("unreadable".to_owned(), call.summary.sid.as_str()),
            };
            if let Ok(CallbackContent::Status(status)) = read.as_ref().map(|read| &read.kind) {
                addresses.extend([status.from.clone(), status.to.clone()]);
            }
            let wait = previous.map(|previous| stored.received.since(previous));
            // A replay plans callbacks together that have no wait between them.
            let wait = wait.filter(|wait| !wait.is_zero());
            let after = wait.map_or_else(String::new, |wait| {
                format!("after {}: ", duration::write(wait))
            });
            previous = previous.max(Some(stored.received));
            let description = format!("{after}{label}, leg {leg}\nreceived {}", stored.received);
            fixtures.push((
                format!("{number:02}-{label}.http"),
                fixture(stored, description),
            ));
        }
        let directory = rules.directory.about(addresses.iter().map(String::as_str));
        Self {
            name: call.summary.sid.to_string(),
            fixtures,
            rules: Rules {
                directory,
                ..rules.clone()
            },
            expected: accepted(call),
        }
    }

    /// Without personal data.
    pub fn redacted(&self, redactor: &mut Redactor) -> Self {
        let fixtures = self
            .fixtures
            .iter()
            .map(|(name, fixture)| (name.clone(), redacted(fixture, redactor)));
        let fixtures = fixtures.collect();
        let mut rules = self.rules.clone();
        let mut entries: Vec<_> = self.rules.directory.entries.iter().collect();
        entries.sort();
        rules.directory.entries = entries
            .into_iter()
            .map(|(address, email)| (redactor.text(address), redactor.text(email)))
            .collect();
        rules.directory.default = rules.directory.default.map(|email| redactor.text(&email));
        if let SipCustomers::Hosts(hosts) = &mut rules.sip_customers {
            let redacted = |host: &SipHost| SipHost::parse(&redactor.text(host.as_str()));
            *hosts = hosts.iter().filter_map(redacted).collect();
        }
        rules.empty_to = rules.empty_to.map(|text| redactor.text(&text));
        rules.empty_from = rules.empty_from.map(|text| redactor.text(&text));
        Self {
            name: redactor.text(&self.name),
            fixtures,
            rules,
            expected: self
                .expected
                .as_ref()
                .map(|all| all.iter().map(|request| redactor.json(request)).collect()),
        }
    }

    /// The callbacks with the names of their files.
    pub fn fixtures(&self) -> &[(String, Fixture)] {
        &self.fixtures
    }

    /// The requests that Acquire accepted; `None` if more may follow.
    pub fn expected(&self) -> Option<&[Value]> {
        self.expected.as_deref()
    }

    /// The request of an attempt in the format of `expected.json`.
    pub fn request(attempt: &Attempt) -> Value {
        let body = serde_json::from_str(&attempt.sent);
        json!({ attempt.kind.as_str(): body.unwrap_or_else(|_| Value::from(attempt.sent.clone())) })
    }

    pub fn files(&self) -> Vec<IncidentFile> {
        let mut files: Vec<IncidentFile> = self
            .fixtures
            .iter()
            .map(|(name, fixture)| IncidentFile {
                name: name.clone(),
                text: fixture.to_string(),
            })
            .collect();
        files.push(IncidentFile {
            name: "bridge.toml".to_owned(),
            text: to_toml(&self.rules),
        });
        files.extend(self.expected.as_ref().map(|expected| IncidentFile {
            name: "expected.json".to_owned(),
            text: format!("{:#}\n", Value::from(expected.clone())),
        }));
        files
    }
}

/// The label in a file name. An unknown status has a fixed one: Twilio's text could be any.
fn file_label(kind: &CallbackContent) -> String {
    match kind {
        CallbackContent::Status(status) => {
            let label = match &status.status {
                CallStatus::Unknown(_) => "unknown",
                known => known.as_str(),
            };
            match status.evidence {
                Evidence::StatusCallback => label.to_owned(),
                other => format!("{label}-{}", other.as_str()),
            }
        }
        CallbackContent::Recording(recording) => match &recording.status {
            RecordingStatus::Unknown(_) => "recording-unknown".to_owned(),
            known => format!("recording-{known}"),
        },
    }
}

fn fixture(stored: &StoredCallback, description: String) -> Fixture {
    let headers = stored.request.headers.lines().filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_owned(), value.trim().to_owned()))
    });
    Fixture {
        description,
        // A row was fetched, not posted.
        method: match stored.request.source() {
            RequestSource::Listed => "GET".to_owned(),
            RequestSource::Signed | RequestSource::Alerted => "POST".to_owned(),
        },
        url: stored.request.url.clone(),
        headers: headers.collect(),
        body: stored.request.body.to_vec(),
    }
}

/// All requests that Acquire accepted for a delivered or skipped call. `None` if one has a recording
/// link of the bridge: it is signed and expires, so a replay cannot produce the same link.
fn accepted(call: &StoredCall) -> Option<Vec<Value>> {
    if !matches!(call.summary.state, State::Delivered | State::Skipped) {
        return None;
    }
    let counting = call.attempts.get(call.attempts_before_requeue..)?;
    let accepted = counting
        .iter()
        .filter(|attempt| attempt.verdict.is_accepted());
    let all: Vec<Value> = accepted.map(IncidentFolder::request).collect();
    let is_link = |request: &Value| request.to_string().contains("&signature=");
    (!all.iter().any(is_link)).then_some(all)
}

/// A fixture without personal data and without the headers that only a signature needs.
pub fn redacted(fixture: &Fixture, redactor: &mut Redactor) -> Fixture {
    let headers = fixture.headers.iter().filter_map(|(name, value)| {
        let name = name.to_ascii_lowercase();
        match name.as_str() {
            name if SIGNATURES.contains(&name) => None,
            "x-bridge-evidence" => Some((name, value.clone())),
            "x-bridge-callback-url" => Some((name, redactor.url(value))),
            "content-type" if FORMS.contains(&value.as_str()) => Some((name, value.clone())),
            "i-twilio-idempotency-token" => Some((name, redactor.text(value))),
            _ => None,
        }
    });
    let headers = headers.collect();
    let (url, body) = match fixture.source() {
        RequestSource::Listed => (redactor.text(&fixture.url), redactor.row(&fixture.body)),
        _ => (redactor.url(&fixture.url), redactor.form(&fixture.body)),
    };
    Fixture {
        description: redact_description(&fixture.description, redactor),
        method: fixture.method.clone(),
        url,
        headers,
        body,
    }
}

/// A description made by [`IncidentFolder::of`] has one item of personal data, the SID of the leg.
fn redact_description(description: &str, redactor: &mut Redactor) -> String {
    let words = description
        .split(' ')
        .map(|word| match word.split_once('\n') {
            Some((sid, rest)) => format!("{}\n{rest}", redactor.text(sid)),
            None => word.to_owned(),
        });
    words.collect::<Vec<_>>().join(" ")
}
