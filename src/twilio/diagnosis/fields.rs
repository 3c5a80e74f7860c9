//! Fields that may have been signed instead of those that arrived: before a proxy or framework
//! trimmed, lost, added or re-encoded some.
//!
//! It computes no signature: `candidates` does.

use percent_encoding::percent_decode;

use super::super::form;
use super::super::signature::{Body, canonical};
use super::candidates::Candidate;
use super::difference::Difference;
use super::input::{BodyFormat, DiagnosisInput};

/// Twilio sends each of these for each party, empty where it does not know the place.
const PLACES: [&str; 4] = ["City", "State", "Zip", "Country"];

/// Other fields that are often empty.
const OFTEN_EMPTY: [&str; 10] = [
    "CallerName",
    "To",
    "Called",
    "ForwardedFrom",
    "CalledVia",
    "RecordingUrl",
    "ErrorMessage",
    "ErrorCode",
    "SipResponseCode",
    "StirVerstat",
];

/// Fields with few possible values, which can be guessed.
const USUAL_VALUES: [(&str, &[&str]); 8] = [
    ("ApiVersion", &["2010-04-01"]),
    ("CallbackSource", &["call-progress-events"]),
    ("Direction", &["inbound", "outbound-api", "outbound-dial"]),
    (
        "CallStatus",
        &[
            "completed",
            "busy",
            "no-answer",
            "canceled",
            "failed",
            "in-progress",
            "ringing",
        ],
    ),
    ("SequenceNumber", &["0", "1", "2", "3"]),
    ("Duration", &["0", "1", "2", "3"]),
    ("CallDuration", &["0"]),
    ("SipResponseCode", &["200", "486", "487", "404", "480"]),
];

/// Fields that have the same value if a call has both.
const ALIASES: [(&str, &str); 4] = [
    ("Called", "To"),
    ("To", "Called"),
    ("Caller", "From"),
    ("From", "Caller"),
];

/// The most fields that are varied one by one; Twilio sends fewer.
const MAX_FIELDS: usize = 64;

type Fields = Vec<(String, String)>;

/// The texts to try after the URL, in signed form; the text of the body as it arrived comes first.
pub(super) fn texts(input: &DiagnosisInput<'_>) -> Vec<Candidate> {
    if input.body_format == BodyFormat::Json {
        return of_json(input.body);
    }
    let arrived = fields(input.body);
    let mut found = vec![Candidate::unchanged(text(&arrived))];
    let mut add = |other: Fields, difference: Difference, cost: u8| {
        let text = text(&other);
        if found.iter().all(|known| known.text != text) {
            found.push(Candidate::new(text, [difference]).with_cost(cost));
        }
    };
    let without_bom = input
        .body
        .strip_prefix(b"\xef\xbb\xbf")
        .unwrap_or(input.body);
    add(fields(without_bom.trim_ascii_end()), Difference::LineEnd, 1);
    add(fields(without_bom.trim_ascii()), Difference::LineEnd, 1);
    for (other, difference) in reencoded(&arrived, input.body) {
        add(other, difference, 1);
    }
    for (lost, names) in lost_places(&arrived) {
        add(with(&arrived, lost), Difference::FieldsLost(names), 1);
    }
    if input.body.trim_ascii_start().starts_with(b"{") {
        // JSON that arrived with the media type of a form.
        for candidate in of_json(input.body).into_iter().skip(1) {
            add(
                vec![(candidate.text, String::new())],
                Difference::FormAsJson,
                1,
            );
        }
    }
    add(Vec::new(), Difference::JsonAsForm, 1);
    let foreign = |name: &str| !name.starts_with(|first: char| first.is_ascii_uppercase());
    let named = |picked: &dyn Fn(&str) -> bool| {
        let names = arrived
            .iter()
            .filter(|(name, _)| picked(name))
            .map(|(name, _)| name.as_str());
        names.collect::<Vec<_>>().join(", ")
    };
    let own: Fields = arrived
        .iter()
        .filter(|(name, _)| !foreign(name))
        .cloned()
        .collect();
    if own.len() < arrived.len() {
        add(own, Difference::FieldsAdded(named(&foreign)), 1);
    }
    if arrived.len() <= MAX_FIELDS {
        for (other, difference) in one_by_one(&arrived, input) {
            add(other, difference, 2);
        }
    }
    found
}

fn fields(body: &[u8]) -> Fields {
    form::fields(body).pairs()
}

fn text(fields: &[(String, String)]) -> String {
    let form = fields.iter().map(|(name, value)| (name, value)).collect();
    canonical(Body::Form(&form))
}

fn with(arrived: &Fields, more: Fields) -> Fields {
    arrived.iter().cloned().chain(more).collect()
}

/// Nothing follows the URL of a JSON request, unless the body was sent as a form.
fn of_json(body: &[u8]) -> Vec<Candidate> {
    let mut found = vec![Candidate::unchanged(String::new())];
    found.push(Candidate::new(
        text(&fields(body)),
        [Difference::FormAsJson],
    ));
    if let Ok(serde_json::Value::Object(members)) = serde_json::from_slice(body) {
        let value = |value: serde_json::Value| match value {
            serde_json::Value::String(text) => text,
            serde_json::Value::Null => String::new(),
            other => other.to_string(),
        };
        let fields: Fields = members
            .into_iter()
            .map(|(name, member)| (name, value(member)))
            .collect();
        found.push(Candidate::new(text(&fields), [Difference::FormAsJson]));
    }
    found
}

/// The whole form as each usual re-encoding would have changed it.
fn reencoded(arrived: &Fields, body: &[u8]) -> Vec<(Fields, Difference)> {
    let each = |change: &dyn Fn(&str) -> String| -> Fields {
        arrived
            .iter()
            .map(|(name, value)| (name.clone(), change(value)))
            .collect()
    };
    let plus_before_digits = |value: &str| match value.strip_prefix(' ') {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_digit()) => format!("+{rest}"),
        _ => value.to_owned(),
    };
    let spaces = |value: &str| match value.strip_prefix('+') {
        Some(rest) => format!("+{}", rest.replace('+', " ")),
        None => value.replace('+', " "),
    };
    let number = |value: &str| {
        let digits = value.len() >= 7 && value.bytes().all(|byte| byte.is_ascii_digit());
        if digits {
            format!("+{value}")
        } else {
            value.to_owned()
        }
    };
    let decoded = |value: &str| {
        let pairs = fields(format!("v={}", value.replace('&', "%26")).as_bytes());
        pairs
            .into_iter()
            .next()
            .map_or_else(String::new, |(_, value)| value)
    };
    let percents = |value: &str| {
        percent_decode(value.as_bytes())
            .decode_utf8_lossy()
            .into_owned()
    };
    let plain = |value: &str| {
        let marks = [
            ("&lt;", "<"),
            ("&gt;", ">"),
            ("&quot;", "\""),
            ("&#39;", "'"),
            ("&amp;", "&"),
        ];
        marks.iter().fold(value.to_owned(), |text, (mark, sign)| {
            text.replace(mark, sign)
        })
    };
    let nothing = |value: &str| {
        let named = ["null", "undefined", "None", "nil"].contains(&value);
        if named {
            String::new()
        } else {
            value.to_owned()
        }
    };
    let mut found = vec![
        (each(&plus_before_digits), Difference::FieldsEncoding),
        (each(&number), Difference::FieldsTrimmed),
        (
            each(&|value| value.replace(' ', "+")),
            Difference::FieldsEncoding,
        ),
        (each(&spaces), Difference::FieldsEncoding),
        (each(&decoded), Difference::FieldsEncoding),
        (each(&percents), Difference::FieldsEncoding),
        (each(&plain), Difference::FieldsEncoding),
        (each(&nothing), Difference::FieldsEncoding),
        (
            each(&|value| value.replace("\r\n", "\n")),
            Difference::FieldsEncoding,
        ),
        (each(&|value| from_latin1(value)), Difference::Charset),
        (read_as_latin1(body), Difference::Charset),
    ];
    let separated = String::from_utf8_lossy(body)
        .replace("&amp;", "&")
        .replace(';', "&");
    found.push((fields(separated.as_bytes()), Difference::FieldsEncoding));
    found
}

/// Undoes reading UTF-8 as Latin-1; the value itself if that is impossible.
fn from_latin1(value: &str) -> String {
    let bytes: Option<Vec<u8>> = value
        .chars()
        .map(|character| u8::try_from(u32::from(character)).ok())
        .collect();
    bytes
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .unwrap_or_else(|| value.to_owned())
}

/// The form read as Latin-1: each byte is a character.
fn read_as_latin1(body: &[u8]) -> Fields {
    let decode = |part: &[u8]| -> String {
        let spaced: Vec<u8> = part
            .iter()
            .map(|byte| if *byte == b'+' { b' ' } else { *byte })
            .collect();
        percent_decode(&spaced).map(char::from).collect()
    };
    body.split(|byte| *byte == b'&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let at = pair
                .iter()
                .position(|byte| *byte == b'=')
                .unwrap_or(pair.len());
            (
                decode(&pair[..at]),
                decode(pair.get(at + 1..).unwrap_or_default()),
            )
        })
        .collect()
}

/// The empty places of one party or of both, with or without `CallerName` or `ForwardedFrom`.
fn lost_places(arrived: &Fields) -> Vec<(Fields, String)> {
    let missing = |names: &[String]| -> Fields {
        names
            .iter()
            .filter(|name| arrived.iter().all(|(known, _)| known != *name))
            .map(|name| (name.clone(), String::new()))
            .collect()
    };
    let places = |parties: &[&str]| -> Vec<String> {
        let of = |party: &&str| PLACES.map(|place| format!("{party}{place}"));
        parties.iter().flat_map(of).collect()
    };
    let mut found = Vec::new();
    for parties in [
        &["To", "Called", "From", "Caller"][..],
        &["To", "Called"],
        &["From", "Caller"],
    ] {
        for more in [&[][..], &["CallerName"], &["ForwardedFrom"]] {
            let mut names = places(parties);
            names.extend(more.iter().map(|name| (*name).to_owned()));
            let lost = missing(&names);
            if !lost.is_empty() {
                found.push((lost, "the empty ones".to_owned()));
            }
        }
    }
    found
}

/// Variants in which one field was lost, trimmed or added.
fn one_by_one(arrived: &Fields, input: &DiagnosisInput<'_>) -> Vec<(Fields, Difference)> {
    let mut found = Vec::new();
    let has = |name: &str| arrived.iter().any(|(known, _)| known == name);
    let mut lose = |name: &str, value: &str| {
        if !has(name) {
            let field = vec![(name.to_owned(), value.to_owned())];
            found.push((
                with(arrived, field),
                Difference::FieldsLost(name.to_owned()),
            ));
        }
    };
    for sid in input.account_sids {
        lose("AccountSid", sid);
    }
    for (name, twin) in ALIASES {
        if let Some((_, value)) = arrived.iter().find(|(known, _)| known == twin) {
            lose(name, value);
        }
    }
    for (name, values) in USUAL_VALUES {
        for value in values {
            lose(name, value);
        }
    }
    let places = ["To", "Called", "From", "Caller"]
        .iter()
        .flat_map(|party| PLACES.map(|place| format!("{party}{place}")));
    places.for_each(|name| lose(&name, ""));
    for name in OFTEN_EMPTY {
        lose(name, "");
    }
    for at in 0..arrived.len() {
        let mut fewer = arrived.clone();
        let (name, value) = fewer.remove(at);
        for spaced in [
            format!("{value} "),
            format!(" {value}"),
            format!("{value}\n"),
        ] {
            let mut other = arrived.clone();
            other[at].1 = spaced;
            found.push((other, Difference::FieldsTrimmed));
        }
        found.push((fewer, Difference::FieldsAdded(name)));
    }
    found
}
