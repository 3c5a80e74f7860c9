//! Refused requests, for `list` and `export`.

use std::path::Path;

use anyhow::Context as _;

use super::{CliError, OutputFormat, print_line, wrapped};
use crate::debugging::export;
use crate::debugging::fixture::Fixture;
use crate::debugging::redact::Redactor;
use crate::debugging::timeline::refused::{CauseLine, RefusedLine};
use crate::domain::plural::counted;
use crate::store::{ReadStore, RefusedFilter, StoredRefusedRequest};
use crate::twilio::CallSid;
use crate::twilio::signature::fields;

/// As many as are kept, unless `refused.keep` was raised.
const LOOKED_THROUGH: usize = 1_000;

/// How many of which cause.
pub fn list_causes(reader: &dyn ReadStore, form: OutputFormat) -> Result<(), CliError> {
    let causes = reader.refused_by_cause()?;
    if causes.is_empty() && form == OutputFormat::Text {
        eprintln!("no refused requests are kept");
    }
    for cause in causes.iter().map(CauseLine::of) {
        if form == OutputFormat::Json {
            print_line(serde_json::to_string(&cause)?)?;
            continue;
        }
        print_line(format_args!(
            "{:>6}  {:<24} {} to {}",
            cause.count, cause.cause, cause.first, cause.last
        ))?;
        print_line(format_args!("{:>6}  latest: show {}", "", cause.example))?;
    }
    Ok(())
}

/// The latest of one cause.
pub fn list_cause(
    reader: &dyn ReadStore,
    cause: &str,
    limit: usize,
    form: OutputFormat,
) -> Result<(), CliError> {
    let requests = reader.refused(&RefusedFilter {
        id: None,
        cause: Some(cause.to_owned()),
        limit,
    })?;
    if requests.is_empty() && form == OutputFormat::Text {
        eprintln!("no requests are kept that were refused as {cause}");
    }
    for line in requests.iter().map(RefusedLine::of) {
        if form == OutputFormat::Json {
            print_line(serde_json::to_string(&line)?)?;
        } else {
            print_line(as_text(&line))?;
        }
    }
    Ok(())
}

fn as_text(line: &RefusedLine) -> String {
    let told = wrapped(&line.explanation, 2);
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

fn find(reader: &dyn ReadStore, id: i64) -> Result<Option<StoredRefusedRequest>, CliError> {
    let mut found = reader.refused(&RefusedFilter {
        id: Some(id),
        cause: None,
        limit: 1,
    })?;
    Ok(found.pop())
}

/// One with its headers and fields.
pub fn show(reader: &dyn ReadStore, id: i64, form: OutputFormat) -> Result<(), CliError> {
    let Some(stored) = find(reader, id)? else {
        return Err(CliError::Failed(anyhow::anyhow!(
            "no refused request {id} is kept; list --refused has those that are"
        )));
    };
    let line = RefusedLine::of(&stored);
    if form == OutputFormat::Json {
        print_line(serde_json::to_string_pretty(&line)?)?;
        return Ok(());
    }
    print_line(as_text(&line))?;
    print_line("headers")?;
    for header in &line.headers {
        print_line(format_args!("  {}", wrapped(&plain(header), 4)))?;
    }
    print_line("\nfields")?;
    for (name, value) in fields(&stored.request.body) {
        print_line(format_args!("  {:<16}  {}", plain(&name), plain(&value)))?;
    }
    Ok(())
}

/// Whoever reaches the listener writes it, and a terminal obeys some characters.
fn plain(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}

/// Where to look for a call that is not in the store.
pub fn naming(reader: &dyn ReadStore, sid: &CallSid) -> Result<String, CliError> {
    let all = reader.refused(&RefusedFilter {
        id: None,
        cause: None,
        limit: LOOKED_THROUGH,
    })?;
    let names = |stored: &&StoredRefusedRequest| {
        let told = fields(&stored.request.body);
        let mut sids = told.iter().filter(|(name, _)| name.ends_with("CallSid"));
        sids.any(|(_, value)| value == sid.as_str())
    };
    let Some(latest) = all.iter().find(names) else {
        return Ok(
            "list --refused has what was refused, and Twilio's console the errors 11200 to 11220"
                .to_owned(),
        );
    };
    let requests = counted(all.iter().filter(names).count(), "refused request");
    let (cause, id) = (&latest.request.cause, latest.id);
    Ok(format!(
        "it stands in {requests}, the latest refused as {cause}: show {id}"
    ))
}

/// Whether what tells of people is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum People {
    Kept,
    Redacted,
}

/// Writes one as `refused-ID.http`, which `verify` takes; returns where, or nothing if there is none.
pub fn export(
    reader: &dyn ReadStore,
    id: i64,
    folder: &Path,
    people: People,
) -> Result<Option<String>, CliError> {
    let Some(stored) = find(reader, id)? else {
        return Ok(None);
    };
    let fixture = match people {
        People::Kept => fixture(&stored),
        People::Redacted => redacted(&stored),
    };
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let path = folder.join(format!("refused-{id}.http"));
    std::fs::write(&path, fixture.to_string())
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(Some(path.display().to_string()))
}

/// Learned as a whole before it is written. The peer is left out, and no signature holds any more.
fn redacted(stored: &StoredRefusedRequest) -> Fixture {
    let mut redactor = Redactor::default();
    let known = fixture(stored);
    let _ = export::redacted(&known, &mut redactor);
    let request = &stored.request;
    Fixture {
        description: format!(
            "refused at {} as {} ({}); redacted, so no signature holds for it",
            request.at, request.cause, request.status
        ),
        ..export::redacted(&known, &mut redactor.replacing())
    }
}

fn fixture(stored: &StoredRefusedRequest) -> Fixture {
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
