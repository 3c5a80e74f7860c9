//! Escaped text, and another text of the same length written with the same escapes.

/// The meaning of an unescaped `+`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Plus {
    Itself,
    /// As in forms.
    Space,
}

/// A text without its escapes, and how each byte was written.
pub(super) struct EscapedText {
    pub bytes: Vec<u8>,
    how: Vec<How>,
    escape: u8,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    Plain,
    Plus,
    Upper,
    Lower,
}

impl EscapedText {
    /// An escape character without two hexadecimal digits after it is an ordinary character.
    pub fn read(text: &[u8], escape: u8, plus: Plus) -> Self {
        let (mut bytes, mut how) = (Vec::new(), Vec::new());
        let mut rest = text;
        while let [first, after @ ..] = rest {
            rest = after;
            let (byte, written) = match after {
                [high, low, after @ ..] if *first == escape => match hex(*high).zip(hex(*low)) {
                    Some((upper, lower)) => {
                        rest = after;
                        let is_lower = [high, low].iter().any(|digit| digit.is_ascii_lowercase());
                        let how = if is_lower { How::Lower } else { How::Upper };
                        (upper << 4 | lower, how)
                    }
                    None => (*first, How::Plain),
                },
                _ if *first == b'+' && plus == Plus::Space => (b' ', How::Plus),
                _ => (*first, How::Plain),
            };
            bytes.push(byte);
            how.push(written);
        }
        Self { bytes, how, escape }
    }

    pub fn has_escapes(&self) -> bool {
        self.how
            .iter()
            .any(|how| matches!(how, How::Upper | How::Lower))
    }

    /// Writes as many other bytes with the escapes of this text.
    pub fn write(&self, bytes: &[u8]) -> Vec<u8> {
        debug_assert_eq!(bytes.len(), self.bytes.len());
        let mut text = Vec::with_capacity(bytes.len());
        for (byte, how) in bytes.iter().zip(&self.how) {
            match how {
                How::Plain => text.push(*byte),
                How::Plus => text.push(b'+'),
                How::Upper | How::Lower => {
                    let digits = [self.escape, digit(byte >> 4), digit(byte & 15)];
                    let lower = digits.map(|byte| byte.to_ascii_lowercase());
                    text.extend(if *how == How::Lower { lower } else { digits });
                }
            }
        }
        text
    }
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

fn digit(value: u8) -> u8 {
    b"0123456789ABCDEF"[usize::from(value & 15)]
}
