//! The decoded fields of a form, in one buffer: a form of Twilio has some thirty, and each callback is read
//! several times.

use std::borrow::Cow;

use serde::Deserialize;

/// The decoded fields of a form or query, in order and with repeats.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Form {
    text: String,
    /// Where the name and the value of each field end in `text`.
    ends: Vec<(usize, usize)>,
}

#[derive(Deserialize)]
struct Field<'a>(#[serde(borrow)] Cow<'a, str>, #[serde(borrow)] Cow<'a, str>);

/// Decodes a form by the WHATWG rules, as Twilio's libraries do: `+` is a space, a malformed `%` stays, and
/// bytes that are no UTF-8 become U+FFFD.
pub fn fields(form: &[u8]) -> Form {
    // Reading pairs of strings from a form cannot fail.
    let fields: Vec<Field<'_>> = serde_urlencoded::from_bytes(form).unwrap_or_default();
    let mut decoded = Form {
        text: String::with_capacity(form.len()),
        ends: Vec::with_capacity(fields.len()),
    };
    decoded.extend(fields.into_iter().map(|Field(name, value)| (name, value)));
    decoded
}

impl Form {
    /// Names and values.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> + Clone {
        let mut start = 0;
        self.ends.iter().map(move |&(name_end, end)| {
            let field = (&self.text[start..name_end], &self.text[name_end..end]);
            start = end;
            field
        })
    }

    /// Copies of names and values, to change some.
    pub fn pairs(&self) -> Vec<(String, String)> {
        let pairs = self.iter();
        pairs
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    /// The values of a field.
    pub fn values<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        let named = self.iter().filter(move |(other, _)| *other == name);
        named.map(|(_, value)| value)
    }

    /// The first value of a field. Its format is not checked.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.values(name).next()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
}

impl<N: AsRef<str>, V: AsRef<str>> Extend<(N, V)> for Form {
    fn extend<I: IntoIterator<Item = (N, V)>>(&mut self, fields: I) {
        for (name, value) in fields {
            self.text.push_str(name.as_ref());
            let name_end = self.text.len();
            self.text.push_str(value.as_ref());
            self.ends.push((name_end, self.text.len()));
        }
    }
}

impl<N: AsRef<str>, V: AsRef<str>> FromIterator<(N, V)> for Form {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(fields: I) -> Self {
        let mut form = Self::default();
        form.extend(fields);
        form
    }
}
