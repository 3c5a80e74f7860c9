//! What a call becomes: `[calls]`, `[recording]`, `acquire.events` and `[directory]`.

use super::directory;
use super::load::{days, hours, millis, minutes};
use super::reader::Reader;
use crate::plan::{
    ClientParents, Events, Expect, Late, Legs, Missed, Recordings, Report, Rules, Send,
};

const ZERO: std::time::Duration = millis(0);

pub(super) fn read(reader: &mut Reader) -> Option<Rules> {
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
    let recordings = recordings(reader);
    let events = events(reader);
    let directory = directory::read(reader);
    Some(Rules {
        empty_to,
        client: client?,
        legs: legs?,
        recordings: recordings?,
        events: events?,
        directory,
    })
}

fn legs(reader: &mut Reader) -> Option<Legs> {
    let reports = [("legs", Report::Legs), ("call", Report::Call)];
    let report = reader.choice("calls.report", &reports);
    let settle = reader.duration("calls.settle", ZERO..=minutes(10));
    let whose = [("children", Missed::Children), ("parent", Missed::Parent)];
    let missed = reader.choice("calls.missed", &whose);
    let wait = reader.duration("calls.wait", minutes(1)..=days(7));
    Some(Legs {
        report: report?,
        settle: settle?,
        missed: missed?,
        wait: wait?,
    })
}

fn recordings(reader: &mut Reader) -> Option<Recordings> {
    let wait = reader.duration("recording.wait", ZERO..=hours(24));
    let expectations = [
        ("when-started", Expect::WhenStarted),
        ("always", Expect::Always),
    ];
    let expect = reader.choice("recording.expect", &expectations);
    let late = reader.choice(
        "recording.late",
        &[("keep", Late::Keep), ("resend", Late::Resend)],
    );
    let formats = [("", ""), (".mp3", ".mp3"), (".wav", ".wav")];
    // An empty text counts as unset.
    let format = if reader.is_set("recording.format") {
        reader.choice("recording.format", &formats)
    } else {
        Some("")
    };
    Some(Recordings {
        expect: expect?,
        wait: wait?,
        late: late?,
        format: format?,
    })
}

fn events(reader: &mut Reader) -> Option<Events> {
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
            Send::On
        } else {
            Send::Off
        }
    };
    Some(Events {
        in_queue: wanted("in-queue"),
        ringing: wanted("ringing"),
        answered: wanted("answered"),
    })
}
