//! Refused requests, for `list`, `show` and `export`.

use std::path::Path;

use unicode_width::UnicodeWidthStr as _;

use super::CliError;
use super::output::{OutputArgs, OutputFormat, note, pad, print_line, print_pretty_json, wrap};
use super::private_files;
use crate::debugging::export;
use crate::debugging::fixture::Fixture;
use crate::debugging::missing_call::{SEARCHED, keep_naming, summary_with_command};
use crate::debugging::redact::Redactor;
use crate::debugging::timeline::refused::{CauseLine, RefusedLine};
use crate::domain::plain_text::plain;
use crate::domain::plural::counted;
use crate::store::{ReadStore, RefusedFilter, StoredRefusedRequest};
use crate::telemetry::metrics::check_refusal_cause;
use crate::twilio::CallSid;
use crate::twilio::signature::fields;

/// Columns of the longest field name that the others are aligned with.
const MAX_NAME: usize = 32;

/// Prints each cause with its count.
pub fn list_causes(
    reader: &dyn ReadStore,
    limit: usize,
    output: OutputArgs,
) -> Result<(), CliError> {
    let causes = reader.refused_by_cause()?;
    if causes.is_empty() && output.format() == OutputFormat::Text {
        note!("no refused requests are kept");
    }
    for cause in causes.iter().take(limit).map(CauseLine::of) {
        output.print(&cause, || {
            format!(
                "{:>6}  {}\n{:>6}  {} to {}; latest: show {}",
                cause.count, cause.cause, "", cause.first, cause.last, cause.example
            )
        })?;
    }
    if causes.len() > limit {
        note!(
            "{limit} of {} shown (--limit)",
            counted(causes.len(), "cause")
        );
    }
    Ok(())
}

/// Prints the latest requests of one cause.
pub fn list_cause(
    reader: &dyn ReadStore,
    cause: &str,
    limit: usize,
    output: OutputArgs,
) -> Result<(), CliError> {
    check_refusal_cause(cause).map_err(CliError::Usage)?;
    let requests = reader.refused(&RefusedFilter {
        id: None,
        cause: Some(cause.to_owned()),
        limit,
    })?;
    if requests.is_empty() && output.format() == OutputFormat::Text {
        note!("no refused requests with cause {cause} are kept");
    }
    for line in requests.iter().map(RefusedLine::of) {
        output.print(&line, || as_text(&line))?;
    }
    Ok(())
}

fn as_text(line: &RefusedLine) -> String {
    let explanation = wrap(&line.explanation, 2);
    format!(
        "{}  {}  {} {}, from {}, not verified\n  {explanation}\n  {} {}\n  {} bytes of body\n",
        line.id,
        line.at,
        line.status,
        line.cause,
        plain(&line.peer),
        plain(&line.method),
        plain(&line.url),
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

/// Prints one request with its headers and fields.
pub fn show(reader: &dyn ReadStore, id: i64, format: OutputFormat) -> Result<(), CliError> {
    let Some(stored) = find(reader, id)? else {
        return Err(CliError::Failed(anyhow::anyhow!(
            "no refused request {id} is kept; list --refused lists the kept ones"
        )));
    };
    let line = RefusedLine::of(&stored);
    if format == OutputFormat::Json {
        print_pretty_json(&line)?;
        return Ok(());
    }
    print_line(as_text(&line))?;
    print_line("headers")?;
    for header in &line.headers {
        print_line(format_args!("  {}", wrap(header, 4)))?;
    }
    print_line("\nfields")?;
    let fields = fields(&stored.request.body);
    let names = fields.iter().map(|(name, _)| plain(name).width());
    // A stranger may have chosen the name.
    let width = names.max().unwrap_or_default().min(MAX_NAME);
    for (name, value) in fields.iter() {
        let name = pad(&plain(name), width);
        print_line(format_args!("  {name}  {}", plain(value)))?;
    }
    Ok(())
}

/// The refused requests that name a call, the latest first.
pub fn naming(
    reader: &dyn ReadStore,
    sid: &CallSid,
) -> Result<Vec<StoredRefusedRequest>, CliError> {
    let mut found = reader.refused(&SEARCHED)?;
    keep_naming(&mut found, sid);
    Ok(found)
}

/// A hint for a call that is not in the store: the refused requests that name it.
pub fn hint(reader: &dyn ReadStore, sid: &CallSid) -> Result<String, CliError> {
    Ok(summary_with_command(&naming(reader, sid)?).unwrap_or_else(|| {
        "list --refused lists the refused requests; look for errors 11200 to 11220 in the Twilio \
         console"
            .to_owned()
    }))
}

/// Whether personal data is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PersonalData {
    Kept,
    Redacted,
}

/// Writes one request as `refused-ID.http` for `verify`; returns the path, or `None` if there is no such
/// request.
pub fn export(
    reader: &dyn ReadStore,
    id: i64,
    folder: &Path,
    personal_data: PersonalData,
) -> Result<Option<String>, CliError> {
    let Some(stored) = find(reader, id)? else {
        return Ok(None);
    };
    let fixture = match personal_data {
        PersonalData::Kept => fixture(&stored),
        PersonalData::Redacted => redacted(&stored),
    };
    private_files::create_folders(folder)?;
    let path = folder.join(format!("refused-{id}.http"));
    private_files::write(&path, &fixture.to_string())?;
    Ok(Some(path.display().to_string()))
}

/// Without personal data. The peer is left out, and the signature no longer matches.
fn redacted(stored: &StoredRefusedRequest) -> Fixture {
    let original = fixture(stored);
    let request = &stored.request;
    Fixture {
        description: format!(
            "refused at {} as {} ({}); redacted, so the signature is invalid",
            request.at, request.cause, request.status
        ),
        ..Redactor::redact(|redactor| export::redacted(&original, redactor))
    }
}

fn fixture(stored: &StoredRefusedRequest) -> Fixture {
    let request = &stored.request;
    let mut description = format!(
        "refused at {} as {} ({}), from {}; not verified",
        request.at, request.cause, request.status, request.peer
    );
    if request.body_bytes > request.body.len() as u64 {
        description.push_str("\nthe body is truncated: the signature is invalid");
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
