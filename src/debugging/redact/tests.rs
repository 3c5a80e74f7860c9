//! Redaction keeps the form of a request, and random personal values disappear in every encoding.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use percent_encoding::percent_decode;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::twilio::signature::fields;

fn redacted(form: &str) -> String {
    let form = Redactor::redact(|redactor| redactor.form(form.as_bytes()));
    String::from_utf8(form).expect("UTF-8 stays UTF-8")
}

fn text(text: &str) -> String {
    Redactor::redact(|redactor| redactor.text(text))
}

#[test]
fn a_callback_keeps_its_form_and_loses_its_personal_data() {
    let form = "CallSid=CA9f1e&From=%2B13055550142&Caller=%2B13055550142&To=client%3ajane_40acme_2Ecom\
        &CallerName=M%C3%BCLLER+Jane&FromCity=NEW%20YORK&ForwardedFrom=13055550142&SipUsername=jane\
        &Called=%2B493012345678&Timestamp=Thu%2C%2001%20Jan%202026%2009%3A00%3A00%20%2B0000\
        &CallStatus=completed&Duration=2&ext=1001&email=Jane@acme.com&x%2By=%FFz";
    insta::assert_snapshot!(redacted_bytes(form), @r"
    CallSid=BA0a0a
    &From=%2B12025550100
    &Caller=%2B12025550100
    &To=client%3ababa_40daba_2Ebab
    &CallerName=B%C3%A0BABA+Baba
    &FromCity=DAB%20FABA
    &ForwardedFrom=12025550100
    &SipUsername=baba
    &Called=%2B999000000000
    &Timestamp=Thu%2C%2001%20Jan%202026%2009%3A00%3A00%20%2B0000
    &CallStatus=completed
    &Duration=2
    &fab=0000
    &email=Baba@daba.bab
    &b%2Bd=%FFf
    ");
}

fn redacted_bytes(form: &str) -> String {
    let form = Redactor::redact(|redactor| redactor.form(form.as_bytes()));
    String::from_utf8_lossy(&form).replace('&', "\n&")
}

#[test]
fn every_format_of_a_number_gets_the_same_replacement() {
    let spellings = "+1 (305) 555-0142, 13055550142, 305.555.0142, sip:+13055550142@pbx.example";
    let redacted = text(spellings);
    let digits = |text: &str| {
        text.chars()
            .filter(char::is_ascii_digit)
            .collect::<String>()
    };
    let numbers: Vec<String> = redacted.split(", ").map(digits).collect();
    assert_eq!(numbers[0], numbers[1]);
    assert_eq!(numbers[0], numbers[3]);
    assert_eq!(numbers[0][1..], numbers[2]);
    assert_eq!(redacted.len(), spellings.len());
    assert!(redacted.contains("555-01"), "{redacted}");
}

#[test]
fn the_url_of_a_recording_names_the_redacted_sids() {
    let account = "AC9f1e2d3c4b5a69788796a5b4c3d2e1f0";
    let recording = "RE0f1e2d3c4b5a69788796a5b4c3d2e1f9";
    let url = format!("{API}{account}/Recordings/{recording}.mp3");
    let body = json!({"RecordingUrl": url, "account": account, "recording": recording});
    let body = Redactor::redact(|redactor| redactor.json(&body));
    let (account, recording) = (&body["account"], &body["recording"]);
    let word = |value: &Value| value.as_str().expect("a text").to_owned();
    let expected = format!("{API}{}/Recordings/{}.mp3", word(account), word(recording));
    assert_eq!(body["RecordingUrl"], expected);
    assert!(word(account).starts_with("AC0000"));
}

#[test]
fn the_url_of_a_callback_loses_its_host_and_prefix() {
    let url = "https://calls.acme.com/jane/twilio/voice/recording?email=jane%40acme.com";
    let redacted = Redactor::redact(|redactor| redactor.url(url));
    let (path, email) = redacted.split_once("?email=").expect("an e-mail");
    assert_eq!(path, "https://bridge.example.com/twilio/voice/recording");
    assert!(
        email.len() == "jane%40acme.com".len() && email.contains("%40"),
        "{email}"
    );
}

/// Personal values, at least six characters long so that none occurs by chance.
fn plant() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\+1[2-9][0-9]{9}",
        "\\+[2-9][0-9]{9,12}",
        "[a-z]{6,9}\\.[a-z]{6,8}@[a-z]{6,9}\\.com",
        "[A-Z][a-z]{5,9} [A-Z][a-zéüñß]{6,9}",
        "[一-三]{6,8}",
        "(AC|CA|RE|PN|SK)[0-9a-f]{32}",
        "client:[a-z]{7,10}_40[a-z]{6,8}_2Ecom",
        "sip:[a-z]{7,10}@[a-z]{6,9}\\.voicehost:5070",
        "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{12}",
    ]
}

/// A way to write a value in a form.
fn escaped(value: &str, style: u8) -> String {
    let keep = |byte: u8| byte.is_ascii_alphanumeric() && style != 2;
    let write = |byte: u8| match byte {
        b' ' if style == 1 => "+".to_owned(),
        byte if keep(byte) => char::from(byte).to_string(),
        byte if style == 3 => format!("%{byte:02x}"),
        byte => format!("%{byte:02X}"),
    };
    value.bytes().map(write).collect()
}

/// The words of a plant that must be nowhere.
fn words(plant: &str) -> Vec<String> {
    let parts = plant.split(|c: char| !c.is_alphanumeric() && c != '+');
    let long = parts.filter(|part| part.chars().count() >= 6 && *part != "client");
    long.map(|part| part.trim_start_matches('+').to_lowercase())
        .collect()
}

/// The base64 of a text at any offset: its bytes may start at three places of a group.
fn encoded(plant: &str) -> Vec<String> {
    let at = |before: usize| {
        let bytes = [&vec![0; before][..], plant.as_bytes()].concat();
        let encoded = STANDARD_NO_PAD.encode(&bytes);
        let (first, end) = ((before * 8).div_ceil(6), bytes.len() * 8 / 6);
        encoded[first..end].to_owned()
    };
    (0..3).map(at).collect()
}

/// All ways in which something could be hidden in an output.
fn layers(output: &[u8]) -> Vec<String> {
    let lower = |bytes: &[u8]| String::from_utf8_lossy(bytes).to_lowercase();
    let decoded: Vec<u8> = percent_decode(output).collect();
    let twice: Vec<u8> = percent_decode(&decoded).collect();
    vec![lower(output), lower(&decoded), lower(&twice)]
}

proptest! {
    #[test]
    fn nothing_planted_in_any_field_is_left(
        plants in prop::collection::vec((plant(), 0_u8..4), 8..40),
        custom in "[a-z]{7,12}",
    ) {
        let mut names: Vec<&str> = vocabulary::NAMES.split_whitespace().collect();
        names.push(&custom);
        names.push("SipHeader_X-Customer");
        let form: Vec<String> = names
            .iter()
            .zip(plants.iter().cycle())
            .map(|(name, (plant, style))| format!("{name}={}", escaped(plant, *style)))
            .chain(plants.iter().map(|(plant, _)| format!("nested={}", escaped(&escaped(plant, 2), 0))))
            .chain(plants.iter().map(|(plant, style)| {
                let hidden = format!("{}{plant}!", ["", "x", "xy"][usize::from(style % 3)]);
                format!("token={}", STANDARD.encode(hidden).replace('+', "%2B"))
            }))
            .collect();
        let form = form.join("&");
        let url = format!("https://h.example/twilio/voice/status?email={}", escaped(&plants[0].0, 0));
        let body = json!({"From": plants[0].0, "email": plants[1].0, "RecordingUrl": plants[2].0});

        let (left, left_url, left_body) = Redactor::redact(|redactor| {
            (redactor.form(form.as_bytes()), redactor.url(&url), redactor.json(&body))
        });
        prop_assert_eq!(left.len(), form.len());

        let all = [&left[..], left_url.as_bytes(), left_body.to_string().as_bytes()].join(&b'\n');
        for (plant, _) in &plants {
            for word in words(plant) {
                for layer in layers(&all) {
                    prop_assert!(!layer.contains(&word), "{} of {} is in {}", word, plant, layer);
                }
            }
            let text = String::from_utf8_lossy(&all);
            for encoded in encoded(plant) {
                prop_assert!(!text.contains(&encoded), "{} of {}", encoded, plant);
            }
        }

        // What was the same is the same, what differed differs.
        let (before, after) = (fields(form.as_bytes()).pairs(), fields(&left).pairs());
        for (one, (_, was)) in before.iter().enumerate() {
            for (other, (_, also)) in before.iter().enumerate() {
                let is_same = after[one].1 == after[other].1;
                prop_assert_eq!(was == also, is_same, "{} and {}", was, also);
            }
        }
        let was_from = before.iter().find(|(name, _)| name == "From").map(|(_, value)| value.clone());
        let from = after.iter().find(|(name, _)| name == "From").map(|(_, value)| value.clone());
        if was_from.as_deref() == body["From"].as_str() {
            prop_assert_eq!(from.as_deref(), left_body["From"].as_str());
        }
    }

    #[test]
    fn any_bytes_keep_their_length_and_their_shape(form in prop::collection::vec(any::<u8>(), 0..200)) {
        let left = Redactor::redact(|redactor| redactor.form(&form));
        prop_assert_eq!(left.len(), form.len());
        let separators = |form: &[u8]| form.iter().map(|byte| b"&=".contains(byte)).collect::<Vec<_>>();
        prop_assert_eq!(separators(&left), separators(&form));
    }
}

#[test]
fn base64_hides_no_personal_data() {
    let hidden = STANDARD.encode("Jane Millicent Doe, +13055550142");
    let left = redacted(&format!("StirPassportToken={}", escaped(&hidden, 0)));
    let (_, value) = fields(left.as_bytes()).pairs().remove(0);
    let decoded = STANDARD.decode(value).unwrap_or_default();
    let decoded = String::from_utf8_lossy(&decoded);
    assert!(
        !decoded.contains("Millicent") && !decoded.contains("3055550142"),
        "{decoded}"
    );
}
