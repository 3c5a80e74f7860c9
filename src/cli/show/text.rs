//! A story on one screen of 80 columns.

use std::fmt::{Result, Write as _};

use super::super::{COLUMNS, wrapped};
use crate::debugging::timeline::{
    AttemptView, CallTimeline, CallbackView, FieldView, LegView, PlannedView,
};

pub(super) fn of(story: &CallTimeline) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write(&mut text, story);
    text
}

fn write(text: &mut String, story: &CallTimeline) -> Result {
    let line = &story.line;
    writeln!(text, "{}  {}", line.call_sid, line.state)?;
    writeln!(
        text,
        "account {}, last change {}",
        line.account_sid, line.changed
    )?;
    writeln!(text, "next    {}", wrapped(&story.next, 8))?;
    if let Some(outage) = &story.outage {
        let status = outage
            .status
            .map(|status| format!(", {status}"))
            .unwrap_or_default();
        let told = format!(
            "since {}: {}{status}: {}",
            outage.since, outage.fault, outage.answer
        );
        writeln!(text, "outage  {}", wrapped(&told, 8))?;
    }

    writeln!(text, "\nlegs")?;
    for leg in &story.legs {
        write_leg(text, leg)?;
    }
    writeln!(text, "\ncallbacks from Twilio")?;
    let spell = |words: &str| {
        let legs = story.legs.iter();
        legs.fold(words.to_owned(), |words, leg| {
            words.replace(&format!("leg {}", leg.sid), &format!("leg {}", leg.name))
        })
    };
    let short = |sid: &str| {
        let leg = story.legs.iter().find(|leg| leg.sid == sid);
        leg.map_or_else(|| sid.to_owned(), |leg| leg.name.clone())
    };
    let mut gaps: Vec<(&LegView, u32)> = Vec::new();
    for leg in &story.legs {
        gaps.extend(leg.missing.iter().map(|number| (leg, *number)));
    }
    for told in &story.callbacks {
        // A gap stands where the first later number came.
        gaps.retain(|(leg, number)| {
            let is_here = leg.sid == told.leg && told.sequence_number.is_some_and(|n| n > *number);
            if is_here {
                // Writing to a String cannot fail.
                let _ = writeln!(text, "  {:24}  {}  #{number} did not come", "", leg.name);
            }
            !is_here
        });
        write_told(text, told, &short(&told.leg))?;
    }

    writeln!(text, "\nattempts at Acquire")?;
    if story.attempts.is_empty() {
        writeln!(text, "  none")?;
    }
    for attempt in &story.attempts {
        write_attempt(text, attempt, &short(&attempt.leg), story)?;
    }

    writeln!(text, "\nwhat the plan makes of it")?;
    for due in &story.planned {
        write_due(text, due, &spell)?;
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
        return writeln!(text, "     told nothing itself");
    }
    writeln!(text, "     {} -> {}", leg.from, leg.to)
}

fn write_told(text: &mut String, told: &CallbackView, leg: &str) -> Result {
    let number = told
        .sequence_number
        .map(|number| format!("#{number} "))
        .unwrap_or_default();
    let kind = if told.kind == "recording" {
        "recording "
    } else {
        ""
    };
    let line = format!("{number}{kind}{}, {}", told.call_status, told.verdict);
    writeln!(text, "  {}  {leg}  {}", told.received, wrapped(&line, 31))?;
    if let Some(recording) = &told.recording {
        writeln!(text, "     {}", wrapped(recording, 5))?;
    }
    Ok(())
}

fn write_attempt(
    text: &mut String,
    attempt: &AttemptView,
    leg: &str,
    story: &CallTimeline,
) -> Result {
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
    writeln!(text, "  {}  {leg}  {}", attempt.at, wrapped(&line, 31))?;
    for change in changes(attempt, story) {
        writeln!(text, "     {}", wrapped(&change, 5))?;
    }
    if !attempt.answer.trim().is_empty() {
        let answer = attempt
            .answer
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        writeln!(text, "     answer {}", wrapped(&answer, 12))?;
    }
    if let Some(then) = &attempt.then {
        writeln!(text, "     then   {}", wrapped(then, 12))?;
    }
    Ok(())
}

/// What was sent that would not be sent today; all else stands below.
fn changes(attempt: &AttemptView, story: &CallTimeline) -> Vec<String> {
    let today = story.planned.iter().find_map(|due| match due {
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

fn write_due(text: &mut String, due: &PlannedView, spell: &impl Fn(&str) -> String) -> Result {
    let (head, rest) = match due {
        PlannedView::Send {
            leg,
            kind,
            progress: stands,
            ..
        } => ("", format!("{kind} of leg {leg}: {stands}")),
        PlannedView::Undecided { why } => ("not decided yet: ", why.clone()),
        PlannedView::Nothing { why } => ("nothing: ", why.clone()),
        PlannedView::Unmappable { why } => ("cannot be sent: ", why.clone()),
    };
    writeln!(text, "  {}", wrapped(&format!("{head}{}", spell(&rest)), 4))?;
    let PlannedView::Send {
        fields,
        reasons: because,
        waits,
        ..
    } = due
    else {
        return Ok(());
    };
    for field in fields {
        write_field(text, field, &spell(&field.from))?;
    }
    let told = |why: &&String| fields.iter().all(|field| field.from != **why);
    for why in waits.iter().chain(because.iter().filter(told)) {
        writeln!(text, "    {}", wrapped(&spell(why), 4))?;
    }
    Ok(())
}

/// Name, value and origin; the origin on its own line where it does not fit.
fn write_field(text: &mut String, field: &FieldView, from: &str) -> Result {
    let line = format!("    {:<12}  {:<16}  {from}", field.name, field.value);
    if line.chars().count() <= COLUMNS {
        return writeln!(text, "{line}");
    }
    writeln!(text, "    {:<12}  {}", field.name, field.value)?;
    writeln!(text, "    {:<12}  {}", "", wrapped(from, 18))
}
