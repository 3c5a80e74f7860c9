//! Each link of a page leads to a file, and to a heading of it; each page of `docs` is part of the book.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use super::gather;
use crate::support::pages::{Page, pages, root};

#[test]
fn each_link_leads_to_a_file_and_a_heading() {
    let pages = pages();
    let mut count = 0;
    let mut broken = Vec::new();
    for page in &pages {
        for link in links(&page.text) {
            count += 1;
            if let Err(why) = leads_somewhere(page, &link, &pages) {
                broken.push(format!("{}: {link}: {why}", page.path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    assert!(count > 100, "{count}");
}

#[test]
fn a_broken_link_is_found() {
    let page = |text: &str| Page {
        path: PathBuf::from("docs/page.md"),
        text: text.to_owned(),
    };
    let pages = [page(
        "# A page\n\n## Two `words`, twice\n\n## Two words twice\n",
    )];
    for (link, why) in [
        ("page.md#two-words-twice-1", None),
        ("#two-words-twice", None),
        ("../deploy/haproxy.cfg", None),
        ("no-page.md", Some("no such file")),
        ("page.md#three-words", Some("no such heading")),
        ("../README.md", Some("not a page of the book")),
    ] {
        assert_eq!(
            leads_somewhere(&pages[0], link, &pages).err(),
            why,
            "{link}"
        );
    }
    let text =
        page("[a](one.md) `[b](code.md)`\n```\n[c](fenced.md)\n```\n[d](https://example.com)").text;
    assert_eq!(links(&text), ["one.md"]);
}

#[test]
fn each_page_of_docs_is_once_in_the_summary() {
    let summary = std::fs::read_to_string(root().join("docs/SUMMARY.md")).expect("the summary");
    let mut listed = links(&summary);
    let all: BTreeSet<String> = pages()
        .iter()
        .filter_map(|page| page.path.strip_prefix("docs").ok())
        .map(|path| path.display().to_string())
        .filter(|path| path != "SUMMARY.md")
        .collect();
    listed.sort_unstable();
    assert_eq!(listed, all.into_iter().collect::<Vec<_>>());
}

#[test]
fn each_page_that_the_source_and_the_samples_name_exists() {
    let mut texts = Vec::new();
    gather(&root().join("src"), &["rs", "toml"], &mut texts);
    gather(
        &root().join("deploy"),
        &["md", "toml", "yml", "yaml", "json", "service"],
        &mut texts,
    );
    let mut count = 0;
    for (path, text) in &texts {
        for after in text.split("docs/").skip(1) {
            let end = after.find(|c: char| !(c.is_alphanumeric() || "-_/.".contains(c)));
            let name = after[..end.unwrap_or(after.len())].trim_end_matches('.');
            if Path::new(name).extension().is_some_and(|end| end == "md") {
                count += 1;
                assert!(
                    root().join("docs").join(name).exists(),
                    "{path}: docs/{name}"
                );
            }
        }
    }
    assert!(count > 20, "{count}");
}

/// The targets of the links of a page, without those to other hosts.
fn links(text: &str) -> Vec<String> {
    let prose = text
        .split("\n```")
        .step_by(2)
        .collect::<Vec<_>>()
        .join("\n");
    let prose: String = prose.split('`').step_by(2).collect();
    let targets = prose.split("](").skip(1);
    let targets = targets.filter_map(|rest| rest.split(')').next());
    let inside = targets.filter(|target| !target.contains("://"));
    inside.map(str::to_owned).collect()
}

fn leads_somewhere(page: &Page, link: &str, pages: &[Page]) -> Result<(), &'static str> {
    let (path, anchor) = link
        .split_once('#')
        .map_or((link, None), |(path, anchor)| (path, Some(anchor)));
    let target = if path.is_empty() {
        page.path.clone()
    } else {
        normal(&page.path.with_file_name("").join(path))
    };
    let is_page = target
        .extension()
        .is_some_and(|extension| extension == "md");
    let known = pages.iter().find(|page| page.path == target);
    if known.is_none() && !root().join(&target).exists() {
        return Err("no such file");
    }
    // In the book, a link to a page outside it, or to its list of pages, would lead nowhere.
    let is_in_book = target.starts_with("docs") && !target.ends_with("SUMMARY.md");
    if is_page && page.path.starts_with("docs") && !is_in_book {
        return Err("not a page of the book");
    }
    match (anchor, known) {
        (Some(anchor), Some(page)) if anchors(&page.text).contains(anchor) => Ok(()),
        (Some(_), _) => Err("no such heading"),
        (None, _) => Ok(()),
    }
}

/// Without `..`.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                normal.pop();
            }
            part => normal.push(part),
        }
    }
    normal
}

/// The anchors of a page's headings, as mdBook and forges make them.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    for part in text.split("\n```").step_by(2) {
        for heading in part.lines().filter(|line| line.starts_with('#')) {
            let title = heading.trim_start_matches('#').trim().to_lowercase();
            let kept = title
                .chars()
                .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            let slug: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
            let numbered = (1..).map(|number| format!("{slug}-{number}"));
            let mut names = std::iter::once(slug.clone()).chain(numbered);
            let name = names.find(|name| !anchors.contains(name));
            anchors.extend(name);
        }
    }
    anchors
}
