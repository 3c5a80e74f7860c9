//! The form of an auth token and of other secrets: a wrong text is found before every signature is invalid.
//!
//! Whether a secret is the right one is not known here.

/// Why a text cannot be a secret of its kind: the end of a sentence, which does not repeat the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretFormError {
    #[error("has quotes or spaces around it: remove them")]
    Quoted,
    #[error("is {0}, not a secret: set the secret that belongs to it")]
    Sid(&'static str),
    #[error(
        "is not an auth token: a token has 32 hexadecimal digits, this text has {0} characters; copy the \
         Auth Token from the Twilio console"
    )]
    NoToken(usize),
}

/// The SIDs that are near the auth token in the Twilio console.
const SIDS: [(&str, &str); 2] = [
    ("AC", "the SID of an account"),
    ("SK", "the SID of an API key"),
];

/// Checks the form of an auth token: 32 hexadecimal digits (as in the Twilio console and all of Twilio's
/// examples).
pub fn check(text: &str) -> Result<(), SecretFormError> {
    check_secret(text)?;
    if is_hex(text) {
        Ok(())
    } else {
        Err(SecretFormError::NoToken(text.chars().count()))
    }
}

/// Checks what holds for a secret of any form.
pub fn check_secret(text: &str) -> Result<(), SecretFormError> {
    let is_around = |c: char| c.is_whitespace() || "\"'`".contains(c);
    if text.starts_with(is_around) || text.ends_with(is_around) {
        return Err(SecretFormError::Quoted);
    }
    let is_sid = |prefix| text.strip_prefix(prefix).is_some_and(is_hex);
    match SIDS.iter().find(|(prefix, _)| is_sid(*prefix)) {
        Some((_, name)) => Err(SecretFormError::Sid(name)),
        None => Ok(()),
    }
}

fn is_hex(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_auth_token_has_32_hexadecimal_digits() {
        let token = "0123456789abcdef0123456789abcdef";
        assert_eq!(check(token), Ok(()));
        for (text, why) in [
            (format!("AC{token}"), SecretFormError::Sid(SIDS[0].1)),
            (format!("SK{token}"), SecretFormError::Sid(SIDS[1].1)),
            (format!("\"{token}\""), SecretFormError::Quoted),
            (format!("{token} "), SecretFormError::Quoted),
            ("your_auth_token".to_owned(), SecretFormError::NoToken(15)),
            (token[1..].to_owned(), SecretFormError::NoToken(31)),
            (token.replace('a', "g"), SecretFormError::NoToken(32)),
        ] {
            assert_eq!(check(&text), Err(why), "{text}");
            assert!(!why.to_string().contains(&text), "{why}");
        }
        assert_eq!(check_secret("any-other-secret"), Ok(()));
    }
}
