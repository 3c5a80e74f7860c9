//! Numbers with their nouns, for sentences.

use std::fmt::Display;

/// `1 call`, but `2 calls`. The plural of the noun ends in s.
pub fn counted<N: Copy + Display + PartialEq + From<u8>>(number: N, noun: &str) -> String {
    let plural = if number == N::from(1) { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

#[cfg(test)]
mod tests {
    use super::counted;

    #[test]
    fn one_alone_has_no_plural() {
        let counts = [0, 1, 2].map(|number| counted(number, "call"));
        assert_eq!(counts, ["0 calls", "1 call", "2 calls"]);
    }
}
