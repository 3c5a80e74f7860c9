//! Which URL a recording gets, and when a URL that was sent no longer works.

use std::time::Duration;

use super::*;

pub(super) const SECRET: &str = "made-up-secret-of-32-characters!";
const TTL: Duration = Duration::from_secs(60);

pub(super) fn signer(secrets: &[&str]) -> LinkSigner {
    let keys = secrets.iter().map(|secret| LinkKey::new(secret)).collect();
    LinkSigner::new("https://bridge.example.com/x".to_owned(), TTL, keys)
}

pub(super) fn account(number: u128) -> AccountSid {
    AccountSid::parse(&format!("AC{number:032x}")).expect("a SID")
}

pub(super) fn recording(number: u128) -> RecordingSid {
    RecordingSid::parse(&format!("RE{number:032x}")).expect("a SID")
}

#[test]
fn twilios_own_url_gets_the_format_and_a_link_needs_a_sid() {
    let twilio = RecordingLinks::Twilio { format: ".mp3" };
    let url =
        |links: &RecordingLinks, url: &str| links.url(&account(1), None, url, Millis(0), Millis(0));
    assert_eq!(
        url(&twilio, "https://api.twilio.com/RE1").as_deref(),
        Ok("https://api.twilio.com/RE1.mp3")
    );
    let bridge = RecordingLinks::Bridge(signer(&[SECRET]));
    assert!(url(&bridge, "https://api.twilio.com/RE1").is_err());
}

#[test]
fn a_recording_outside_twilio_keeps_its_own_url() {
    let twilio = RecordingLinks::Twilio { format: ".mp3" };
    let bridge = RecordingLinks::Bridge(signer(&[SECRET]).with_api_url("http://127.0.0.1:9000"));
    for url in [
        "https://bucket.s3.amazonaws.com/AC1/RE1",
        "https://bucket.s3.amazonaws.com/AC1/RE1.wav?X-Amz-Expires=60",
        "https://api.twilio.com.example.org/2010-04-01/Accounts/AC1/Recordings/RE1",
        "https://api.twilio.com@example.org:8443/RE1",
        "http://nottwilio.com/RE1",
    ] {
        for links in [&twilio, &bridge] {
            let sent = links.url(&account(1), Some(&recording(2)), url, Millis(0), Millis(0));
            assert_eq!(sent.as_deref(), Ok(url));
        }
        assert!(bridge.leaves_alone(url), "{url}");
        assert!(!twilio.leaves_alone(url), "{url}");
    }
    for url in [
        "https://api.twilio.com/2010-04-01/Accounts/AC1/Recordings/RE1",
        "https://api.dublin.ie1.twilio.com/2010-04-01/Accounts/AC1/Recordings/RE1",
        "https://API.Twilio.com:443/RE1",
        "http://127.0.0.1:8080/2010-04-01/Accounts/AC1/Recordings/RE1",
        "RE1",
    ] {
        let sent = bridge.url(&account(1), Some(&recording(2)), url, Millis(0), Millis(0));
        let link = "https://bridge.example.com/x/recordings/";
        assert!(sent.is_ok_and(|sent| sent.starts_with(link)), "{url}");
    }
    let (unusable, at) = ("s3://bucket/AC1/RE1", Millis(0));
    let sent = bridge.url(&account(1), Some(&recording(2)), unusable, at, at);
    assert!(sent.is_err_and(|why| why.contains("outside Twilio")));
}

#[test]
fn a_link_is_dead_after_its_expiry_and_without_its_secret() {
    let bridge = |secret| RecordingLinks::Bridge(signer(&[secret]));
    let link = signer(&[SECRET]).link(&account(1), &recording(2), Millis(0), Millis(0));
    assert!(!bridge(SECRET).is_dead(&link, Millis(59_999)));
    assert!(bridge(SECRET).is_dead(&link, Millis(60_000)));
    assert!(bridge("another").is_dead(&link, Millis(0)));
    assert!(RecordingLinks::default().is_dead(&link, Millis(0)));
    for other in [
        "https://api.twilio.com/2010-04-01/Accounts/AC1/Recordings/RE1",
        "https://bucket.s3.amazonaws.com/AC1/RE1.wav?X-Amz-Expires=60",
    ] {
        assert!(!bridge(SECRET).is_dead(other, Millis(0)), "{other}");
    }
    let renewed = signer(&[SECRET]).link(&account(1), &recording(2), Millis(0), Millis(60_000));
    assert!(is_same_link(&link, &renewed) && link != renewed);
    assert!(!is_same_link(&link, "https://api.twilio.com/RE1"));
}

#[test]
fn a_presigned_url_is_sent_until_it_expires() {
    let url = "https://bucket.s3.amazonaws.com/RE1?X-Amz-Date=20260101T080000Z&X-Amz-Expires=3600";
    let expires = Millis(1_767_258_000_000);
    for links in [
        RecordingLinks::default(),
        RecordingLinks::Bridge(signer(&[SECRET])),
    ] {
        let sent = |now| links.url(&account(1), Some(&recording(2)), url, Millis(0), now);
        assert_eq!(sent(Millis(expires.0 - 1)).as_deref(), Ok(url));
        assert!(sent(expires).is_err_and(|why| why.contains("has expired")));
        assert!(!links.is_dead(url, Millis(expires.0 - 1)));
        assert!(links.is_dead(url, expires));
    }
}
