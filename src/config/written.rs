//! The rules of a plan as a configuration file, so that a call can be planned again elsewhere.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::duration;
use crate::domain::plan::{
    ClientParents, EventRules, Forward, LateRecording, LegRules, MissedStatus,
    RecordingExpectation, RecordingRules, ReportMode, Rules,
};
use crate::domain::recording_link::RecordingLinks;

/// What differs from the defaults, as `load_for_rehearsal` reads it. Links of the bridge need its
/// secret and are left out.
#[must_use]
pub fn to_toml(rules: &Rules) -> String {
    let (legs, recordings) = (&rules.legs, &rules.recordings);
    let (usual_legs, usual) = (LegRules::default(), RecordingRules::default());
    let mut settings: BTreeMap<(&str, &str), Value> = BTreeMap::new();
    let mut set = |section, key, value: Option<Value>| {
        settings.extend(value.map(|value| ((section, key), value)));
    };
    let word = |wanted: bool, word: &str| wanted.then(|| Value::from(word));
    let time = |time, usual| (time != usual).then(|| Value::from(duration::write(time)));

    set("calls", "empty_to", rules.empty_to.clone().map(Value::from));
    set(
        "calls",
        "client",
        word(rules.client == ClientParents::Outgoing, "outgoing"),
    );
    set(
        "calls",
        "report",
        word(legs.report == ReportMode::Call, "call"),
    );
    set(
        "calls",
        "missed",
        word(legs.missed == MissedStatus::Parent, "parent"),
    );
    set("calls", "settle", time(legs.settle, usual_legs.settle));
    set("calls", "wait", time(legs.wait, usual_legs.wait));
    set(
        "recording",
        "expect",
        word(recordings.expect == RecordingExpectation::Always, "always"),
    );
    set(
        "recording",
        "late",
        word(recordings.late == LateRecording::Resend, "resend"),
    );
    set("recording", "wait", time(recordings.wait, usual.wait));
    if let RecordingLinks::Twilio { format } = recordings.links {
        set("recording", "format", word(!format.is_empty(), format));
    }
    set("acquire", "events", events(&rules.events));
    let mut entries: Vec<_> = rules.directory.entries.iter().collect();
    entries.sort();
    let entries: Table = entries
        .into_iter()
        .map(|(key, email)| (key.clone(), email.clone().into()))
        .collect();
    set(
        "directory",
        "entries",
        (!entries.is_empty()).then(|| entries.into()),
    );
    set(
        "directory",
        "default",
        rules.directory.default.clone().map(Value::from),
    );

    let mut file = Table::new();
    for ((section, key), value) in settings {
        let section = file.entry(section).or_insert_with(|| Table::new().into());
        if let Value::Table(section) = section {
            section.insert(key.to_owned(), value);
        }
    }
    file.to_string()
}

fn events(events: &EventRules) -> Option<Value> {
    let wanted = [
        ("in-queue", events.in_queue),
        ("ringing", events.ringing),
        ("answered", events.answered),
        ("ended", Forward::On),
    ];
    let words = wanted.into_iter().filter(|(_, send)| *send == Forward::On);
    let words: Vec<Value> = words.map(|(word, _)| Value::from(word)).collect();
    (words.len() > 1).then(|| words.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load_for_dry_run;

    fn read(text: &str) -> Rules {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("bridge.toml");
        std::fs::write(&file, text).expect("a file");
        let (_, rules) = load_for_dry_run(Some(&file), []).expect("good settings");
        rules
    }

    #[test]
    fn what_is_written_is_read_as_the_same_rules() {
        let settings = r#"
            acquire.events = ["ringing", "ended"]
            [calls]
            empty_to = "a \"quoted\" word"
            client = "outgoing"
            report = "call"
            settle = "90s"
            missed = "parent"
            wait = "61m"
            [recording]
            expect = "always"
            wait = "0s"
            late = "resend"
            format = ".mp3"
            [directory]
            entries = { "client:jane" = "jane@example.com", "+12025550123" = "phone@example.com" }
            default = "calls@example.com"
        "#;
        let rules = read(settings);
        let again = read(&to_toml(&rules));
        assert_eq!(rules.directory, again.directory);
        let without_directory = |rules: Rules| Rules {
            directory: crate::domain::directory::Directory::default(),
            ..rules
        };
        let (rules, again) = (without_directory(rules), without_directory(again));
        assert_eq!(format!("{rules:?}"), format!("{again:?}"));
        assert_ne!(format!("{rules:?}"), format!("{:?}", Rules::default()));
    }

    #[test]
    fn the_defaults_need_no_line() {
        assert_eq!(to_toml(&read("")), "");
    }
}
