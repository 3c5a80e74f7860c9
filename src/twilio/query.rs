//! The query of a callback URL: at most `email`, which Twilio signs with the URL.

use super::signature::fields;

/// A query that the bridge does not take.
///
/// Twilio signs URL and fields without delimiters between them, so a parameter glued onto the URL
/// could pass for one of the form's; nothing but `email` is therefore let in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadQuery {
    #[error("the callback URL has the query key \"{0}\"; email is the only one that the bridge takes")]
    UnexpectedKey(String),
    #[error("the callback URL has an email key without a value, or more than one")]
    NotOneEmail,
}

/// The `?email=` of a URL or request target, if it has one.
pub fn email(url: &str) -> Result<Option<String>, BadQuery> {
    let Some((_, query)) = url.split_once('?') else { return Ok(None) };
    let mut email = None;
    for (name, value) in fields(query.as_bytes()) {
        if name != "email" {
            return Err(BadQuery::UnexpectedKey(name));
        }
        if value.is_empty() || email.replace(value).is_some() {
            return Err(BadQuery::NotOneEmail);
        }
    }
    Ok(email)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_email_is_taken_from_the_query() {
        let email = |query: &str| email(&format!("https://bridge.example.com/s{query}"));
        assert_eq!(email(""), Ok(None));
        assert_eq!(email("?"), Ok(None));
        assert_eq!(email("?email=jane%40example.com"), Ok(Some("jane@example.com".to_owned())));
        assert_eq!(email("?email="), Err(BadQuery::NotOneEmail));
        assert_eq!(email("?email=a&email=b"), Err(BadQuery::NotOneEmail));
        assert_eq!(email("?x=1"), Err(BadQuery::UnexpectedKey("x".to_owned())));
    }
}
