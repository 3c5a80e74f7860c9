//! Rules about the source: which room may import which, that no files use each other in a circle, who
//! owns which library, and how long a file may be. There are no exceptions.
//!
//! The files are read as text. The order of the rooms is read from `src/lib.rs`, its only place.

mod rules;
mod source;

use std::fs;
use std::io::Write as _;
use std::path::Path;

use self::rules::{cycles, order, order_of_table, problems, warnings};
use self::source::Source;

#[test]
fn the_source_keeps_to_its_architecture() {
    let sources = sources();
    for warning in warnings(&sources) {
        // Also where the output of a test that passes is captured.
        let _ = writeln!(std::io::stderr(), "{warning}");
    }
    let found = problems(&sources);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn no_modules_use_each_other_in_a_circle() {
    let found = cycles(&sources());
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn the_table_of_rooms_is_in_the_order_of_the_source() {
    let page = fs::read_to_string(root().join("docs/architecture.md")).expect("the page");
    let rooms: Vec<String> = order(&sources()).into_iter().flatten().collect();
    assert_eq!(order_of_table(&page), rooms);
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files of `src`.
fn sources() -> Vec<Source> {
    let mut sources = Vec::new();
    read_folder(&root().join("src"), &mut sources);
    sources.sort_by(|one, other| one.path.cmp(&other.path));
    sources
}

fn read_folder(folder: &Path, sources: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            read_folder(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a source file");
            let name = path.strip_prefix(root()).expect("below the root");
            sources.push(Source::new(&name.to_string_lossy(), &text));
        }
    }
}

/// The order that the examples are compared with.
const ORDER: (&str, &str) = (
    "src/lib.rs",
    "//! twilio | acquire < domain < store < delivery < server",
);

fn problems_of(files: &[(&str, &str)]) -> Vec<String> {
    let files = std::iter::once(&ORDER).chain(files);
    let sources: Vec<Source> = files.map(|(path, text)| Source::new(path, text)).collect();
    [problems(&sources), cycles(&sources)].concat()
}

#[test]
fn a_file_that_breaks_a_rule_is_reported() {
    let cases = [
        (
            "src/domain.rs",
            "use crate::store::open;",
            "domain imports store, which is not below",
        ),
        (
            "src/twilio/sid.rs",
            "use crate::acquire;",
            "twilio imports acquire, which is not",
        ),
        (
            "src/domain.rs",
            "fn f() {\n    crate::store::open();\n}",
            "src/domain.rs:2: domain imports store",
        ),
        (
            "src/domain.rs",
            "use crate::{\n    twilio,\n    store::{self},\n};",
            "domain.rs:3: domain imports store",
        ),
        (
            "src/domain/plan/call.rs",
            "use super::super::super::store::State;",
            "domain imports store",
        ),
        (
            "src/domain/plan.rs",
            "mod tests {\n    use super::super::super::server;\n}",
            "domain imports server",
        ),
        (
            "src/server.rs",
            "use crate::delivery::Worker;",
            "server imports delivery: accepting a callback",
        ),
        ("src/helpers.rs", "", "helpers is not in the order"),
        (
            "src/domain.rs",
            "use rusqlite::Connection;",
            "rusqlite belongs to store",
        ),
        (
            "src/domain.rs",
            "let now = jiff::Timestamp::now();",
            "Timestamp::now belongs to clock",
        ),
        (
            "src/delivery.rs",
            "    println!(\"sent\");",
            "println belongs to cli",
        ),
        ("src/domain.rs", &"\n".repeat(601), "601 lines, at most 600"),
    ];
    for (path, text, expected) in cases {
        let found = problems_of(&[(path, text)]);
        assert_eq!(found.len(), 1, "{path}: {text}: {found:?}");
        assert!(found[0].contains(expected), "{found:?}");
    }
}

#[test]
fn a_file_that_keeps_the_rules_passes() {
    let cases = [
        (
            "src/domain/plan.rs",
            "use crate::{acquire::Outcome, twilio::CallSid};",
        ),
        (
            "src/domain/plan/call.rs",
            "use super::super::retry;\npub(in crate::domain) fn f() {}",
        ),
        (
            "src/store/sqlite.rs",
            "use rusqlite::Connection;\nuse crate::store::State;",
        ),
        (
            "src/domain.rs",
            "//! See [`crate::store`] and `println!`.\n/* crate::store:: */",
        ),
        (
            "src/domain.rs",
            "const ADVICE: &str = \"crate::store::open, println!\";",
        ),
        (
            "src/domain.rs",
            "const QUOTE: char = '\"'; const ROOM: &str = r#\"\"crate::store::\"#;",
        ),
        (
            "src/domain.rs",
            "fn f<'a>(text: &'a str) {} // crate::store::open",
        ),
    ];
    for (path, text) in cases {
        assert_eq!(problems_of(&[(path, text)]), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn modules_that_use_each_other_in_a_circle_are_reported() {
    let cases: [(&str, &[(&str, &str)]); 4] = [
        (
            "domain::a -> domain::b -> domain::a (src/domain/a.rs:1, src/domain/b.rs:1)",
            &[
                ("src/domain/a.rs", "use super::b::B;"),
                ("src/domain/b.rs", "use super::a::A;"),
            ],
        ),
        (
            "domain::a -> domain::b -> domain::c -> domain::a",
            &[
                ("src/domain/a.rs", "use crate::domain::{b::B};"),
                ("src/domain/b.rs", "mod part;"),
                (
                    "src/domain/b/part.rs",
                    "fn f() {\n    super::super::c::f();\n}",
                ),
                ("src/domain/c.rs", "use super::a;"),
            ],
        ),
        // By a name that the folder's file passes on.
        (
            "domain::a -> domain::b -> domain::a",
            &[
                (
                    "src/domain.rs",
                    "mod a;\nmod b;\npub use a::A;\npub use b::{B as Other};",
                ),
                ("src/domain/a.rs", "use super::Other;"),
                ("src/domain/b.rs", "use crate::domain::A;"),
            ],
        ),
        // Below a folder, too.
        (
            "domain::a::x -> domain::a::y -> domain::a::x",
            &[
                ("src/domain/a/x.rs", "use super::y::*;"),
                ("src/domain/a/y.rs", "use super::super::a::x;"),
            ],
        ),
    ];
    for (expected, files) in cases {
        let found = problems_of(files);
        assert_eq!(found.len(), 1, "{expected}: {found:?}");
        assert!(found[0].contains(expected), "{found:?}");
    }
}

#[test]
fn a_folder_and_its_own_file_may_use_each_other() {
    let found = problems_of(&[
        (
            "src/domain.rs",
            "mod a;\nmod b;\npub use a::A;\npub fn f() {\n    b::g();\n}",
        ),
        ("src/domain/a.rs", "use super::f;"),
        (
            "src/domain/b.rs",
            "use super::{A, f};\nmod tests {\n    use super::*;\n}",
        ),
    ]);
    assert_eq!(found, Vec::<String>::new());
}
