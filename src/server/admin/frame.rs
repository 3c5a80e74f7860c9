//! The frame of every page: its navigation, its time, and how times are shown.

use std::fmt::{Display, Write as _};

use sha2::{Digest as _, Sha256};

use super::sign_in;
use crate::clock::Millis;
use crate::config::Role;
use crate::domain::plain_text::plain;

/// The pages of the navigation: path and name. The path is also what [`Frame::here`] has.
pub const PAGES: &[(&str, &str)] = &[
    ("/", "Today"),
    ("/calls", "Calls"),
    ("/parked", "Parked"),
    ("/refused", "Refused"),
    ("/operations", "Operations"),
    ("/report", "Report"),
    ("/audit", "Audit"),
];

/// Values for the template of all pages.
#[derive(Debug)]
pub struct Frame {
    /// The path of the page in the navigation to which this page belongs.
    pub here: &'static str,
    /// The time of the figures; `None` on an error.
    pub as_of: Option<Millis>,
    /// The name and role of the operator who is signed in.
    pub operator: Option<String>,
    /// Whether the user may change calls: pages for others have no forms.
    pub may_act: bool,
}

impl Frame {
    pub fn of(here: &'static str, as_of: Millis) -> Self {
        let user = sign_in::current();
        Self {
            here,
            as_of: Some(as_of),
            may_act: user
                .as_ref()
                .is_some_and(|user| user.role == Role::Operator),
            operator: user.map(|user| format!("{}, {}", user.actor.name, user.role.as_str())),
        }
    }

    /// A time that the script also shows as `3 min ago`.
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "a template passes references"
    )]
    pub fn ago(&self, at: &Millis) -> String {
        self.time(at).replacen("<time", "<time data-ago", 1)
    }

    /// As [`timed`], with the time of this page.
    pub fn time(&self, text: impl Display) -> String {
        timed(&text.to_string(), self.as_of)
    }
}

/// Escapes a text for HTML, with each RFC 3339 time in it as `<time>`: without script `14:13:20`, or with
/// its day if that is another one than that of `as_of`.
pub fn timed(text: &str, as_of: Option<Millis>) -> String {
    let today = as_of.map(|as_of| as_of.to_string()).unwrap_or_default();
    let mut html = String::with_capacity(text.len() + 64);
    for (position, piece) in text.split(' ').enumerate() {
        if position > 0 {
            html.push(' ');
        }
        let (stamp, rest) = piece.split_at(stamp_length(piece));
        if !stamp.is_empty() {
            let (day, time) = stamp.split_once('T').unwrap_or_default();
            let time = time.get(..8).unwrap_or_default();
            let is_today = today.starts_with(day);
            let shown = if is_today {
                time.to_owned()
            } else {
                format!("{day} {time}")
            };
            // Writing to a String cannot fail.
            let _ = write!(
                html,
                "<time datetime=\"{stamp}\" title=\"{stamp}\">{shown}</time>"
            );
        }
        escape(&mut html, rest);
    }
    html
}

/// The length of the RFC 3339 time in UTC with which `piece` begins; 0 if there is none.
fn stamp_length(piece: &str) -> usize {
    let bytes = piece.as_bytes();
    let shape = b"0000-00-00T00:00:00";
    let is_like = |(byte, shape): (&u8, &u8)| match shape {
        b'0' => byte.is_ascii_digit(),
        other => byte == other,
    };
    if bytes.len() <= shape.len() || !bytes.iter().zip(shape).all(is_like) {
        return 0;
    }
    match bytes[shape.len()..].iter().position(|byte| *byte == b'Z') {
        Some(end) if end <= 4 => shape.len() + end + 1,
        _ => 0,
    }
}

fn escape(html: &mut String, text: &str) {
    for character in plain(text).chars() {
        match character {
            '&' | '<' | '>' | '"' | '\'' => {
                let _ = write!(html, "&#{};", u32::from(character));
            }
            other => html.push(other),
        }
    }
}

/// Eight hexadecimal digits, for the names of files.
pub(super) fn short_hash(text: &str) -> String {
    let [a, b, c, d, ..] = <[u8; 32]>::from(Sha256::digest(text));
    format!("{:08x}", u32::from_be_bytes([a, b, c, d]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_in_a_sentence_are_elements_and_everything_else_is_escaped() {
        let now = Some(Millis(1_790_000_000_000));
        assert_eq!(
            timed("again at 2026-09-21T14:13:20.000Z, <b>", now),
            "again at <time datetime=\"2026-09-21T14:13:20.000Z\" \
             title=\"2026-09-21T14:13:20.000Z\">14:13:20</time>, &#60;b&#62;"
        );
        assert!(timed("2026-09-20T14:13:20Z", now).ends_with(">2026-09-20 14:13:20</time>"));
        for text in [
            "2026-09-20T14:13:20",
            "2026-09-20T14:13:20\"onx=Z",
            "2026-09-21",
        ] {
            assert!(!timed(text, now).contains("<time"), "{text}");
        }
    }
}
