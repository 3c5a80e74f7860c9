//! Refused requests, for `list` and `export`.

use std::path::Path;

use anyhow::Context as _;

use super::{Failure, say};
use crate::fixture::Fixture;
use crate::store::{Reader, RefusedFilter, StoredRefused};
use crate::story::refused::{CauseLine, RefusedLine};

/// How many of which cause.
pub fn list_causes(reader: &Reader, json: bool) -> Result<(), Failure> {
    let causes = reader.refused_by_cause()?;
    if causes.is_empty() && !json {
        eprintln!("no refused requests are kept");
    }
    for cause in causes.iter().map(CauseLine::of) {
        if json {
            say(serde_json::to_string(&cause)?)?;
            continue;
        }
        say(format_args!(
            "{:>6}  {:<24} {} to {}",
            cause.count, cause.cause, cause.first, cause.last
        ))?;
        say(format_args!("{:>6}  example: {}", "", cause.example))?;
    }
    Ok(())
}

/// The latest of one cause.
pub fn list_cause(reader: &Reader, cause: &str, limit: usize, json: bool) -> Result<(), Failure> {
    let requests = reader.refused(&RefusedFilter {
        id: None,
        cause: Some(cause.to_owned()),
        limit,
    })?;
    if requests.is_empty() && !json {
        eprintln!("no requests are kept that were refused as {cause}");
    }
    for line in requests.iter().map(RefusedLine::of) {
        if json {
            say(serde_json::to_string(&line)?)?;
        } else {
            say(as_text(&line))?;
        }
    }
    Ok(())
}

fn as_text(line: &RefusedLine) -> String {
    let told = super::wrapped(&line.told, 2);
    format!(
        "{}  {}  {} {}, from {}, not verified\n  {told}\n  {} {}\n  {} bytes of body\n",
        line.id,
        line.at,
        line.status,
        line.cause,
        line.peer,
        line.method,
        line.url,
        line.body_bytes
    )
}

/// Writes one as `refused-ID.http`, which `verify` takes; returns where, or nothing if there is none.
pub fn export(reader: &Reader, id: i64, folder: &Path) -> Result<Option<String>, Failure> {
    let found = reader.refused(&RefusedFilter {
        id: Some(id),
        cause: None,
        limit: 1,
    })?;
    let Some(stored) = found.first() else {
        return Ok(None);
    };
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let path = folder.join(format!("refused-{id}.http"));
    std::fs::write(&path, fixture(stored).to_string())
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(Some(path.display().to_string()))
}

fn fixture(stored: &StoredRefused) -> Fixture {
    let request = &stored.request;
    let mut description = format!(
        "refused at {} as {} ({}), from {}; nothing of it is verified",
        request.at, request.cause, request.status, request.peer
    );
    if request.body_bytes > request.body.len() as u64 {
        description.push_str("\nthe body is cut: no signature holds for it");
    }
    let headers = request
        .headers
        .lines()
        .filter_map(|line| line.split_once(": "));
    Fixture {
        description,
        method: request.method.clone(),
        url: request.url.clone(),
        headers: headers
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        body: request.body.to_vec(),
    }
}
