//! The rules. Each returns what breaks it, one sentence with its file and line.

use std::collections::{BTreeMap, BTreeSet};

use super::source::Source;

/// What the order of the rooms does not say by itself.
const APART: &[(&str, &str, &str)] = &[(
    "server",
    "delivery",
    "accepting a callback never waits for Acquire",
)];

/// One owner for each library, so that it can be replaced in one place.
const OWNERS: &[(&str, &[&str], &str)] = &[
    (
        "actix_web",
        &[
            "server",
            "app",
            "debugging::fake_acquire",
            "debugging::fake_server",
            "debugging::fake_twilio_api",
        ],
        "HTTP is served there, and its runtime made",
    ),
    (
        "awc",
        &[
            "net",
            "delivery::acquire_client",
            "twilio_api",
            "app::canary",
            "app::notify",
            "app::request",
            "debugging::fake_twilio",
            "cli::admin_client",
        ],
        "one client per conversation",
    ),
    (
        "actix_http",
        &["server::listener"],
        "HTTP below actix-web, for the PROXY protocol and TLS",
    ),
    ("actix_server", &["server::listener"], "as actix_http"),
    (
        "actix_proxy_protocol",
        &["server::listener::proxy_protocol"],
        "one place decides which client a connection is from",
    ),
    ("rusqlite", &["store"], "SQL has one home"),
    (
        "rustix",
        &["store", "server::listener::bind", "app::notify"],
        "the disk that the store is on, the limit of open files, and the name of the machine",
    ),
    (
        "tokio_postgres",
        &["store", "config::postgres"],
        "SQL has one home, and the settings check its URL",
    ),
    (
        "clap",
        &["cli", "main"],
        "the library does not know the command line",
    ),
    ("println", &["cli"], "only commands write to stdout"),
    ("print", &["cli"], "as println"),
    ("eprintln", &["cli"], "everything else logs"),
    ("eprint", &["cli"], "as eprintln"),
    ("SystemTime::now", &["clock"], "time is an argument"),
    ("Timestamp::now", &["clock"], "time is an argument"),
    (
        "prometheus_client",
        &["telemetry::metrics"],
        "metrics have one home",
    ),
    (
        "tracing_subscriber",
        &["telemetry::logs"],
        "logs are set up in one place",
    ),
    (
        "listenfd",
        &["app::systemd"],
        "one place talks to the service manager",
    ),
    ("sd_notify", &["app::systemd"], "as listenfd"),
    ("toml", &["config"], "settings are read in one place"),
    ("csv", &["domain::directory"], "one table has this format"),
];

/// Think about splitting a file above the first length; the second is the limit, tests included.
const LONG: usize = 400;
const TOO_LONG: usize = 600;
/// A shorter file should be a command, a section of the settings, or a list of modules.
const SHORT: usize = 30;

/// Imports and libraries in the wrong place, and files that are too long.
pub fn problems(sources: &[Source]) -> Vec<String> {
    let levels = order(sources);
    sources
        .iter()
        .flat_map(|source| {
            let long = too_long(source);
            long.into_iter()
                .chain(upward_imports(source, &levels))
                .chain(foreign_libraries(source))
        })
        .collect()
}

/// The levels of rooms from bottom to top, from the line of `src/lib.rs` that has them:
/// `//! clock < twilio | acquire < net`.
pub fn order(sources: &[Source]) -> Vec<Vec<String>> {
    let root = sources.iter().find(|source| source.path == "src/lib.rs");
    let lines = root.map_or("", |root| &root.text).lines();
    let mut orders = lines.filter_map(|line| line.strip_prefix("//! ")?.split_once(" < "));
    let (first, others) = orders.next().expect("the order of the rooms in src/lib.rs");
    let level = |names: &str| {
        names
            .split('|')
            .map(|name| name.trim().to_owned())
            .collect()
    };
    std::iter::once(first)
        .chain(others.split(" < "))
        .map(level)
        .collect()
}

/// The rooms of the table in docs/architecture.md, from its first row to its last.
pub fn order_of_table(page: &str) -> Vec<String> {
    let (_, table) = page.split_once("| room |").expect("the table of rooms");
    let (table, _) = table.split_once("\n\n").expect("its end");
    let cells = table.lines().skip(2);
    cells
        .filter_map(|row| row.split('`').nth(1))
        .map(|room| {
            room.trim_end_matches('/')
                .trim_end_matches(".rs")
                .to_owned()
        })
        .collect()
}

fn too_long(source: &Source) -> Option<String> {
    let lines = source.text.lines().count();
    (lines > TOO_LONG).then(|| format!("{}: {lines} lines, at most {TOO_LONG}", source.path))
}

/// Files to review, though they break no rule.
pub fn warnings(sources: &[Source]) -> Vec<String> {
    let files = |is_meant: fn(usize) -> bool| {
        let lengths = sources
            .iter()
            .map(|source| (&source.path, source.text.lines().count()));
        lengths
            .filter(|(_, lines)| is_meant(*lines))
            .map(|(path, lines)| format!("{path} ({lines})"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    vec![
        format!("above {LONG} lines: {}", files(|lines| lines > LONG)),
        format!("below {SHORT} lines: {}", files(|lines| lines < SHORT)),
    ]
}

/// Imports of a room that is not below, and a room that has no place in the order.
fn upward_imports(source: &Source, levels: &[Vec<String>]) -> Vec<String> {
    let level = |room: &str| {
        (0..)
            .zip(levels)
            .find(|(_, rooms)| rooms.iter().any(|other| other == room))
    };
    let Some(room) = source.room() else {
        return Vec::new();
    };
    let Some((own, _)) = level(room) else {
        return vec![format!(
            "{}: {room} is not in the order of src/lib.rs",
            source.path
        )];
    };
    let mut found = Vec::new();
    for reference in &source.references {
        let Some(other) = reference.path.first().filter(|other| *other != room) else {
            continue;
        };
        let at = format!("{}:{}", source.path, reference.line);
        if level(other).is_some_and(|(level, _)| level >= own) {
            found.push(format!(
                "{at}: {room} imports {other}, which is not below it"
            ));
        }
        for (from, to, why) in APART {
            if (room, other.as_str()) == (*from, *to) {
                found.push(format!("{at}: {room} imports {other}: {why}"));
            }
        }
    }
    found
}

/// Libraries that belong to other modules.
fn foreign_libraries(source: &Source) -> Vec<String> {
    let module = source.module.join("::");
    let mut found = Vec::new();
    for (library, owners, why) in OWNERS {
        let is_owner = owners.iter().any(|owner| is_within(&module, owner));
        let lines = (1..).zip(source.code.lines());
        for (number, _) in lines.filter(|(_, line)| !is_owner && names(line, library)) {
            let owners = owners.join(", ");
            found.push(format!(
                "{}:{number}: {library} belongs to {owners}: {why}",
                source.path
            ));
        }
    }
    found
}

fn is_within(module: &str, owner: &str) -> bool {
    let rest = module.strip_prefix(owner);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Whether the line has `library::`, `library!` or `library(` as a word of its own.
fn names(line: &str, library: &str) -> bool {
    line.match_indices(library).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let behind = &line[at + library.len()..];
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
            && ["::", "!", "("].iter().any(|end| behind.starts_with(end))
    })
}

/// Modules of one folder that use each other in a circle, each taken with the folder of its own.
///
/// An arrow goes from the module that names an item to the one that defines it, so `pub use` alone makes
/// none. The file of a room or folder, `net.rs` beside `net/`, is no part of a circle: it holds what its
/// modules share, and puts them together.
pub fn cycles(sources: &[Source]) -> Vec<String> {
    let files: BTreeMap<&[String], &Source> = sources
        .iter()
        .map(|source| (source.module.as_slice(), source))
        .collect();
    let mut arrows: Arrows = BTreeMap::new();
    for (module, source) in &files {
        let used = source
            .references
            .iter()
            .filter(|reference| !reference.is_passed_on);
        for reference in used {
            let target = defined_in(&reference.path, &files, MAX_HOPS);
            if let Some((from, to)) = target.and_then(|target| between_siblings(module, target)) {
                let at = format!("{}:{}", source.path, reference.line);
                arrows.entry(from).or_default().entry(to).or_insert(at);
            }
        }
    }
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for start in arrows.keys() {
        if !seen.contains(start)
            && let Some(circle) = circle_from(start, &arrows)
        {
            let steps = circle
                .windows(2)
                .map(|step| arrows[step[0]][step[1]].as_str());
            let modules: Vec<String> = circle.iter().map(|module| module.join("::")).collect();
            let steps: Vec<&str> = steps.collect();
            found.push(format!(
                "a circle: {} ({})",
                modules.join(" -> "),
                steps.join(", ")
            ));
            seen.extend(circle);
        }
    }
    found
}

/// From module to module, with the file and line that makes the arrow.
type Arrows<'a> = BTreeMap<&'a [String], BTreeMap<&'a [String], String>>;

/// How many files may pass an item on.
const MAX_HOPS: usize = 8;

/// The two modules of one folder that `from` and `to` are in; none if one of them contains the other,
/// or if they are in different rooms, for which there is an order.
fn between_siblings<'a>(
    from: &'a [String],
    to: &'a [String],
) -> Option<(&'a [String], &'a [String])> {
    let common = from
        .iter()
        .zip(to)
        .take_while(|(one, other)| one == other)
        .count();
    let are_apart = common > 0 && common < from.len() && common < to.len();
    are_apart.then(|| (&from[..=common], &to[..=common]))
}

/// The shortest path from a module back to itself.
fn circle_from<'a>(start: &'a [String], arrows: &Arrows<'a>) -> Option<Vec<&'a [String]>> {
    let mut paths = vec![vec![start]];
    let mut seen = BTreeSet::new();
    while !paths.is_empty() {
        let mut longer = Vec::new();
        for path in paths {
            for next in arrows
                .get(path[path.len() - 1])
                .into_iter()
                .flat_map(BTreeMap::keys)
            {
                let path = [path.as_slice(), &[*next]].concat();
                if *next == start {
                    return Some(path);
                }
                if seen.insert(*next) {
                    longer.push(path);
                }
            }
        }
        paths = longer;
    }
    None
}

/// The file that defines the item of a path, also where up to `hops` others import it and pass it on.
fn defined_in<'a>(
    path: &[String],
    files: &BTreeMap<&'a [String], &'a Source>,
    hops: usize,
) -> Option<&'a [String]> {
    let prefixes = (1..=path.len()).rev().map(|length| &path[..length]);
    let (module, source) = prefixes
        .into_iter()
        .find_map(|prefix| files.get_key_value(prefix))?;
    match path
        .get(module.len())
        .and_then(|name| source.imported.get(name))
    {
        Some(origin) if hops > 0 => defined_in(origin, files, hops - 1),
        _ => Some(module),
    }
}
