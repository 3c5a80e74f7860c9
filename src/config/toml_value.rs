//! Lists, pairs and secrets as TOML values, and values as messages show them.

use std::borrow::Cow;

use toml::Value;

use crate::domain::plain_text::{plain, plain_json};

/// Longer values are cut in messages.
const SHOWN_CHARACTERS: usize = 120;

/// The values of a list: an array of texts, or one text separated by spaces or commas.
pub(super) fn words(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(text) => Some(
            text.split(|c: char| c == ',' || c.is_whitespace())
                .filter(|word| !word.is_empty())
                .map(ToOwned::to_owned)
                .collect(),
        ),
        Value::Array(values) => values
            .iter()
            .map(|value| value.as_str().map(ToOwned::to_owned))
            .collect(),
        _ => None,
    }
}

/// Names with texts: a table, or one text of pairs, each of which `split` separates.
pub(super) fn pairs(
    value: &Value,
    split: impl Fn(&str) -> Option<(&str, &str)>,
) -> Option<Vec<(String, String)>> {
    let owned = |(name, text): (&str, &str)| (name.to_owned(), text.to_owned());
    match value {
        Value::Table(table) => table
            .iter()
            .map(|(name, text)| Some(owned((name, text.as_str()?))))
            .collect(),
        Value::String(_) => words(value)?
            .iter()
            .map(|word| split(word).map(owned))
            .collect(),
        _ => None,
    }
}

/// Printable ASCII without spaces, as an HTTP header can contain it.
pub(super) fn is_secret(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic())
}

/// A value as messages show it: as [`masked`], and cut if long.
pub(super) fn shown(value: &Value) -> String {
    let text = masked(value);
    match text.char_indices().nth(SHOWN_CHARACTERS) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

/// Replaces a hidden part of a value.
pub const MASK: &str = "***";

/// Whether [`masked`] or `check` hid a part of the value.
pub(super) fn has_mask(text: &str) -> bool {
    let parts = [format!("://{MASK}@"), format!("password={MASK}")];
    text == MASK || parts.iter().any(|part| text.contains(part))
}

/// A value without the user info and the password of a URL.
///
/// Does not use `RawUrl`: the password must be hidden even if the text is not a valid URL.
pub(super) fn masked(value: &Value) -> String {
    let text = match (value.to_string(), serde_json::to_string(value)) {
        // A raw control character would be replaced when it is printed: JSON's escapes are TOML's too.
        (text, Ok(json)) if matches!(plain(&text), Cow::Owned(_)) => plain_json(&json).into_owned(),
        (text, _) => text,
    };
    let text = match (text.find("://"), text.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at => {
            format!("{}{MASK}{}", &text[..scheme + 3], &text[at..])
        }
        _ => text,
    };
    match text.find("password=") {
        Some(at) => format!("{}password={MASK}\"", &text[..at]),
        None => text,
    }
}

pub(super) fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_an_array_or_one_text() {
        let list = ["1s", "5s", "15s"].map(ToOwned::to_owned).to_vec();
        assert_eq!(words(&Value::from("1s 5s,15s")), Some(list.clone()));
        assert_eq!(words(&Value::from(" 1s, 5s,\n15s, ")), Some(list.clone()));
        assert_eq!(words(&Value::from(list.clone())), Some(list));
        assert_eq!(words(&Value::from(5)), None);
        assert_eq!(words(&Value::from(vec![5])), None);
    }

    #[test]
    fn a_long_value_is_cut_and_the_user_info_of_a_url_is_left_out() {
        assert_eq!(shown(&Value::from("soon")), "\"soon\"");
        assert_eq!(
            shown(&Value::from("postgres://user:secret@host/db")),
            "\"postgres://***@host/db\""
        );
        assert_eq!(
            shown(&Value::from("postgres://host/db?password=secret")),
            "\"postgres://host/db?password=***\""
        );
        assert_eq!(shown(&Value::from("x".repeat(500))).len(), 123);
    }

    #[test]
    fn a_value_with_control_characters_is_plain_and_read_as_the_same_value() {
        for text in [
            "un\"known \\ \t x",
            "two\nlines",
            "\u{7f}\u{202e}\u{1}'",
            "plain \"x\"",
        ] {
            for value in [Value::from(text), Value::from(vec![text, "other"])] {
                let shown = masked(&value);
                assert_eq!(shown, plain(&shown));
                let again: toml::Table = format!("key = {shown}").parse().expect("TOML");
                assert_eq!(again["key"], value);
            }
        }
    }
}
