//! A call timeline as text of 80 columns.
//!
//! What happened to the call is determined in `debugging/timeline.rs`.

use std::fmt::{Result, Write as _};

use unicode_width::UnicodeWidthStr as _;

use crate::cli::output::{COLUMNS, pad, paint_state, wrap};
use crate::debugging::timeline::{
    AttemptView, CallTimeline, CallbackView, FieldView, LegView, PlannedView,
};
use crate::domain::plain_text::plain;

pub(super) fn of(timeline: &CallTimeline) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write(&mut text, timeline);
    text
}

fn write(text: &mut String, timeline: &CallTimeline) -> Result {
    let line = &timeline.line;
    let cause = line.cause.as_ref();
    let cause = cause.map_or_else(String::new, |cause| format!(" ({cause})"));
    let state = paint_state(line.state);
    writeln!(text, "{}  {state}{cause}", line.call_sid)?;
    writeln!(
        text,
        "account {}, last change {}",
        line.account_sid, line.changed
    )?;
    writeln!(text, "state   {}", wrap(&timeline.words, 8))?;
    writeln!(text, "next    {}", wrap(&timeline.next, 8))?;
    if let Some(outage) = &timeline.outage {
        let status = outage
            .status
            .map(|status| format!(", {status}"))
            .unwrap_or_default();
        let summary = format!(
            "since {}: {}{status}: {}",
            outage.since, outage.fault, outage.answer
        );
        writeln!(text, "outage  {}", wrap(&summary, 8))?;
    }

    writeln!(text, "\nlegs")?;
    for leg in &timeline.legs {
        write_leg(text, leg)?;
    }
    writeln!(text, "\ncallbacks from Twilio")?;
    let with_leg_names = |text: &str| {
        let legs = timeline.legs.iter();
        legs.fold(text.to_owned(), |text, leg| {
            text.replace(&format!("leg {}", leg.sid), &format!("leg {}", leg.name))
        })
    };
    for (missing, callback) in timeline.callbacks_with_gaps() {
        let leg = timeline.leg_name(&callback.leg);
        for number in missing {
            writeln!(text, "  {:24}  {leg}  #{number} did not arrive", "")?;
        }
        write_callback(text, callback, leg)?;
    }

    writeln!(text, "\nattempts at Acquire")?;
    if timeline.attempts.is_empty() {
        writeln!(text, "  none")?;
    }
    for attempt in &timeline.attempts {
        write_attempt(text, attempt, timeline)?;
    }

    writeln!(text, "\nwhat is sent and why")?;
    for planned in &timeline.planned {
        write_planned(text, planned, &with_leg_names)?;
    }
    Ok(())
}

fn write_leg(text: &mut String, leg: &LegView) -> Result {
    let parent = leg
        .parent
        .as_ref()
        .map(|parent| format!(", dialled by {parent}"));
    writeln!(
        text,
        "  {}  {}{}",
        leg.name,
        leg.sid,
        parent.unwrap_or_default()
    )?;
    if leg.from.is_empty() && leg.to.is_empty() {
        return writeln!(text, "     no callbacks received");
    }
    writeln!(text, "     {} -> {}", plain(&leg.from), plain(&leg.to))
}

fn write_callback(text: &mut String, callback: &CallbackView, leg: &str) -> Result {
    let number = callback
        .sequence_number
        .map(|number| format!("#{number} "))
        .unwrap_or_default();
    let kind = if callback.kind == "recording" {
        "recording "
    } else {
        ""
    };
    let line = format!(
        "{number}{kind}{}, {}",
        callback.call_status, callback.verdict
    );
    writeln!(text, "  {}  {leg}  {}", callback.received, wrap(&line, 31))?;
    for line in callback.recording.iter().chain(&callback.notes) {
        writeln!(text, "     {}", wrap(line, 5))?;
    }
    Ok(())
}

fn write_attempt(text: &mut String, attempt: &AttemptView, timeline: &CallTimeline) -> Result {
    let status = attempt
        .status
        .map_or_else(|| "no answer".to_owned(), |s| s.to_string());
    let fault = attempt
        .fault
        .map(|fault| format!(" ({fault})"))
        .unwrap_or_default();
    let old = if attempt.before_requeue {
        ", before the requeue"
    } else {
        ""
    };
    let line = format!(
        "{} {}{fault}, {status} in {} ms{old}",
        attempt.kind, attempt.verdict, attempt.duration_ms
    );
    let leg = timeline.leg_name(&attempt.leg);
    writeln!(text, "  {}  {leg}  {}", attempt.at, wrap(&line, 31))?;
    for change in changes(attempt, timeline) {
        writeln!(text, "     {}", wrap(&change, 5))?;
    }
    if !attempt.answer.trim().is_empty() {
        let answer = attempt
            .answer
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        writeln!(text, "     answer {}", wrap(&answer, 12))?;
    }
    if let Some(explanation) = &attempt.explanation {
        writeln!(text, "     then   {}", wrap(explanation, 12))?;
    }
    Ok(())
}

/// The fields that would be sent differently today; the others are printed with the plan.
fn changes(attempt: &AttemptView, timeline: &CallTimeline) -> Vec<String> {
    let today = timeline.planned.iter().find_map(|planned| match planned {
        PlannedView::Send {
            leg, kind, request, ..
        } if *leg == attempt.leg && *kind == attempt.kind => request.as_object(),
        _ => None,
    });
    let (Some(today), Some(sent)) = (today, attempt.sent.as_object()) else {
        return vec![format!("sent   {}", attempt.sent)];
    };
    let names = sent
        .keys()
        .chain(today.keys().filter(|name| !sent.contains_key(*name)));
    let differing = names.filter(|name| sent.get(*name) != today.get(*name));
    differing
        .map(|name| {
            let value = |request: &serde_json::Map<_, serde_json::Value>| {
                request
                    .get(name)
                    .map_or_else(|| "nothing".to_owned(), ToString::to_string)
            };
            format!("sent   {name} {}, today {}", value(sent), value(today))
        })
        .collect()
}

fn write_planned(
    text: &mut String,
    planned: &PlannedView,
    with_leg_names: &impl Fn(&str) -> String,
) -> Result {
    let (head, rest) = match planned {
        PlannedView::Send {
            leg,
            kind,
            progress,
            ..
        } => ("", format!("{kind} of leg {leg}: {progress}")),
        PlannedView::Undecided { why } => ("not decided yet: ", why.clone()),
        PlannedView::Nothing { why } => ("nothing: ", why.clone()),
        PlannedView::Unmappable { why } => ("cannot be sent: ", why.clone()),
    };
    writeln!(
        text,
        "  {}",
        wrap(&format!("{head}{}", with_leg_names(&rest)), 4)
    )?;
    let PlannedView::Send {
        fields,
        reasons,
        waits,
        ..
    } = planned
    else {
        return Ok(());
    };
    for field in fields {
        write_field(text, field, &with_leg_names(&field.from))?;
    }
    // A field's own line has its reason already.
    let is_new = |why: &&String| fields.iter().all(|field| !why.ends_with(&field.from));
    for why in waits.iter().chain(reasons.iter().filter(is_new)) {
        writeln!(text, "    {}", wrap(&with_leg_names(why), 4))?;
    }
    Ok(())
}

/// Columns of a value beside its source.
const VALUE: usize = 16;

/// Prints name, value and source; the source on its own line if it does not fit.
fn write_field(text: &mut String, field: &FieldView, from: &str) -> Result {
    let value = plain(field.value.as_deref().unwrap_or("left out"));
    let line = format!(
        "    {:<12}  {}  {}",
        field.name,
        pad(&value, VALUE),
        plain(from)
    );
    if value.width() <= VALUE && line.width() <= COLUMNS {
        return writeln!(text, "{line}");
    }
    writeln!(text, "    {:<12}  {value}", field.name)?;
    writeln!(text, "    {:<12}  {}", "", wrap(from, 18))
}
