//! The signature as it came, and what it may have been before something changed its text.

/// Shorter pieces of a signature could be there by chance.
const SHORTEST_PIECE: usize = 16;

/// The texts that a signature may have been.
pub(super) struct SignatureText<'a> {
    sent: &'a str,
    mended: Vec<String>,
}

/// How an expected signature compares with what came.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Match {
    Same,
    /// The same but for its text.
    Repaired,
    Different,
}

impl<'a> SignatureText<'a> {
    pub(super) fn of(sent: &'a str) -> Self {
        let bare = sent.trim().trim_matches(['"', '\'']);
        let decoded = bare
            .replace("%2B", "+")
            .replace("%2b", "+")
            .replace("%2F", "/")
            .replace("%2f", "/")
            .replace("%3D", "=")
            .replace("%3d", "=");
        let mut mended: Vec<String> = bare.split(',').map(|part| part.trim().to_owned()).collect();
        mended.push(bare.replace(' ', "+"));
        mended.push(bare.replace('-', "+").replace('_', "/"));
        mended.push(decoded);
        let padded = |text: &String| match text.trim_end_matches('=') {
            bare if bare.len() % 4 == 3 => format!("{bare}="),
            bare => bare.to_owned(),
        };
        mended = mended.iter().map(padded).collect();
        mended.extend(from_hex(bare));
        mended.retain(|text| text != sent);
        Self { sent, mended }
    }

    pub(super) fn compare(&self, expected: &str) -> Match {
        if self.sent == expected {
            return Match::Same;
        }
        let is_piece = self.sent.len() >= SHORTEST_PIECE
            && (expected.starts_with(self.sent) || expected.eq_ignore_ascii_case(self.sent));
        if is_piece || self.mended.iter().any(|text| text == expected) {
            Match::Repaired
        } else {
            Match::Different
        }
    }
}

/// A hash that was written in hexadecimal digits, in base64.
fn from_hex(text: &str) -> Option<String> {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    if !matches!(text.len(), 40 | 64) || !text.is_ascii() {
        return None;
    }
    let bytes: Option<Vec<u8>> = (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok())
        .collect();
    bytes.map(|bytes| STANDARD.encode(bytes))
}
