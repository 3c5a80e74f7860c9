//! What a call becomes: `[calls]`, `[recording]`, `acquire.events` and `[directory]`.

use super::load::{days, hours, millis, minutes};
use super::reader::SettingsReader;
use super::{DirectoryFile, directory, recording};
use crate::domain::plan::{
    ClientParents, EventRules, Forward, LateRecording, LegRules, MissedStatus,
    RecordingExpectation, RecordingRules, ReportMode, Rules,
};
use crate::domain::recording_link::RecordingLinks;
use crate::twilio::signature::PublicUrl;

const ZERO: std::time::Duration = millis(0);

/// The rules without the secret of links, for commands that show what is sent.
pub(super) fn to_show(reader: &mut SettingsReader, public_urls: &[PublicUrl]) -> Option<Rules> {
    let links = recording::to_show(reader, public_urls);
    read(reader, links).map(|(rules, _)| rules)
}

/// The rules, and the file that may change their directory.
pub(super) fn read(
    reader: &mut SettingsReader,
    links: Option<RecordingLinks>,
) -> Option<(Rules, Option<DirectoryFile>)> {
    let empty_to = reader.text("calls.empty_to", |text| match text.trim() {
        "" => Err("must not be empty".to_owned()),
        text => Ok(text.to_owned()),
    });
    let client = reader.choice(
        "calls.client",
        &[
            ("incoming", ClientParents::Incoming),
            ("outgoing", ClientParents::Outgoing),
        ],
    );
    let legs = legs(reader);
    let recordings = recordings(reader, links);
    let events = events(reader);
    let (directory, file) = directory::read(reader);
    let rules = Rules {
        empty_to,
        client: client?,
        legs: legs?,
        recordings: recordings?,
        events: events?,
        directory,
    };
    Some((rules, file))
}

fn legs(reader: &mut SettingsReader) -> Option<LegRules> {
    let reports = [("legs", ReportMode::Legs), ("call", ReportMode::Call)];
    let report = reader.choice("calls.report", &reports);
    let settle = reader.duration("calls.settle", ZERO..=minutes(10));
    let whose = [
        ("children", MissedStatus::Children),
        ("parent", MissedStatus::Parent),
    ];
    let missed = reader.choice("calls.missed", &whose);
    let wait = reader.duration("calls.wait", minutes(1)..=days(7));
    Some(LegRules {
        report: report?,
        settle: settle?,
        missed: missed?,
        wait: wait?,
    })
}

fn recordings(
    reader: &mut SettingsReader,
    links: Option<RecordingLinks>,
) -> Option<RecordingRules> {
    let wait = reader.duration("recording.wait", ZERO..=hours(24));
    let expectations = [
        ("when-started", RecordingExpectation::WhenStarted),
        ("always", RecordingExpectation::Always),
    ];
    let expect = reader.choice("recording.expect", &expectations);
    let late = reader.choice(
        "recording.late",
        &[
            ("keep", LateRecording::Keep),
            ("resend", LateRecording::Resend),
        ],
    );
    Some(RecordingRules {
        expect: expect?,
        wait: wait?,
        late: late?,
        links: links?,
    })
}

fn events(reader: &mut SettingsReader) -> Option<EventRules> {
    let known = ["in-queue", "ringing", "answered", "ended"];
    let events = reader.list("acquire.events", |word| {
        if known.contains(&word) {
            Ok(word.to_owned())
        } else {
            Err(format!("must be one of {}", known.join(", ")))
        }
    })?;
    if !events.iter().any(|event| event == "ended") {
        let name = reader.name("acquire.events");
        reader.mistake(format!("{name} must have ended, which cannot be left out"));
    }
    let wanted = |event: &str| {
        if events.iter().any(|other| other == event) {
            Forward::On
        } else {
            Forward::Off
        }
    };
    Some(EventRules {
        in_queue: wanted("in-queue"),
        ringing: wanted("ringing"),
        answered: wanted("answered"),
    })
}
