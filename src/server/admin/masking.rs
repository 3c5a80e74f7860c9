//! Masks personal data for viewers: each answer is masked as logs are, whichever handler wrote it, and
//! raw forms are left out.

use actix_web::body::{BoxBody, to_bytes};
use actix_web::dev::ServiceResponse;
use actix_web::http::header;
use actix_web::web::Bytes;
use serde_json::Value;

use crate::telemetry::logs::masked;

/// Fewer digits in a row are no phone number.
const MIN_DIGITS: usize = 7;

/// Instead of what is left out.
const NOT_SHOWN: &str = "not shown to viewers";

/// Fields of JSON that have a raw request.
const RAW: [&str; 5] = ["body", "form", "headers", "target", "url"];

/// Fields of JSON that programs send back, and no one reads.
const OPAQUE: [&str; 2] = ["cursor", "hash"];

/// The answer as a viewer may see it.
pub(super) async fn for_viewers(response: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
    let kind = response.headers().get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let mask = if kind.starts_with("text/html") {
        masked_html
    } else if kind.contains("json") {
        masked_json
    } else {
        return response;
    };
    let (request, response) = response.into_parts();
    let (response, body) = response.into_parts();
    // A body in memory cannot fail.
    let body = to_bytes(body).await.unwrap_or_else(|_| Bytes::new());
    let text = mask(&String::from_utf8_lossy(&body));
    ServiceResponse::new(request, response.set_body(BoxBody::new(text)))
}

/// A page: tags that only name files, times and links stay as they are.
fn masked_html(html: &str) -> String {
    let mut shown = String::with_capacity(html.len());
    let mut rest = html;
    while let Some(tag) = rest.find('<') {
        shown.push_str(&masked_text(&rest[..tag]));
        rest = &rest[tag..];
        if rest.starts_with("<pre") {
            let end = rest.find("</pre>").unwrap_or(rest.len());
            shown.push_str("<pre>");
            shown.push_str(NOT_SHOWN);
            rest = &rest[end..];
        }
        let end = rest.find('>').map_or(rest.len(), |end| end + 1);
        let tag = &rest[..end];
        let is_kept = ["<link", "<script", "<time", "<a href=\"/"]
            .iter()
            .any(|start| tag.starts_with(start));
        if is_kept {
            shown.push_str(tag);
        } else {
            shown.push_str(&masked_text(tag));
        }
        rest = &rest[end..];
    }
    shown.push_str(&masked_text(rest));
    shown
}

fn masked_json(json: &str) -> String {
    let read: Result<Value, _> = serde_json::from_str(json);
    read.map_or_else(
        |_| masked_text(json),
        |value| masked_value(value).to_string(),
    )
}

fn masked_value(value: Value) -> Value {
    match value {
        Value::String(text) => masked_text(&text).into(),
        Value::Array(values) => values.into_iter().map(masked_value).collect(),
        Value::Object(fields) => {
            let mask = |(key, value): (String, Value)| {
                let shown = match &*key {
                    raw if RAW.contains(&raw) => NOT_SHOWN.into(),
                    opaque if OPAQUE.contains(&opaque) => value,
                    _ => masked_value(value),
                };
                (key, shown)
            };
            fields.into_iter().map(mask).collect()
        }
        other => other,
    }
}

/// Masks each word that may be a number, an address or a recording.
fn masked_text(text: &str) -> String {
    let is_between = |c: char| c.is_whitespace() || "<>\"'()[]{},;&?/=|\u{2192}".contains(c);
    let mut shown = String::with_capacity(text.len());
    for piece in text.split_inclusive(is_between) {
        let word = piece.trim_end_matches(is_between);
        shown.push_str(&masked_word(word));
        shown.push_str(&piece[word.len()..]);
    }
    shown
}

fn masked_word(word: &str) -> String {
    let is_recording = word.len() >= 34
        && word.starts_with("RE")
        && word.as_bytes()[2..34].iter().all(u8::is_ascii_hexdigit);
    if is_recording {
        return "RE****".to_owned();
    }
    if word.contains('@') || word.starts_with("client:") {
        return masked(word);
    }
    let encoded = word.to_ascii_lowercase();
    if encoded.contains("%40") || encoded.contains("client%3a") {
        return "****".to_owned();
    }
    let is_gap = |c: char| !c.is_ascii_alphanumeric();
    let mask = |piece: &str| {
        let run = piece.trim_end_matches(is_gap);
        // %2B is an encoded plus.
        let digits = run.strip_prefix("2B").unwrap_or(run);
        let is_number = digits.len() >= MIN_DIGITS && digits.bytes().all(|b| b.is_ascii_digit());
        if is_number {
            piece.replace(digits, &masked(digits))
        } else {
            piece.to_owned()
        }
    };
    word.split_inclusive(is_gap).map(mask).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_addresses_and_recordings_are_masked_and_nothing_else() {
        for (text, shown) in [
            (
                "from +12025550123 to client:jane",
                "from +1202555**** to client:****",
            ),
            ("(ann@example.com).", "(****@example.com)."),
            ("+12025550123: busy", "+1202555****: busy"),
            ("\u{2026}2025550123-\u{2026}", "\u{2026}202555****-\u{2026}"),
            (
                "To=%2B12025550123&From=2025550199",
                "To=%2B1202555****&From=202555****",
            ),
            ("a%40example.com", "****"),
            (
                "https://x/Recordings/RE00000000000000000000000000000001.mp3",
                "https://x/Recordings/RE****",
            ),
            ("2026-11-30T10:02:13.000Z", "2026-11-30T10:02:13.000Z"),
            (
                "CA00000000000000000000000000000001, 4812 calls",
                "CA00000000000000000000000000000001, 4812 calls",
            ),
        ] {
            assert_eq!(masked_text(text), shown);
        }
    }

    #[test]
    fn a_page_keeps_its_files_and_links_and_has_no_raw_forms() {
        let page = "<link href=\"/style-12345678.css\"><a href=\"/calls?cursor=12345678\">+12025550123</a>\
                    <input value=\"+12025550123\"><pre class=\"x\">From=+12025550123</pre>";
        assert_eq!(
            masked_html(page),
            "<link href=\"/style-12345678.css\"><a href=\"/calls?cursor=12345678\">+1202555****</a>\
             <input value=\"+1202555****\"><pre>not shown to viewers</pre>"
        );
    }

    #[test]
    fn json_stays_json() {
        let json = r#"{"took_us":12345678,"from":"+12025550123","form":"x","cursor":"12345678"}"#;
        assert_eq!(
            masked_json(json),
            r#"{"took_us":12345678,"from":"+1202555****","form":"not shown to viewers","cursor":"12345678"}"#
        );
    }
}
