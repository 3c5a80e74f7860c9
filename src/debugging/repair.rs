//! Rebuilds the callback that Twilio meant to send from a refused request: sent to a wrong path, with a
//! wrong method or with a wrong content type. Nothing of it is verified.

use super::fixture::Fixture;
use crate::store::StoredRefusedRequest;
use crate::twilio::RawUrl;
use crate::twilio::callback::CallbackKind;
use crate::twilio::signature::fields;

/// The callback, for `replay`; `None` if its fields did not arrive, or only in part.
pub fn repaired(stored: &StoredRefusedRequest) -> Option<Fixture> {
    let request = &stored.request;
    let query = RawUrl::of(&request.target).query.unwrap_or_default();
    let (email, in_query) = fields(query.as_bytes())
        .pairs()
        .into_iter()
        .partition::<Vec<_>, _>(|(name, _)| name == "email");
    let is_whole = request.body_bytes == request.body.len() as u64;
    let sources = [fields(&request.body).pairs(), json_fields(&request.body)];
    let sources = sources.into_iter().filter(|_| is_whole);
    let form = sources
        .chain([in_query])
        .find(|form| has(form, "CallSid") && has(form, "AccountSid"))?;
    let kind = if has(&form, "RecordingSid") {
        CallbackKind::Recording
    } else {
        CallbackKind::Status
    };
    let base = request.url.strip_suffix(request.target.as_str())?;
    let query = match email.first() {
        Some(email) => format!("?{}", serde_urlencoded::to_string([email]).ok()?),
        None => String::new(),
    };
    Some(Fixture {
        description: format!(
            "repaired: refused at {} as {} ({}), {} {}; not verified",
            request.at, request.cause, request.status, request.method, request.target
        ),
        method: "POST".to_owned(),
        url: format!("{base}{}{query}", kind.path()),
        headers: vec![(
            "content-type".to_owned(),
            "application/x-www-form-urlencoded".to_owned(),
        )],
        body: serde_urlencoded::to_string(form).ok()?.into_bytes(),
    })
}

fn has(form: &[(String, String)], name: &str) -> bool {
    form.iter().any(|(other, _)| other == name)
}

/// The texts of a JSON object.
fn json_fields(body: &[u8]) -> Vec<(String, String)> {
    let object: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(body).unwrap_or_default();
    object
        .into_iter()
        .filter_map(|(name, value)| Some((name, value.as_str()?.to_owned())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Millis;
    use crate::store::RefusedRequest;

    const FORM: &str =
        "CallSid=CA00000000000000000000000000000001&AccountSid=AC1&To=%2B12025550123";

    fn of(target: &str, body: &str) -> StoredRefusedRequest {
        StoredRefusedRequest {
            id: 7,
            request: RefusedRequest {
                at: Millis(0),
                cause: "not-found".to_owned(),
                explanation: String::new(),
                status: 404,
                peer: String::new(),
                method: "GET".to_owned(),
                target: target.to_owned(),
                url: format!("https://bridge.example.com/api{target}"),
                headers: String::new(),
                body: body.as_bytes().to_vec().into(),
                body_bytes: body.len() as u64,
            },
        }
    }

    #[test]
    fn a_callback_is_rebuilt_from_a_form_a_query_or_json() {
        let json = r#"{"CallSid":"CA00000000000000000000000000000001","AccountSid":"AC1","To":"+12025550123"}"#;
        let in_query = format!("/twilio/voice/status?{FORM}&email=jane%40example.com");
        for (target, body, query) in [
            (
                "/other?email=jane@example.com",
                FORM,
                "?email=jane%40example.com",
            ),
            (in_query.as_str(), "", "?email=jane%40example.com"),
            ("/twilio/voice/status/", json, ""),
        ] {
            let fixture = repaired(&of(target, body)).expect("a callback");
            let url = format!("https://bridge.example.com/api/twilio/voice/status{query}");
            assert_eq!(
                (fixture.method.as_str(), fixture.url),
                ("POST", url),
                "{target}"
            );
            assert_eq!(fixture.body, FORM.as_bytes(), "{target}");
        }
        let recording = repaired(&of("/other", &format!("{FORM}&RecordingSid=RE1")));
        assert!(
            recording
                .expect("a callback")
                .url
                .ends_with("/twilio/voice/recording")
        );
    }

    #[test]
    fn a_request_without_all_fields_is_not_repaired() {
        assert_eq!(repaired(&of("/other", "To=1")), None);
        let mut cut = of("/other", FORM);
        cut.request.body_bytes = 70_000;
        assert_eq!(repaired(&cut), None);
    }
}
