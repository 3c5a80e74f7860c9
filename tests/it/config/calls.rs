//! `[calls]`, `[recording]` and `acquire.events`.

use twilio_acquire_bridge::config;
use twilio_acquire_bridge::domain::plan::{Forward, ReportMode, Rules};
use twilio_acquire_bridge::domain::recording_link::RecordingLinks;

use super::{REQUIRED, load};

const ONE_PATH: &str = "acquire.call_answered_path and acquire.call_end_path are both \
    \"/api/v1/voip/call-answered\", so Acquire could not distinguish an answered call from an ended one: \
    set acquire.call_end_path = \"/api/v1/voip/call-end\", as a later revision of Acquire's \
    documentation says, or remove \"answered\" from acquire.events";

#[test]
fn the_defaults_are_those_of_the_rules() {
    let environment = REQUIRED.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let config = config::load(None, environment).expect("a configuration");
    assert_eq!(
        format!("{:?}", config.rules),
        format!("{:?}", Rules::default())
    );
}

fn format(rules: &Rules) -> Option<&str> {
    match rules.recordings.links {
        RecordingLinks::Twilio { format } => Some(format),
        RecordingLinks::Bridge(_) => None,
    }
}

#[test]
fn each_setting_is_read() {
    let file = "[acquire]\nevents = \"in-queue ringing answered ended\"\n\
        call_end_path = \"/api/v1/voip/call-end\"\n\
        [calls]\nreport = \"call\"\nsettle = \"0ms\"\n[recording]\nformat = \".wav\"\n";
    let rules = load(file, &[]).expect("a configuration").rules;
    assert_eq!(rules.legs.report, ReportMode::Call);
    assert!(rules.legs.settle.is_zero());
    assert_eq!(format(&rules), Some(".wav"));
    assert_eq!(rules.events.answered, Forward::On);
    let written = load("[recording]\nformat = \"\"\n", &[]).expect("a configuration");
    assert_eq!(format(&written.rules), Some(""));
}

#[test]
fn each_mistake_has_its_sentence() {
    for (file, expected) in [
        ("acquire.events = [\"answered\", \"ended\"]", ONE_PATH),
        (
            "acquire.events = [\"ringing\"]",
            "acquire.events must include ended",
        ),
        (
            "acquire.events = [\"ended\", \"busy\"]",
            "acquire.events = \"busy\" must be one of in-queue, ringing, answered, ended",
        ),
        (
            "calls.report = \"all\"",
            "calls.report = \"all\" must be \"legs\" or \"call\"",
        ),
        (
            "recording.format = \"mp3\"",
            "recording.format = \"mp3\" must be \"\" or \".mp3\" or \".wav\"",
        ),
        (
            "recording.late = \"drop\"",
            "recording.late = \"drop\" must be \"keep\" or \"resend\"",
        ),
    ] {
        let mistakes = load(file, &[]).expect_err("a mistake");
        assert_eq!(mistakes, [expected], "{file}");
    }
}
