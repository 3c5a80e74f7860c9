//! How the source holds together: which module may import which, who owns which library, how long a
//! file may be. Read as text, so that breaking a rule fails with the line that breaks it.

use std::fs;
use std::path::Path;

/// Imports run downwards: a module may import what stands on a later line, never what stands on its
/// own or an earlier one.
const LAYERS: &[(&[&str], &str)] = &[
    (&["main"], "only starts the command line"),
    (&["cli"], "commands put the parts together for a person"),
    (
        &["app"],
        "the composition root: builds, runs and stops a bridge",
    ),
    (
        &["server", "worker", "sink"],
        "the three that run; none knows another",
    ),
    (&["replan"], "what was sent beside what would be sent today"),
    (
        &["replay"],
        "plays Twilio, for commands and the demonstration",
    ),
    (
        &["story", "evidence", "search"],
        "find a call, tell what all of them know of it, and write it down",
    ),
    (
        &["janitor", "audit", "directory_file", "systemd"],
        "tidy, count again, watch and report beside those that run",
    ),
    (&["metrics"], "what is counted of all that"),
    (&["outage"], "whom Acquire is left alone for, and why"),
    (
        &["store", "acquire::client", "media"],
        "the doors: database, Acquire, and Twilio's recordings",
    ),
    (&["outward"], "connections that the doors open"),
    (&["tls"], "whom they trust"),
    (&["telemetry"], "how all of them log"),
    (&["config"], "settings, in the words of the rules below"),
    (
        &["fixture", "redact"],
        "requests as text files, and without the people in them",
    ),
    (
        &["plan", "retry", "breaker"],
        "pure rules; `plan` alone knows both Twilio and Acquire",
    ),
    (
        &["recording_link"],
        "what is sent as the URL of a recording",
    ),
    (&["directory"], "who has which e-mail"),
    (&["attempt"], "one request to Acquire and its answer"),
    (
        &["twilio", "acquire"],
        "the words of each side, which know nothing of the other",
    ),
    (&["watched"], "whether a file has changed"),
    (
        &["clock", "counted"],
        "time, and how many of what, known to all",
    ),
];

/// One owner for each library, so that it can be replaced in one place.
const OWNERS: &[(&str, &[&str], &str)] = &[
    (
        "actix_web::",
        &["server", "app", "sink"],
        "HTTP is served there, and its runtime made",
    ),
    (
        "awc::",
        &[
            "acquire::client",
            "media",
            "outward",
            "replay",
            "cli::running",
        ],
        "the outward doors, the one that plays Twilio, and the one that asks a running bridge",
    ),
    (
        "acquire::client",
        &["app", "worker", "acquire", "cli::check", "cli::doctor"],
        "Twilio's side waits for nothing that Acquire does",
    ),
    (
        "actix_http::",
        &["app"],
        "HTTP below actix-web, for a door and TLS of our own",
    ),
    ("actix_server::", &["app"], "as actix_http"),
    (
        "actix_proxy_protocol::",
        &["app::door"],
        "who comes in, and as whom, is decided in one place",
    ),
    ("rusqlite::", &["store"], "SQL has one home"),
    ("rustix::", &["store"], "the disk that the store is on"),
    (
        "tokio_postgres::",
        &["store", "config::postgres"],
        "SQL has one home, and its URL is judged by whoever uses it",
    ),
    (
        "clap::",
        &["main", "cli"],
        "nothing inside knows the command line",
    ),
    (
        "println!",
        &["cli"],
        "data goes to stdout from a command, and from nowhere else",
    ),
    ("print!", &["cli"], "as println!"),
    ("eprintln!", &["main", "cli"], "everything else logs"),
    ("eprint!", &["main", "cli"], "as eprintln!"),
    ("SystemTime::now", &["clock"], "time is an argument"),
    ("Timestamp::now", &["clock"], "time is an argument"),
    ("prometheus_client::", &["metrics"], "metrics have one home"),
    (
        "tracing_subscriber::",
        &["telemetry"],
        "logs are set up in one place",
    ),
    (
        "listenfd::",
        &["systemd"],
        "the service manager has one door",
    ),
    ("sd_notify::", &["systemd"], "as listenfd"),
    ("toml::", &["config"], "settings are read in one place"),
    ("csv::", &["directory"], "the one table that people keep"),
];

/// A file that can be read in one go, its tests included.
const MOST_LINES: usize = 400;

#[test]
fn the_source_keeps_to_its_architecture() {
    let mut broken = Vec::new();
    each_file(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        "",
        &mut |module, text| {
            broken.extend(breaches(module, text));
        },
    );
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// Calls `see` with the module path and the text of each file below `folder`.
fn each_file(folder: &Path, prefix: &str, see: &mut impl FnMut(&str, &str)) {
    let mut entries: Vec<_> = fs::read_dir(folder)
        .expect("a folder of sources")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    entries.sort();
    for path in entries {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            each_file(&path, &format!("{prefix}{stem}::"), see);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a source file");
            see(&format!("{prefix}{stem}"), &text);
        }
    }
}

/// What a file breaks: one sentence each, with its line.
fn breaches(module: &str, text: &str) -> Vec<String> {
    let mut broken = Vec::new();
    let count = text.lines().count();
    if count > MOST_LINES {
        broken.push(format!("{module}: {count} lines, at most {MOST_LINES}"));
    }
    if module == "lib" {
        return broken;
    }
    let Some(place) = place_of(module) else {
        broken.push(format!("{module}: has no place in LAYERS"));
        return broken;
    };
    let code = (1..)
        .zip(text.lines())
        .filter(|(_, line)| !line.trim_start().starts_with("//"));
    let (depth, name) = place;
    for (number, line) in code {
        for import in imports(line) {
            let allowed =
                place_of(&import).is_some_and(|(deeper, other)| deeper > depth || other == name);
            if !allowed {
                let why = LAYERS[depth].1;
                broken.push(format!(
                    "{module}:{number}: imports {import}; {name}: {why}"
                ));
            }
        }
        for (library, owners, why) in OWNERS {
            if mentions(line, library) && !owners.iter().any(|owner| is_within(module, owner)) {
                broken.push(format!(
                    "{module}:{number}: {library} belongs to {}: {why}",
                    owners.join(", ")
                ));
            }
        }
    }
    broken
}

/// Where a module stands: its layer, and the longest name there that it is within.
fn place_of(module: &str) -> Option<(usize, &'static str)> {
    (0..)
        .zip(LAYERS)
        .flat_map(|(layer, (names, _))| names.iter().map(move |name| (layer, *name)))
        .filter(|(_, name)| is_within(module, name))
        .max_by_key(|(_, name)| name.len())
}

fn is_within(module: &str, name: &str) -> bool {
    module
        .strip_prefix(name)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// The modules of this crate that a line names, two segments deep, braces taken apart.
fn imports(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    for root in ["crate::", "twilio_acquire_bridge::"] {
        for (at, _) in line.match_indices(root) {
            let path = &line[at + root.len()..];
            match path.strip_prefix('{') {
                Some(list) => found.extend(list.split(',').map(two_segments)),
                None => found.push(two_segments(path)),
            }
        }
    }
    found.retain(|import| !import.is_empty());
    found
}

fn two_segments(path: &str) -> String {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut segments = path
        .trim_start()
        .split("::")
        .map(|segment| segment.split(|c| !is_name(c)).next().unwrap_or_default());
    let first = segments.next().unwrap_or_default();
    match segments.next() {
        Some("client") if first == "acquire" => "acquire::client".to_owned(),
        _ => first.to_owned(),
    }
}

/// Whether `line` has `token` as a word of its own.
fn mentions(line: &str, token: &str) -> bool {
    line.match_indices(token).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_')
    })
}

#[test]
fn a_text_that_breaks_a_rule_is_reported() {
    let cases = [
        (
            "twilio::callback",
            "use crate::acquire::CallEnd;",
            "imports acquire;",
        ),
        ("acquire", "use crate::twilio;", "imports twilio;"),
        (
            "acquire",
            "use crate::acquire::client::Client;",
            "imports acquire::client;",
        ),
        (
            "plan",
            "    let kept = crate::store::open();",
            "imports store;",
        ),
        (
            "retry",
            "use crate::{acquire::Outcome, config};",
            "imports config;",
        ),
        ("worker", "use crate::server;", "imports server;"),
        (
            "server::receive",
            "use crate::acquire::client::Client;",
            "Twilio's side waits for nothing",
        ),
        (
            "store::sqlite",
            "use crate::worker::Worker;",
            "imports worker;",
        ),
        (
            "plan",
            "use rusqlite::Connection;",
            "rusqlite:: belongs to store",
        ),
        (
            "worker",
            "    println!(\"sent\");",
            "println! belongs to cli",
        ),
        (
            "plan",
            "let now = jiff::Timestamp::now();",
            "Timestamp::now belongs to clock",
        ),
        ("helpers", "", "has no place in LAYERS"),
        ("plan", &"\n".repeat(401), "401 lines"),
    ];
    for (module, text, expected) in cases {
        let broken = breaches(module, text);
        assert_eq!(broken.len(), 1, "{module}: {text}: {broken:?}");
        assert!(broken[0].contains(expected), "{broken:?}");
    }
}

#[test]
fn a_text_that_keeps_the_rules_passes() {
    let cases = [
        ("plan", "use crate::{acquire, twilio::CallSid};"),
        ("twilio::callback", "use crate::twilio::signature;"),
        ("acquire::client", "use crate::acquire::Outcome;"),
        ("store::sqlite", "use rusqlite::Connection;"),
        ("store::sqlite", "use crate::store::State;"),
        ("cli::check", "    println!(\"{}\", crate::config::url::X);"),
        ("plan", "/// See [`crate::store`] and `println!`."),
    ];
    for (module, text) in cases {
        assert_eq!(breaches(module, text), Vec::<String>::new(), "{text}");
    }
}
