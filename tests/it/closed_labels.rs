//! Each closed set of labels in `telemetry/metrics/series.rs` has the words of the functions that produce
//! them. A word that is missing there has no series until its first event.
//!
//! The files are read as text, so that a new variant of an enum cannot be forgotten.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The words in quotes of a part of a file: after all of `starts`, in this order, and before `end`.
fn words(path: &str, starts: &[&str], end: &str) -> BTreeSet<String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let text = fs::read_to_string(source).expect("a source file");
    let after = |text, start| -> &str {
        let found = str::split_once(text, start);
        found.unwrap_or_else(|| panic!("no {start:?} in {path}")).1
    };
    let rest = starts
        .iter()
        .fold(text.as_str(), |text, start| after(text, *start));
    let (part, _) = rest.split_once(end).expect("an end");
    let quoted = part.split('"').skip(1).step_by(2);
    quoted.map(str::to_owned).collect()
}

/// The words of a function that returns the label of an enum, and of others.
fn produced(path: &str, kind: &str, function: &str, others: &[&str]) -> BTreeSet<String> {
    let starts = [&*format!("impl {kind} {{"), &*format!("fn {function}(")];
    let mut words = words(path, &starts, "\n    }\n");
    words.extend(others.iter().map(|word| (*word).to_owned()));
    words
}

/// The words of a constant of the series.
fn started(name: &str) -> BTreeSet<String> {
    let path = "src/telemetry/metrics/series.rs";
    words(path, &[&format!("const {name}: ")], "];")
}

#[test]
fn each_closed_set_of_labels_has_the_words_of_its_producers() {
    let refusal = "src/server/callbacks/refusal.rs";
    let mut unsigned = produced(refusal, "RefusalError", "reason", &[]);
    // The store is asked only about a signed request.
    unsigned.remove("unavailable");
    assert_eq!(started("UNSIGNED_VERDICTS"), unsigned);

    let callback = "src/twilio/callback.rs";
    let recorded = produced("src/store/call.rs", "Recorded", "as_str", &[]);
    let mut signed = produced(
        callback,
        "CallbackParseError",
        "reason",
        &["weaker", "unavailable"],
    );
    // A row of Twilio's lists is not a request.
    signed.remove("row");
    signed.extend(recorded);
    assert_eq!(started("SIGNED_VERDICTS"), signed);

    let difference = "src/twilio/diagnosis/difference.rs";
    let forbidden = [
        "unknown-account",
        "unknown-algorithm",
        "malformed-settings",
        "unknown-shared-key",
        "undiagnosed",
    ];
    let causes = produced(difference, "Difference", "reason", &forbidden);
    assert_eq!(started("SIGNATURE_REASONS"), causes);

    let connections = "src/server/listener/proxy_protocol.rs";
    let refused = produced(connections, "RefusedConnectionError", "reason", &[]);
    assert_eq!(started("CONNECTION_REASONS"), refused);

    let recordings = "src/server/recordings/play.rs";
    let outcomes = produced(recordings, "PlayRecordingError", "label", &["played"]);
    assert_eq!(started("RECORDING_OUTCOMES"), outcomes);

    let acquire = produced("src/acquire.rs", "Outcome", "as_str", &["unmappable"]);
    assert_eq!(started("OTHER_OUTCOMES"), acquire);

    let twilio = "src/twilio_api/client.rs";
    let outcomes = produced(twilio, "TwilioApiError", "outcome", &["ok"]);
    assert_eq!(started("TWILIO_API_OUTCOMES"), outcomes);

    let mut evidence = produced("src/twilio/listed.rs", "RequestSource", "as_str", &[]);
    evidence.remove("signed");
    assert_eq!(started("IMPORTED_EVIDENCE"), evidence);

    let canary = "src/app/canary.rs";
    let reasons = words(canary, &["const REASONS: "], "];");
    assert_eq!(reasons, produced(canary, "CanaryFailure", "reason", &[]));

    let notify = "src/config/notify.rs";
    let kinds = produced(notify, "MessageFormat", "as_str", &["heartbeat"]);
    assert_eq!(started("NOTIFY_KINDS"), kinds);
}

#[test]
fn no_set_of_labels_is_left_out_of_the_comparison() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/telemetry/metrics/series.rs");
    let text = fs::read_to_string(source).expect("a source file");
    let names = text.lines().filter_map(|line| {
        let line = line.strip_prefix("pub ").unwrap_or(line);
        let (name, _) = line.strip_prefix("const ")?.split_once(": [&str; ")?;
        Some(name.to_owned())
    });
    // `AdminError::refusal_reason` names each of the first, and the second is a part of the others.
    let compared = "ADMIN_REASONS NOT_KEPT UNSIGNED_VERDICTS SIGNED_VERDICTS SIGNATURE_REASONS \
                    CONNECTION_REASONS RECORDING_OUTCOMES OTHER_OUTCOMES TWILIO_API_OUTCOMES \
                    IMPORTED_EVIDENCE NOTIFY_KINDS";
    let compared: BTreeSet<String> = compared.split_whitespace().map(str::to_owned).collect();
    assert_eq!(names.collect::<BTreeSet<String>>(), compared);
}

#[test]
fn each_list_of_all_variants_of_an_enum_is_complete() {
    let mut lists = 0;
    visit(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut |text| {
            for (before, rest) in text
                .match_indices("const ALL: [Self; ")
                .map(|(at, _)| text.split_at(at))
            {
                let (_, kind) = before.rsplit_once("\nimpl ").expect("an impl");
                let kind = kind.split([' ', '<']).next().expect("a name");
                let (list, _) = rest.split_once("];").expect("an end");
                let listed = list
                    .split("Self::")
                    .skip(1)
                    .map(|part| identifier(part).to_owned());
                let listed: BTreeSet<String> = listed.collect();
                let (_, body) = text
                    .split_once(&format!("enum {kind} {{"))
                    .expect("an enum");
                let (body, _) = body.split_once("\n}").expect("an end");
                let variants = body.lines().map(str::trim).map(identifier);
                let variants = variants.filter(|name| name.starts_with(char::is_uppercase));
                assert_eq!(listed, variants.map(str::to_owned).collect(), "{kind}::ALL");
                lists += 1;
            }
        },
    );
    // The lists of the macro `words` are complete by themselves.
    assert!(lists >= 3, "only {lists} were found");
}

fn identifier(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric());
    &text[..end.unwrap_or(text.len())]
}

/// Calls `each` with the text of each source file.
fn visit(folder: &Path, each: &mut impl FnMut(&str)) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            visit(&path, each);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            each(&fs::read_to_string(&path).expect("a source file"));
        }
    }
}
