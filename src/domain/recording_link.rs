//! Makes the URL of a recording that Acquire gets: Twilio's own, or a signed link of the bridge.
//!
//! It does no I/O. The bridge signs links only of recordings that it sends to Acquire, so a valid
//! signature is enough to play a recording.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::clock::Millis;
use crate::twilio::{AccountSid, RecordingSid};

/// The served path, before the `RecordingSid`.
pub const PATH: &str = "/recordings/";

/// The domain of the hosts that store recordings at Twilio, one for each region.
const TWILIO_DOMAIN: &str = "twilio.com";

/// Separates these signatures from any other use of the same secret.
const SIGNED_AS: &str = "twilio-acquire-bridge recording link 1";

/// The kind of URL that Acquire gets (`recording.link`).
#[derive(Clone, Debug)]
pub enum RecordingLinks {
    /// Twilio's own URL; `format` is appended to it (`recording.format`).
    Twilio { format: &'static str },
    /// A link that the bridge serves.
    Bridge(LinkSigner),
}

impl Default for RecordingLinks {
    fn default() -> Self {
        Self::Twilio { format: "" }
    }
}

impl RecordingLinks {
    /// The URL of a recording at `now`, from a callback with `reported_url` that arrived at `arrived`; or
    /// why there is none. It always works at `now`.
    pub fn url(
        &self,
        account: &AccountSid,
        recording: Option<&RecordingSid>,
        reported_url: &str,
        arrived: Millis,
        now: Millis,
    ) -> Result<String, &'static str> {
        match self {
            _ if self.is_elsewhere(reported_url) => own_url(reported_url),
            Self::Twilio { format } => Ok(with_format(reported_url, format)),
            Self::Bridge(signer) => recording
                .map(|recording| signer.link(account, recording, arrived, now))
                .ok_or("the callback of the recording has no RecordingSid, which a link needs"),
        }
    }

    /// Whether links of the bridge are sent, and yet this recording's own URL, because Twilio does not
    /// store the recording and the bridge cannot fetch it.
    #[must_use]
    pub fn leaves_alone(&self, reported_url: &str) -> bool {
        matches!(self, Self::Bridge(_)) && self.is_elsewhere(reported_url)
    }

    /// Whether a recording is stored outside Twilio, for example in a bucket of the customer (Twilio
    /// docs, Recordings, "External storage"). A text without a host is not.
    fn is_elsewhere(&self, url: &str) -> bool {
        let api_host = match self {
            Self::Twilio { .. } => None,
            Self::Bridge(signer) => signer.api_host.as_deref(),
        };
        host(url).is_some_and(|host| {
            host != TWILIO_DOMAIN
                && !host.ends_with(&format!(".{TWILIO_DOMAIN}"))
                && Some(host.as_str()) != api_host
        })
    }

    /// Whether `url` is a link of a bridge that does not work at `now`.
    #[must_use]
    pub fn is_dead(&self, url: &str, now: Millis) -> bool {
        let Some((recording, query)) = link_parts(url) else {
            return false;
        };
        match self {
            // The bridge serves no links.
            Self::Twilio { .. } => LinkQuery::parse(query).is_some(),
            // Without keys, only the expiry can be checked.
            Self::Bridge(signer) if signer.keys.is_empty() => {
                LinkQuery::parse(query).is_some_and(|query| query.has_expired(now))
            }
            Self::Bridge(signer) => signer.verify(&recording, query, now).is_err(),
        }
    }
}

/// Whether two URLs are links to the same recording, with any expiry and secret.
#[must_use]
pub fn is_same_link(one: &str, other: &str) -> bool {
    let target = |url: &str| {
        let (recording, query) = link_parts(url)?;
        let query = LinkQuery::parse(query)?;
        Some((recording, query.account))
    };
    target(one).is_some_and(|same| target(other) == Some(same))
}

/// The recording and the query of a link.
fn link_parts(url: &str) -> Option<(RecordingSid, &str)> {
    let (path, query) = url.split_once('?')?;
    let (_, recording) = path.rsplit_once(PATH)?;
    Some((RecordingSid::parse(recording).ok()?, query))
}

/// The host of a URL in lower case, without port.
fn host(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?;
    Some(host.split(':').next()?.to_ascii_lowercase())
}

/// The URL of a recording outside Twilio, unchanged: it can be signed for its owner's storage.
fn own_url(url: &str) -> Result<String, &'static str> {
    let scheme = url.split(':').next().unwrap_or_default();
    if ["https", "http"]
        .iter()
        .any(|web| scheme.eq_ignore_ascii_case(web))
    {
        Ok(url.to_owned())
    } else {
        Err(
            "the recording is stored outside Twilio, and its RecordingUrl is not an https:// address",
        )
    }
}

/// Twilio's URL with the extension of the format; one that already has an extension keeps it.
fn with_format(url: &str, format: &str) -> String {
    let name = url.rsplit('/').next().unwrap_or_default();
    if name.contains(['.', '?']) {
        return url.to_owned();
    }
    format!("{url}{format}")
}

/// Signs links and checks them.
#[derive(Clone, Debug)]
pub struct LinkSigner {
    base: String,
    ttl: Duration,
    keys: Vec<LinkKey>,
    /// The host of `twilio.api_url`, which recordings are fetched from.
    api_host: Option<String>,
}

/// The key made of `recording.link_secret`.
#[derive(Clone)]
pub struct LinkKey(Hmac<Sha256>);

impl LinkKey {
    #[must_use]
    pub fn new(secret: &str) -> Self {
        Self(Hmac::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length"))
    }

    fn over(&self, account: &AccountSid, recording: &RecordingSid, expires: i64) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        mac.update(format!("{SIGNED_AS}\n{account}\n{recording}\n{expires}").as_bytes());
        mac
    }
}

impl fmt::Debug for LinkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

/// Why a link is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordingLinkError {
    #[error("this is not a link that this bridge made")]
    Forged,
    #[error("this link has expired")]
    Expired,
}

impl LinkSigner {
    /// `base` is the public URL, without `/` at its end. The first of `keys` signs, all are accepted.
    /// Without keys, as in a dry run, the links have no signature.
    #[must_use]
    pub fn new(base: String, ttl: Duration, keys: Vec<LinkKey>) -> Self {
        Self {
            base,
            ttl,
            keys,
            api_host: None,
        }
    }

    /// Counts the host of `api_url` as Twilio's, beside those of twilio.com.
    #[must_use]
    pub fn with_api_url(self, api_url: &str) -> Self {
        let api_host = host(api_url);
        Self { api_host, ..self }
    }

    /// The link to a recording, valid for the set time after `arrived`.
    ///
    /// If half of that time or more has passed at `now`, the link is valid longer by as many halves: a
    /// link that is sent works for at least half of the set time. Within each half the link is the same.
    #[must_use]
    pub fn link(
        &self,
        account: &AccountSid,
        recording: &RecordingSid,
        arrived: Millis,
        now: Millis,
    ) -> String {
        let url = format!("{}{PATH}{recording}", self.base);
        let Some(key) = self.keys.first() else {
            return url;
        };
        let half = self.ttl / 2;
        let halves = now.since(arrived).as_millis() / half.as_millis().max(1);
        let halves = u32::try_from(halves).unwrap_or(u32::MAX);
        let valid = self.ttl.saturating_add(half.saturating_mul(halves));
        let expires = arrived.plus(valid).0.div_euclid(1_000);
        let signature = key.over(account, recording, expires).finalize();
        let signature = URL_SAFE_NO_PAD.encode(signature.into_bytes());
        format!("{url}?account={account}&expires={expires}&signature={signature}")
    }

    /// The account of `recording`, if a link with this query is valid at `now`. The signature is
    /// compared in constant time and checked before the expiry, which a forged link must not reveal.
    ///
    /// # Errors
    /// The link is forged or has expired.
    pub fn verify(
        &self,
        recording: &RecordingSid,
        query: &str,
        now: Millis,
    ) -> Result<AccountSid, RecordingLinkError> {
        let link = LinkQuery::parse(query).ok_or(RecordingLinkError::Forged)?;
        let is_valid = |key: &LinkKey| {
            key.over(&link.account, recording, link.expires)
                .verify_slice(&link.signature)
                .is_ok()
        };
        if !self.keys.iter().any(is_valid) {
            return Err(RecordingLinkError::Forged);
        }
        if link.has_expired(now) {
            return Err(RecordingLinkError::Expired);
        }
        Ok(link.account)
    }
}

/// The query of a link.
struct LinkQuery {
    account: AccountSid,
    /// Seconds since the Unix epoch.
    expires: i64,
    signature: Vec<u8>,
}

impl LinkQuery {
    fn has_expired(&self, now: Millis) -> bool {
        now.0.div_euclid(1_000) >= self.expires
    }

    /// Accepts only the three keys in the order in which a link has them.
    fn parse(query: &str) -> Option<Self> {
        let rest = query.strip_prefix("account=")?;
        let (account, rest) = rest.split_once("&expires=")?;
        let (expires, signature) = rest.split_once("&signature=")?;
        let expires_at: i64 = expires.parse().ok()?;
        // A link has one form: `+5` and `05` are rejected.
        if expires != expires_at.to_string() {
            return None;
        }
        Some(Self {
            account: AccountSid::parse(account).ok()?,
            expires: expires_at,
            signature: URL_SAFE_NO_PAD.decode(signature).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECRET: &str = "made-up-secret-of-32-characters!";
    const TTL: Duration = Duration::from_secs(60);

    fn linker(secrets: &[&str]) -> LinkSigner {
        let keys = secrets.iter().map(|secret| LinkKey::new(secret)).collect();
        LinkSigner::new("https://bridge.example.com/x".to_owned(), TTL, keys)
    }

    fn account(number: u128) -> AccountSid {
        AccountSid::parse(&format!("AC{number:032x}")).expect("a SID")
    }

    fn recording(number: u128) -> RecordingSid {
        RecordingSid::parse(&format!("RE{number:032x}")).expect("a SID")
    }

    fn query(link: &str) -> &str {
        link.split_once('?').expect("a query").1
    }

    #[test]
    fn a_link_is_as_documented() {
        // Checked with: printf '...' | openssl dgst -sha256 -hmac SECRET -binary | basenc --base64url
        assert_eq!(
            linker(&[SECRET]).link(
                &account(1),
                &recording(2),
                Millis(1_790_000_000_999),
                Millis(1_790_000_000_999)
            ),
            "https://bridge.example.com/x/recordings/RE00000000000000000000000000000002\
             ?account=AC00000000000000000000000000000001&expires=1790000060\
             &signature=abOfXNbgllwgKa8MU8xLZkxZJZX_pS2106LcFyz5JUc"
        );
    }

    #[test]
    fn without_a_secret_a_link_is_shown_and_none_is_valid() {
        let linker = linker(&[]);
        let shown = linker.link(&account(1), &recording(2), Millis(0), Millis(0));
        assert!(shown.ends_with("/recordings/RE00000000000000000000000000000002"));
        let signed =
            super::tests::linker(&[SECRET]).link(&account(1), &recording(2), Millis(0), Millis(0));
        let told = linker.verify(&recording(2), query(&signed), Millis(0));
        assert_eq!(told, Err(RecordingLinkError::Forged));
    }

    #[test]
    fn a_new_secret_signs_while_links_of_the_old_one_hold() {
        let old = linker(&["the-old-one"]).link(&account(1), &recording(2), Millis(0), Millis(0));
        let both = linker(&[SECRET, "the-old-one"]);
        assert_eq!(
            both.verify(&recording(2), query(&old), Millis(0)),
            Ok(account(1))
        );
        let new = both.link(&account(1), &recording(2), Millis(0), Millis(0));
        assert_eq!(
            new,
            linker(&[SECRET]).link(&account(1), &recording(2), Millis(0), Millis(0))
        );
    }

    #[test]
    fn what_is_no_query_of_a_link_is_forged() {
        let linker = linker(&[SECRET]);
        let link = linker.link(&account(1), &recording(2), Millis(0), Millis(0));
        let good = query(&link);
        for bad in [
            String::new(),
            format!("{good}&x=1"),
            format!("x=1&{good}"),
            format!("{good}="),
            format!("{good}&{good}"),
            good.replace("expires=", "expires=x"),
            good.replace("expires=", "expires=+"),
            good.replace("expires=", "expires=0"),
            good.replace("AC0", "AC1"),
            good.replace("account", "Account"),
            good.split_once("&signature")
                .expect("a signature")
                .0
                .to_owned(),
        ] {
            let told = linker.verify(&recording(2), &bad, Millis(0));
            assert_eq!(told, Err(RecordingLinkError::Forged), "{bad}");
        }
    }

    #[test]
    fn twilios_own_url_gets_the_format_and_a_link_needs_a_sid() {
        let twilio = RecordingLinks::Twilio { format: ".mp3" };
        let url = |links: &RecordingLinks, url: &str| {
            links.url(&account(1), None, url, Millis(0), Millis(0))
        };
        assert_eq!(
            url(&twilio, "https://api.twilio.com/RE1").as_deref(),
            Ok("https://api.twilio.com/RE1.mp3")
        );
        let bridge = RecordingLinks::Bridge(linker(&[SECRET]));
        assert!(url(&bridge, "https://api.twilio.com/RE1").is_err());
    }

    #[test]
    fn a_recording_outside_twilio_keeps_its_own_url() {
        let twilio = RecordingLinks::Twilio { format: ".mp3" };
        let bridge =
            RecordingLinks::Bridge(linker(&[SECRET]).with_api_url("http://127.0.0.1:9000"));
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
            let sent = sent.expect("a link");
            assert!(
                sent.starts_with("https://bridge.example.com/x/recordings/"),
                "{sent}"
            );
        }
        let unusable = "s3://bucket/AC1/RE1";
        let sent = bridge.url(
            &account(1),
            Some(&recording(2)),
            unusable,
            Millis(0),
            Millis(0),
        );
        assert!(sent.is_err_and(|why| why.contains("outside Twilio")));
    }

    #[test]
    fn a_link_is_dead_after_its_expiry_and_without_its_secret() {
        let bridge = |secret| RecordingLinks::Bridge(linker(&[secret]));
        let link = linker(&[SECRET]).link(&account(1), &recording(2), Millis(0), Millis(0));
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
        let renewed = linker(&[SECRET]).link(&account(1), &recording(2), Millis(0), Millis(60_000));
        assert!(is_same_link(&link, &renewed) && link != renewed);
        assert!(!is_same_link(&link, "https://api.twilio.com/RE1"));
    }

    proptest! {
        #[test]
        fn a_link_holds_until_it_expires(
            a: u128, r: u128, arrived in 0..4_000_000_000_000_i64, after in 0..120_000_i64,
        ) {
            let linker = linker(&[SECRET]);
            let link = linker.link(&account(a), &recording(r), Millis(arrived), Millis(arrived));
            let now = Millis(arrived + after);
            let told = linker.verify(&recording(r), query(&link), now);
            let expires = (arrived + 60_000) / 1_000;
            let expected = if now.0 / 1_000 < expires { Ok(account(a)) } else { Err(RecordingLinkError::Expired) };
            prop_assert_eq!(told, expected);
        }

        #[test]
        fn a_link_that_is_sent_holds_for_half_its_time(
            arrived in 0..4_000_000_000_000_i64, after in 0..1_000_000_000_i64,
        ) {
            let linker = linker(&[SECRET]);
            let now = Millis(arrived + after);
            let link = linker.link(&account(1), &recording(2), Millis(arrived), now);
            let valid_at = |seconds| {
                let at = now.plus(Duration::from_secs(seconds));
                linker.verify(&recording(2), query(&link), at).is_ok()
            };
            prop_assert!(valid_at(29));
            prop_assert!(!valid_at(60));
            let again = linker.link(&account(1), &recording(2), Millis(arrived), now);
            prop_assert_eq!(link, again);
        }

        #[test]
        fn a_link_holds_for_no_other_account_recording_time_or_secret(
            a: u128, r: u128, other in 1..=u128::MAX, later in 1..1_000_000_i64,
        ) {
            let linker = linker(&[SECRET]);
            let link = linker.link(&account(a), &recording(r), Millis(0), Millis(0));
            let good = query(&link);
            let forged = |sid: &RecordingSid, query: &str| {
                linker.verify(sid, query, Millis(0)) == Err(RecordingLinkError::Forged)
            };
            prop_assert!(forged(&recording(r ^ other), good));
            let another = account(a ^ other);
            prop_assert!(forged(
                &recording(r), &good.replace(account(a).as_str(), another.as_str()),
            ));
            let longer = format!("expires={}&", 60 + later);
            prop_assert!(forged(&recording(r), &good.replace("expires=60&", &longer)));
            let by_another = super::tests::linker(&["another"])
                .link(&account(a), &recording(r), Millis(0), Millis(0));
            prop_assert!(forged(&recording(r), query(&by_another)));
        }

        #[test]
        fn a_changed_signature_never_holds(position in 0..43_usize, letter in "[A-Za-z0-9_-]") {
            let linker = linker(&[SECRET]);
            let link = linker.link(&account(1), &recording(2), Millis(0), Millis(0));
            let at = link.len() - 43 + position;
            let mut changed = link.clone();
            changed.replace_range(at..=at, &letter);
            prop_assume!(changed != link);
            let told = linker.verify(&recording(2), query(&changed), Millis(0));
            prop_assert_eq!(told, Err(RecordingLinkError::Forged));
        }

        #[test]
        fn nothing_else_holds(query in ".{0,200}") {
            let told = linker(&[SECRET]).verify(&recording(2), &query, Millis(0));
            prop_assert_eq!(told, Err(RecordingLinkError::Forged));
        }
    }
}
