//! A URL, a form and a header: the first line is the URL, the second the signature, the rest the form.
#![no_main]

use libfuzzer_sys::fuzz_target;
use twilio_acquire_bridge::twilio::RawUrl;
use twilio_acquire_bridge::twilio::diagnosis::{self, BodyFormat, DiagnosisInput, UrlBase};
use twilio_acquire_bridge::twilio::signature::{self, Body, SigningKey};

fuzz_target!(|data: &[u8]| {
    let mut parts = data.splitn(3, |byte| *byte == b'\n');
    let (Some(url), Some(header), Some(form)) = (parts.next(), parts.next(), parts.next()) else {
        return;
    };
    let (Ok(url), Ok(header)) = (std::str::from_utf8(url), std::str::from_utf8(header)) else {
        return;
    };
    let key = SigningKey::auth_token("0123456789abcdef0123456789abcdef");
    let fields = signature::fields(form);
    let signed = signature::sign(&key, url, Body::Form(&fields));
    let keys = [key];
    // Twilio's libraries drop an empty fragment, and differ about unusual schemes, hosts and ports.
    let is_usual = url.starts_with("https://bridge.example.com/") && !url.contains('#');
    assert!(!is_usual || signature::verify(&keys, url, Body::Form(&fields), &signed));
    if header != signed {
        // A fragment or user info in the URL is signed in more than one variant.
        let is_plain = !url.contains(['#', '@', ':']);
        assert!(!(is_plain && signature::verify(&keys, url, Body::Form(&fields), header)));
    }
    let raw = RawUrl::of(url);
    assert!(url.starts_with(raw.before_path()) && url.ends_with(raw.from_path()));
    let (base, target) = UrlBase::split(url);
    let diagnosis = diagnosis::diagnose(
        &DiagnosisInput {
            bases: &[base],
            target,
            headers: &[("x-forwarded-host".to_owned(), header.to_owned())],
            body: form,
            body_format: BodyFormat::Form,
            queries: &[],
            account_sids: &[],
        },
        &[],
        Some(header),
    );
    assert!(header.is_empty() || !format!("{diagnosis:?}").contains(&signed));
});
