//! Every promise of the README is held by a test that is named beside it.

use std::path::Path;

#[test]
fn each_promise_names_a_test_that_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = std::fs::read_to_string(root.join("README.md")).expect("a README");
    let (_, promises) = readme
        .split_once("## What is promised")
        .expect("the promises");
    let (promises, _) = promises
        .split_once("What is **not** promised")
        .expect("their end");
    let mut tests = String::new();
    gather(&root.join("tests"), &mut tests);
    gather(&root.join("src"), &mut tests);
    let rows: Vec<&str> = promises
        .lines()
        .filter(|line| line.starts_with("| "))
        .skip(2)
        .collect();
    assert!(!rows.is_empty(), "the table has rows");
    for row in rows {
        let names: Vec<&str> = row.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "no test is named in: {row}");
        for name in names {
            assert!(
                tests.contains(&format!("fn {name}(")),
                "there is no test {name}"
            );
        }
    }
}

#[test]
fn each_answer_of_acquire_names_a_test_that_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("RELIABILITY.md")).expect("the page");
    let (_, table) = text.split_once("| outcome |").expect("the table");
    let (table, _) = table.split_once("\n\n").expect("its end");
    let mut tests = String::new();
    gather(&root.join("tests"), &mut tests);
    let rows: Vec<&str> = table.lines().filter(|row| row.starts_with("| ")).collect();
    assert!(rows.len() > 15, "the table has rows");
    for row in rows.iter().skip(1) {
        let last = row.rsplit(" | ").next().expect("a cell");
        let names: Vec<&str> = last.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty() || last.contains("as above"), "{row}");
        for name in names {
            assert!(
                tests.contains(&format!("fn {name}(")),
                "there is no test {name}"
            );
        }
    }
}

fn gather(folder: &Path, text: &mut String) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            gather(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&std::fs::read_to_string(&path).expect("a source file"));
        }
    }
}
