//! Makes text from outside harmless: callers, carriers and strangers choose parts of what the bridge
//! prints, logs and shows.
//!
//! Every command, the text log and file names use this one module.

use std::borrow::Cow;

/// Stands for a character that was replaced.
const REPLACEMENT: char = '\u{fffd}';

/// Whether a terminal may obey the character, or show the text around it in another order: control
/// characters (C0, DEL, C1), line ends, and marks of the writing direction.
fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{61c}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2066}'..='\u{206f}'
                | '\u{feff}'
        )
        || is_mark(character)
}

/// Characters that Unicode keeps for programs; the command line marks coloured labels with them.
fn is_mark(character: char) -> bool {
    matches!(character, '\u{fdd0}'..='\u{fdef}')
}

/// One value without unsafe characters, also without line ends, which would forge lines.
pub fn plain(text: &str) -> Cow<'_, str> {
    replaced(text, is_unsafe)
}

/// Several lines without unsafe characters, but with the program's own marks. Values in them must have
/// passed [`plain`].
pub fn plain_lines(text: &str) -> Cow<'_, str> {
    replaced(text, |character| {
        character != '\n' && is_unsafe(character) && !is_mark(character)
    })
}

fn replaced(text: &str, is_unsafe: impl Fn(char) -> bool) -> Cow<'_, str> {
    if text.contains(&is_unsafe) {
        text.replace(is_unsafe, REPLACEMENT.encode_utf8(&mut [0; 4]))
            .into()
    } else {
        text.into()
    }
}

/// Encoded JSON in which unsafe characters are escaped: the same value for a program, harmless for a
/// terminal. JSON has them only inside of strings; line ends between its tokens stay.
pub fn plain_json(json: &str) -> Cow<'_, str> {
    let is_unsafe = |character| character != '\n' && is_unsafe(character);
    if !json.contains(is_unsafe) {
        return json.into();
    }
    let escaped = |character: char| match character {
        // All of them are in the Basic Multilingual Plane: one escape is enough.
        _ if is_unsafe(character) => format!("\\u{:04x}", u32::from(character)),
        _ => character.to_string(),
    };
    json.chars().map(escaped).collect::<String>().into()
}

/// The start of a text, of at most `bytes`.
pub fn cut(text: &str, bytes: usize) -> &str {
    let mut end = bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    const NASTY: &str =
        "\u{fdd1}a\u{1b}]0;owned\u{7}\u{9b}31m\u{202e}\u{7f}\r\nforged\u{2028}line\u{2066}";

    #[test]
    fn control_characters_line_ends_and_writing_directions_are_replaced() {
        let shown = plain(NASTY);
        assert!(!shown.contains(is_unsafe), "{shown:?}");
        assert!(
            shown.contains("forged") && shown.contains("31m"),
            "{shown:?}"
        );
        for harmless in [
            "",
            "Jos\u{e9} M\u{fc}ller",
            "\u{5e9}\u{5dc}\u{5d5}\u{5dd}",
            "\u{1f469}\u{200d}\u{1f4bb}",
        ] {
            assert!(matches!(plain(harmless), Cow::Borrowed(same) if same == harmless));
        }
    }

    #[test]
    fn lines_of_our_own_stay_lines() {
        assert_eq!(plain_lines("one\n  two\u{1b}[2J"), "one\n  two\u{fffd}[2J");
    }

    #[test]
    fn escaped_json_has_the_same_value_and_is_plain() {
        let value = serde_json::json!({ "To": NASTY, "other": "\u{e9}" });
        for json in [value.to_string(), format!("{value:#}")] {
            let shown = plain_json(&json);
            assert!(!shown.replace('\n', "").contains(is_unsafe), "{shown:?}");
            let again: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
            assert_eq!(again, value);
        }
    }

    #[test]
    fn a_cut_ends_between_two_characters() {
        assert_eq!(cut("a\u{e9}b", 2), "a");
        assert_eq!(cut("ab", 9), "ab");
    }
}
