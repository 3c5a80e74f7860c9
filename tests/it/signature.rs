//! Every verdict in `fixtures/signature/vectors.jsonl` came from Twilio's own Python and Node
//! libraries; the bridge must agree with them, in the library and at the command line.

use std::io::Write as _;

use assert_cmd::Command;
use proptest::prelude::*;
use serde::Deserialize;
use twilio_acquire_bridge::twilio::signature::{Body, Form, SigningKey, fields, sign, verify};

#[derive(Deserialize)]
struct Vector {
    id: String,
    category: String,
    auth_token: String,
    url: String,
    content_type: String,
    body: String,
    signature: String,
    python: bool,
    node: bool,
    note: String,
}

impl Vector {
    /// The bridge's own choice; the table is in `twilio::signature`.
    fn verdict(&self) -> bool {
        match self.category.strip_prefix("disagree/") {
            None
            | Some(
                "query-reencoding"
                | "url-normalisation"
                | "sort-order-utf16"
                | "json-empty-body"
                | "json-without-bodysha256"
                | "form-with-bodysha256-in-url",
            ) => self.python,
            Some("python-port-removal" | "python-geturl-roundtrip") => self.node,
            // Node would also rewrite this port.
            Some("port-edge") => self.node && !self.url.contains(":0443"),
            Some(other) => panic!("{}: no choice is written down for {other}", self.id),
        }
    }

    fn is_json(&self) -> bool {
        self.content_type.starts_with("application/json")
    }
}

fn vectors() -> Vec<Vector> {
    include_str!("../../fixtures/signature/vectors.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).expect("each line is a vector"))
        .collect()
}

#[test]
fn the_library_gives_the_verdict_of_every_vector() {
    for vector in vectors() {
        let keys = [SigningKey::auth_token(&vector.auth_token)];
        let form = fields(vector.body.as_bytes());
        let body = if vector.is_json() {
            Body::Json(vector.body.as_bytes())
        } else {
            Body::Form(&form)
        };
        let valid = verify(&keys, &vector.url, body, &vector.signature);
        assert_eq!(valid, vector.verdict(), "{} {}", vector.id, vector.note);
        assert!(!valid || vector.python || vector.node, "{}", vector.id);
    }
}

#[test]
fn the_command_gives_the_verdict_of_every_vector() {
    for vector in vectors() {
        let mut body = tempfile::NamedTempFile::new().expect("a file can be made");
        body.write_all(vector.body.as_bytes())
            .expect("it can be written");
        let code = i32::from(!vector.verdict());
        Command::cargo_bin("twilio-acquire-bridge")
            .expect("the binary is built")
            .arg("verify")
            .args(["--url", &vector.url])
            .args(["--content-type", &vector.content_type])
            .args(["--signature", &vector.signature])
            .args(["--auth-token", &vector.auth_token])
            .arg("--body")
            .arg(body.path())
            .assert()
            .code(code);
    }
}

fn any_form() -> impl Strategy<Value = Vec<(String, String)>> {
    prop::collection::vec(("[ -~]{0,12}|\\PC{0,6}", "\\PC{0,12}"), 0..8)
}

fn form_of<'a>(pairs: impl IntoIterator<Item = &'a (String, String)>) -> Form {
    let pairs = pairs.into_iter();
    pairs.map(|(name, value)| (name, value)).collect()
}

/// The signed text has no delimiters, so two forms can have the same signed text; this is what each
/// library signs and no key can distinguish.
fn signed_text(form: &[(String, String)]) -> String {
    let mut pairs: Vec<_> = form.to_vec();
    pairs.sort();
    pairs.dedup();
    pairs
        .into_iter()
        .map(|(name, value)| name + &value)
        .collect()
}

proptest! {
    #[test]
    fn what_was_signed_verifies(form in any_form(), token in "[0-9a-f]{32}", target in "/[a-z0-9%./'~-]{0,12}(\\?[a-z0-9%&=+'-]{1,12})?") {
        let key = SigningKey::auth_token(&token);
        let url = format!("https://bridge.example.com{target}");
        let reversed = form_of(form.iter().rev());
        let signature = sign(&key, &url, Body::Form(&form_of(&form)));
        prop_assert!(verify(&[key], &url, Body::Form(&reversed), &signature));
    }

    #[test]
    fn a_form_that_spells_another_text_never_verifies(
        form in any_form(),
        at in any::<prop::sample::Index>(),
        changed in ("[ -~]{0,12}", "\\PC{0,12}"),
    ) {
        let key = SigningKey::auth_token("0123456789abcdef0123456789abcdef");
        let url = "https://bridge.example.com/twilio/voice/status";
        let signature = sign(&key, url, Body::Form(&form_of(&form)));
        let mut other = form.clone();
        match other.len() {
            0 => other.push(changed),
            length => other[at.index(length)] = changed,
        }
        let valid = verify(&[key], url, Body::Form(&form_of(&other)), &signature);
        prop_assert_eq!(valid, signed_text(&form) == signed_text(&other));
    }

    #[test]
    fn any_bytes_are_verified_without_a_panic(body: Vec<u8>, url in "\\PC{0,40}", signature in "\\PC{0,40}") {
        let form = fields(&body);
        let keys = [SigningKey::auth_token("0123456789abcdef0123456789abcdef")];
        prop_assert!(!verify(&keys, &url, Body::Form(&form), &signature));
        prop_assert!(!verify(&keys, &url, Body::Json(&body), &signature));
    }
}
