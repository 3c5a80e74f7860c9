//! The signature that arrived, and the texts it may have been before a proxy or a person changed it.
//!
//! It compares text only; it does not compute a signature.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A shorter piece of a signature could match by chance. In characters; a whole SHA-1 signature has
/// 28.
const MIN_PIECE_CHARS: usize = 16;

/// A signature as it arrived, with its possible originals.
pub(super) struct SignatureText<'a> {
    received: &'a str,
    repaired: Vec<String>,
}

/// How an expected signature compares with the one that arrived.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Match {
    Exact,
    /// It matches after a repair: quotes, padding, escapes, letter case or a cut.
    Repaired,
    None,
}

impl<'a> SignatureText<'a> {
    pub(super) fn of(received: &'a str) -> Self {
        let bare = received.trim().trim_matches(['"', '\'']);
        let decoded = bare
            .replace("%2B", "+")
            .replace("%2b", "+")
            .replace("%2F", "/")
            .replace("%2f", "/")
            .replace("%3D", "=")
            .replace("%3d", "=");
        // A header that is sent twice arrives as one, joined by a comma.
        let mut repaired: Vec<String> =
            bare.split(',').map(|part| part.trim().to_owned()).collect();
        repaired.push(bare.replace(' ', "+"));
        repaired.push(bare.replace('-', "+").replace('_', "/"));
        repaired.push(decoded);
        let padded = |text: &String| match text.trim_end_matches('=') {
            bare if bare.len() % 4 == 3 => format!("{bare}="),
            bare => bare.to_owned(),
        };
        repaired = repaired.iter().map(padded).collect();
        repaired.extend(from_hex(bare));
        repaired.retain(|text| text != received);
        Self { received, repaired }
    }

    pub(super) fn compare(&self, expected: &str) -> Match {
        if self.received == expected {
            return Match::Exact;
        }
        let is_piece = self.received.len() >= MIN_PIECE_CHARS
            && (expected.starts_with(self.received)
                || expected.eq_ignore_ascii_case(self.received));
        if is_piece || self.repaired.iter().any(|text| text == expected) {
            Match::Repaired
        } else {
            Match::None
        }
    }
}

/// A hash in hexadecimal digits (SHA-1 or SHA-256), converted to base64.
fn from_hex(text: &str) -> Option<String> {
    if !matches!(text.len(), 40 | 64) || !text.is_ascii() {
        return None;
    }
    let bytes: Option<Vec<u8>> = (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok())
        .collect();
    bytes.map(|bytes| STANDARD.encode(bytes))
}
