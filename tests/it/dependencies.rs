//! docs/dependencies.md has a row for each dependency of Cargo.toml, and for no other.

use std::collections::BTreeSet;
use std::path::Path;

#[test]
fn each_direct_dependency_has_a_purpose_and_a_reason() {
    let manifest: toml::Table = read("Cargo.toml").parse().expect("TOML");
    let page = read("docs/dependencies.md");
    let (_, page) = page.split_once("## Of the program").expect("a table");
    let (of_program, of_tests) = page.split_once("## Of the tests").expect("two tables");
    for (table, text) in [("dependencies", of_program), ("dev-dependencies", of_tests)] {
        let named = manifest[table].as_table().expect("a table");
        let named: BTreeSet<&str> = named.keys().map(String::as_str).collect();
        let described: BTreeSet<&str> = rows(text).map(|[name, _, _]| name).collect();
        assert_eq!(described, named, "{table}");
        for [name, purpose, reason] in rows(text) {
            assert!(!purpose.is_empty() && !reason.is_empty(), "{name}");
        }
    }
}

/// The cells of rows such as ``| `crate` | purpose | reason |``.
fn rows(text: &str) -> impl Iterator<Item = [&str; 3]> {
    let rows = text.lines().filter_map(|row| row.strip_prefix("| `"));
    rows.map(|row| {
        let cells: Vec<&str> = row
            .trim_end_matches('|')
            .split(" | ")
            .map(str::trim)
            .collect();
        let [name, purpose, reason] = cells[..] else {
            panic!("three cells in: {row}");
        };
        [name.trim_end_matches('`'), purpose, reason]
    })
}

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(path).expect("a file of the repository")
}
