//! Reads when a presigned URL of a storage service expires.
//!
//! Sources: AWS docs, "Authenticating requests: using query parameters (Signature Version 4)" and
//! "Signature Version 2"; Google Cloud docs, "Signed URLs"; Azure docs, "Create a service SAS".

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use percent_encoding::percent_decode_str;

use crate::clock::Millis;
use crate::twilio::RawUrl;

/// Whether the query of `url` says that it no longer works at `now`.
pub(super) fn has_expired(url: &str, now: Millis) -> bool {
    let expires = RawUrl::of(url).query.and_then(expires_at);
    expires.is_some_and(|expires| expires.as_millisecond() <= now.0)
}

/// The earliest expiry in a query; `None` if it has none that can be read.
fn expires_at(query: &str) -> Option<Timestamp> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let pairs: Vec<(String, String)> = pairs
        .map(|(name, value)| {
            let value = percent_decode_str(value).decode_utf8_lossy().into_owned();
            (name.to_ascii_lowercase(), value)
        })
        .collect();
    let value = |name: &str| {
        let mut found = pairs.iter().filter(|(known, _)| known == name);
        found.next().map(|(_, value)| value.as_str())
    };
    let versions_4 = ["x-amz", "x-goog", "x-oss"].into_iter().filter_map(|of| {
        let signed = value(&format!("{of}-date"))?;
        let signed = DateTime::strptime("%Y%m%dT%H%M%SZ", signed).ok()?;
        let seconds: i64 = value(&format!("{of}-expires"))?.parse().ok()?;
        let signed = signed.to_zoned_datetime(TimeZone::UTC).ok()?.timestamp();
        Timestamp::from_second(signed.as_second().checked_add(seconds)?).ok()
    });
    let seconds = value("expires").and_then(|text| text.parse().ok());
    let version_2 = seconds.and_then(|seconds| Timestamp::from_second(seconds).ok());
    // `se` is short: only beside a signature is it an expiry.
    let azure = value("se").filter(|_| value("sig").is_some()).and_then(iso);
    versions_4.chain(version_2).chain(azure).min()
}

/// A time in UTC as Azure writes it, with or without seconds, or a date alone.
fn iso(text: &str) -> Option<Timestamp> {
    let minutes = || DateTime::strptime("%Y-%m-%dT%H:%MZ", text).ok();
    let date = || text.parse::<Date>().ok().map(DateTime::from);
    let in_utc = |time: DateTime| Some(time.to_zoned_datetime(TimeZone::UTC).ok()?.timestamp());
    let whole = text.parse::<Timestamp>().ok();
    whole.or_else(|| minutes().or_else(date).and_then(in_utc))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_presigned_url_is_dead_from_its_expiry_on() {
        // 2026-01-01T09:00:00Z
        const EXPIRES: i64 = 1_767_258_000_000;
        for query in [
            "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date=20260101T080000Z&X-Amz-Expires=3600&X-Amz-Signature=0a",
            "x-amz-date=20260101T080000Z&x-amz-expires=3600",
            "X-Goog-Date=20260101T080000Z&X-Goog-Expires=3600&X-Goog-Signature=0a",
            "x-oss-date=20260101T080000Z&x-oss-expires=3600",
            "AWSAccessKeyId=AKIA&Expires=1767258000&Signature=a%2Fb",
            "GoogleAccessId=a%40b.example&Expires=1767258000&Signature=a",
            "sv=2024-11-04&sr=b&se=2026-01-01T09%3A00%3A00Z&sig=a",
            "se=2026-01-01T09:00Z&sig=a",
            "se=2026-01-01T10:00:00%2B01:00&sig=a",
            "Expires=1999999999&X-Amz-Date=20260101T080000Z&X-Amz-Expires=3600",
        ] {
            let url = format!("https://bucket.example.com/RE1.wav?{query}#t=1");
            assert!(!has_expired(&url, Millis(EXPIRES - 1)), "{query}");
            assert!(has_expired(&url, Millis(EXPIRES)), "{query}");
        }
        assert!(has_expired(
            "https://a.example/b?se=2026-01-01&sig=a",
            Millis(EXPIRES)
        ));
    }

    #[test]
    fn a_url_without_a_readable_expiry_is_never_dead() {
        for query in [
            "",
            "X-Amz-Expires=60",
            "X-Amz-Date=20260101T080000Z",
            "X-Amz-Date=yesterday&X-Amz-Expires=60",
            "X-Amz-Date=20260101T080000Z&X-Amz-Expires=9223372036854775807",
            "Expires=soon",
            "se=2026-01-01T09:00:00Z",
            "se=&sig=a",
            "sexpires=1",
        ] {
            let url = format!("https://bucket.example.com/RE1.wav?{query}");
            assert!(!has_expired(&url, Millis(i64::MAX)), "{query}");
        }
        assert!(!has_expired(
            "https://bucket.example.com/Expires=1",
            Millis(i64::MAX)
        ));
    }
}
