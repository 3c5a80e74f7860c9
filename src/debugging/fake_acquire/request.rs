//! One request that the fake Acquire received, and its JSON for `sink --log`.

use std::collections::BTreeMap;

use serde::Serialize;

use super::reply::Reply;
use crate::clock::Millis;

/// One request, and the reply to it.
#[derive(Clone, Debug, Serialize)]
pub struct CapturedRequest {
    #[serde(serialize_with = "as_rfc_3339")]
    pub time: Millis,
    pub method: String,
    /// With the query, as received.
    pub path: String,
    /// Names in lower case. A repeated header is repeated here; in JSON its values are joined.
    #[serde(serialize_with = "as_map")]
    pub headers: Vec<(String, String)>,
    pub body: String,
    #[serde(skip)]
    pub reply: Reply,
}

impl CapturedRequest {
    /// The first value of a header, by its name in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers.find_map(|(header, value)| (header == name).then_some(value.as_str()))
    }

    /// A string member of the JSON body.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<String> {
        let body: serde_json::Value = serde_json::from_str(&self.body).ok()?;
        Some(body.get(name)?.as_str()?.to_owned())
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn as_rfc_3339<S: serde::Serializer>(time: &Millis, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(time)
}

fn as_map<S: serde::Serializer>(
    headers: &[(String, String)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut map = BTreeMap::<&str, Vec<&str>>::new();
    for (name, value) in headers {
        map.entry(name).or_default().push(value);
    }
    serializer.collect_map(map.iter().map(|(name, values)| (name, values.join(", "))))
}
