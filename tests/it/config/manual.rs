//! `config.default.toml` is the manual: it has every key, with the limits of the reader.

use std::collections::{BTreeMap, BTreeSet};

use twilio_acquire_bridge::config;

use super::{REQUIRED, load};

const MANUAL: &str = include_str!("../../../src/config.default.toml");

/// The comment and the keys of one paragraph.
#[derive(Default)]
struct Paragraph {
    comment: String,
    keys: Vec<String>,
}

/// A line `key =` or `# key =` is a key of its section; all other lines are comments.
fn paragraphs(manual: &str) -> Vec<Paragraph> {
    let is_key = |text: &str| text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let mut section = String::new();
    let mut paragraphs = vec![Paragraph::default()];
    for line in manual.lines() {
        let text = line.trim_start_matches("# ");
        let last = paragraphs.last_mut().expect("one paragraph at least");
        if let Some(name) = text.strip_prefix('[') {
            name.trim_matches(['[', ']']).clone_into(&mut section);
        } else if let Some((key, _)) = text.split_once(" = ").filter(|(key, _)| is_key(key)) {
            last.keys.push(format!("{section}.{key}"));
        } else if text.is_empty() {
            paragraphs.push(Paragraph::default());
        } else {
            last.comment.push_str(text);
            last.comment.push(' ');
        }
    }
    paragraphs
}

/// The limits of a key as its mistakes name them: `1 to 100`, `at most 100`, `"text"`, `info`.
fn limits(key: &str) -> BTreeSet<String> {
    let too_many = "1s ".repeat(200);
    let mut limits = BTreeSet::new();
    for wrong in ["?", &too_many] {
        let mistakes = load(&format!("{key} = \"{wrong}\""), &[]).err();
        for mistake in mistakes.unwrap_or_default() {
            let Some(mistake) = mistake.strip_prefix(key) else {
                continue;
            };
            let (_, rule) = mistake.split_once("must be ").unwrap_or(("", mistake));
            if let Some(words) = rule.strip_prefix("one of ") {
                let words = words
                    .split(", ")
                    .take_while(|word| !word.starts_with("or "));
                limits.extend(words.map(ToOwned::to_owned));
            } else if rule.starts_with('"') {
                let choices = rule.split(" or ").filter(|choice| choice.ends_with('"'));
                limits.extend(choices.map(ToOwned::to_owned));
            }
            limits.extend(ranges(rule));
        }
    }
    limits
}

/// Each `A to B` and `at most N`, with numbers or durations.
fn ranges(text: &str) -> Vec<String> {
    let is_number = |word: &str| word.starts_with(|c: char| c.is_ascii_digit());
    let words: Vec<&str> = text
        .split_whitespace()
        .map(|word| word.trim_end_matches(['.', ',', ':', ';']))
        .collect();
    words
        .windows(3)
        .filter(|words| match words {
            [from, "to", to] => is_number(from) && is_number(to),
            ["at", "most", limit] => is_number(limit),
            _ => false,
        })
        .map(|words| words.join(" "))
        .collect()
}

/// What the manual and the reader do not agree on.
fn differences(manual: &str, limits: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let mut differences = Vec::new();
    for Paragraph { comment, keys } in paragraphs(manual) {
        for key in keys.iter().filter_map(|key| limits.get_key_value(key)) {
            let (key, limits) = key;
            let documented = ranges(&comment);
            let is_missing = |limit: &&String| {
                let is_range = limit.starts_with(|c: char| c.is_ascii_digit());
                if is_range {
                    !documented.contains(limit)
                } else {
                    !comment.contains(limit.as_str())
                }
            };
            let missing = limits.iter().filter(is_missing);
            differences.extend(missing.map(|limit| format!("{key} lacks {limit}")));
            let is_wrong = |range: &&String| range.contains(" to ") && !limits.contains(*range);
            let wrong = documented.iter().filter(is_wrong);
            differences.extend(wrong.map(|range| format!("{key} has {range}")));
        }
    }
    differences
}

/// `section.key` of each key of the manual.
pub fn documented_keys() -> BTreeSet<String> {
    paragraphs(MANUAL)
        .into_iter()
        .flat_map(|of| of.keys)
        .collect()
}

#[test]
fn the_manual_has_the_limits_and_choices_of_the_reader() {
    let keys = paragraphs(MANUAL).into_iter().flat_map(|of| of.keys);
    let limits: BTreeMap<_, _> = keys
        .filter(|key| {
            let section = key.split('.').next().unwrap_or_default();
            !["accounts", "operators", "notify"].contains(&section)
        })
        .map(|key| {
            let limits = limits(&key);
            (key, limits)
        })
        .collect();
    let limited = limits.values().filter(|limits| !limits.is_empty()).count();
    assert_eq!(limited, 44, "{limits:#?}");
    assert_eq!(differences(MANUAL, &limits), [""; 0]);

    // The test itself finds a manual that is wrong.
    for (right, wrong, found) in [
        (
            "1 to 1024. Above",
            "1 to 2048. Above",
            &[
                "recording.concurrency lacks 1 to 1024",
                "recording.concurrency has 1 to 2048",
            ][..],
        ),
        ("\"json\"", "\"xml\"", &["log.format lacks \"json\""]),
        (
            "at most 100 waits",
            "many waits",
            &["delivery.schedule lacks at most 100"],
        ),
        ("debug or trace", "or debug", &["log.level lacks trace"]),
    ] {
        let manual = MANUAL.replace(right, wrong);
        assert_eq!(differences(&manual, &limits), found, "{wrong}");
    }
}

#[test]
fn the_manual_has_every_key_and_no_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("bridge.toml");
    let accounts = "[[accounts]]\n\
        twilio_account_sid = \"AC00000000000000000000000000000001\"\n\
        twilio_auth_tokens = \"a\"\n\
        acquire_account_id = \"b\"\n\
        [[operators]]\n\
        name = \"alice\"\n\
        token = \"a-token-of-alice-0123\"\n\
        role = \"operator\"\n\
        [[notify]]\n\
        url = \"https://hooks.example.com\"\n\
        kind = \"json\"\n\
        secret = \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"\n\
        events = \"refused\"\n";
    std::fs::write(&file, accounts).expect("a file");
    let [.., url] = REQUIRED.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let one = REQUIRED.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let several = config::explain(Some(&file), [url]).expect("several accounts");
    let one = config::explain(None, one).expect("one account");
    let read: BTreeSet<String> = several
        .settings
        .into_iter()
        .chain(one.settings)
        .map(|setting| setting.key.replace("[1]", ""))
        .collect();
    assert_eq!(read, documented_keys());
}
