//! Each problem in the store, the secrets and the certificate, caused for real.

use std::path::Path;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use twilio_acquire_bridge::clock::{Clock, Millis};
use twilio_acquire_bridge::config::StoreUrl;
use twilio_acquire_bridge::domain::call_addresses::CallTerms;
use twilio_acquire_bridge::domain::cause::Cause;
use twilio_acquire_bridge::domain::class::Class;
use twilio_acquire_bridge::store::{
    self, ClaimRequest, NextState, RefusedLimits, RefusedRequest, Settlement, Store,
};

use super::{acquire, bridge, doctor, output_of, problems, record, set_mode};

const HOST: &str = "bridge.example.com";

fn sid(n: usize) -> String {
    format!("CA{n:032}")
}

/// The problems that `doctor --offline` reports, one line each.
fn found(folder: &Path, settings: &[(&str, &str)]) -> Vec<String> {
    let mut command = doctor(folder, "http://127.0.0.1:9", &["--offline"]);
    command.envs(settings.iter().copied());
    let (found, code) = problems(&mut command);
    assert_eq!(code, i32::from(!found.is_empty()), "{found:?}");
    found
}

fn has(found: &[String], words: &[&str]) {
    let is_found = |sentence: &String| words.iter().all(|word| sentence.contains(word));
    assert!(found.iter().any(is_found), "{words:?} in {found:#?}");
}

#[test]
fn secrets_that_cannot_be_secrets_are_reported_by_doctor_and_check() {
    let folder = tempfile::tempdir().expect("a folder");
    let token = "0123456789abcdef0123456789abcdef";
    for (text, words) in [
        (format!("AC{token}"), "the SID of an account"),
        (format!("SK{token}"), "the SID of an API key"),
        (format!("'{token}'"), "quotes"),
        ("your_auth_token".to_owned(), "32 hexadecimal digits"),
    ] {
        let settings = [("TWILIO_AUTH_TOKEN", text.as_str())];
        let reported = found(folder.path(), &settings);
        assert_eq!(reported.len(), 1, "{reported:?}");
        has(&reported, &["TWILIO_AUTH_TOKEN", words]);
        assert!(!reported[0].contains(&text), "the secret is not printed");
        let check = |args: &[&str]| {
            let mut check = bridge(&["check"]);
            check
                .args(args)
                .env("TWILIO_AUTH_TOKEN", &text)
                .env("ACQUIRE_ACCOUNT_ID", "acme")
                .env("BRIDGE__SERVER__PUBLIC_URL", "https://bridge.example.com");
            output_of(&mut check)
        };
        let (_, err, code) = check(&[]);
        assert_eq!(code, 0, "a fake Twilio may have such a token");
        assert!(
            err.starts_with("warning: twilio.auth_tokens (TWILIO_AUTH_TOKEN)"),
            "{err}"
        );
        let (out, _, _) = check(&["--json"]);
        let json: serde_json::Value = serde_json::from_str(&out).expect("JSON");
        assert!(json["warnings"][0].as_str().expect("one").contains(words));
    }
}

fn refused(cause: &str, at: Millis) -> RefusedRequest {
    RefusedRequest {
        at,
        cause: cause.to_owned(),
        explanation: "The URL at Twilio has another host.\nSet server.public_url.".to_owned(),
        status: 403,
        peer: "203.0.113.7".to_owned(),
        method: "POST".to_owned(),
        target: "/twilio/voice/status".to_owned(),
        url: "https://bridge.example.com/twilio/voice/status".to_owned(),
        headers: "user-agent: TwilioProxy/1.1\nx-twilio-signature: bm8=\n".to_owned(),
        body: (&b""[..]).into(),
        body_bytes: 0,
    }
}

/// As scanners send it.
fn scanned(cause: &str, at: Millis) -> RefusedRequest {
    RefusedRequest {
        headers: "user-agent: a scanner\n".to_owned(),
        ..refused(cause, at)
    }
}

/// Parks the calls that are due.
async fn park(store: &dyn Store, reason: &str, now: Millis) {
    let lease = Duration::from_secs(60);
    let claimed = store.claim(now, lease, ClaimRequest::any(100)).await;
    for call in claimed.expect("claimed").calls {
        let settlement = Settlement {
            class: Class::Parked,
            attempt: None,
            next: NextState::Parked(Cause::Refused(422), format!("{reason} (leg {})", call.sid)),
            failing_since: None,
            terms: CallTerms::default(),
        };
        let settled = store.settle(call.ticket, settlement, now).await;
        settled.expect("settled");
    }
}

#[test]
fn parked_overdue_and_refused_calls_are_all_reported_by_cause() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("bridge.db");
    let store = store::open(&StoreUrl::Sqlite(file)).expect("a store");
    let now = Clock::system().now();
    let (hour, week) = (Duration::from_secs(3_600), Duration::from_secs(7 * 86_400));
    let all = async {
        for (first, count, reason) in [
            (1, 3, "Acquire refused it with 422"),
            (11, 1, "it has no To"),
        ] {
            for n in first..first + count {
                record(&*store, &sid(n), now.minus(hour)).await;
            }
            park(&*store, reason, now).await;
        }
        record(&*store, &sid(21), now.minus(hour * 2)).await;
        record(&*store, &sid(22), now.minus(hour)).await;
        record(&*store, &sid(23), now).await;
        let old = now.minus(week + hour);
        let requests = vec![
            refused("host", now.minus(hour)),
            refused("host", now),
            refused("no-match", now),
            refused("scheme", old),
            scanned("not-found", now),
            scanned("no-signature", now),
            scanned("wrong-method", now),
            // A proxy removed the signature of a callback.
            RefusedRequest {
                body: (&b"AccountSid=AC00000000000000000000000000000001"[..]).into(),
                ..scanned("no-signature", now.minus(hour))
            },
            // The URL at Twilio has another path.
            refused("not-found", now.minus(hour)),
            // The content of a request does not change with a setting.
            RefusedRequest {
                status: 400,
                ..refused("lookalike", now)
            },
        ];
        let limits = RefusedLimits {
            most: 100,
            retention: week * 4,
        };
        let kept = store.refuse(requests, limits, now).await;
        kept.expect("kept");
    };
    actix_web::rt::System::new().block_on(all);
    drop(store);
    let found = found(folder.path(), &[]);
    has(
        &found,
        &["3 calls parked: Acquire refused it with 422", "requeue"],
    );
    has(&found, &["1 call parked: it has no To", &sid(11)]);
    has(&found, &["2 calls overdue", &sid(21)]);
    has(
        &found,
        &[
            "2 requests refused with cause host",
            "Set server.public_url",
            "; after the fix, export --refused 2 and replay repair",
        ],
    );
    has(&found, &["1 request refused with cause no-match"]);
    has(&found, &["1 request refused with cause no-signature"]);
    has(&found, &["1 request refused with cause not-found"]);
    let of_content = found.iter().find(|of| of.contains("cause lookalike"));
    assert!(!of_content.expect("it").contains("replay"), "{found:#?}");
    assert_eq!(found.len(), 8, "an old refusal is no problem: {found:#?}");
    let (out, _, _) = output_of(&mut doctor(
        folder.path(),
        "http://127.0.0.1:9",
        &["--offline"],
    ));
    assert!(out.contains("refused with cause scheme"), "{out}");
    assert!(
        out.contains("3 requests refused that Twilio did not send"),
        "{out}"
    );
    assert!(out.contains("schema 1, SQLite 3."), "{out}");
}

/// An authority, an intermediate one, and the certificates of servers.
struct Authorities {
    root: CertifiedIssuer<'static, KeyPair>,
    between: CertifiedIssuer<'static, KeyPair>,
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new([HOST.to_owned()]).expect("a name");
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

impl Authorities {
    fn new() -> Self {
        let authority = |name| {
            let mut params = CertificateParams::new([]).expect("no names");
            params.distinguished_name.push(DnType::CommonName, name);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            (params, KeyPair::generate().expect("a key"))
        };
        let (params, key) = authority("Made-up Root");
        let root = CertifiedIssuer::self_signed(params, key).expect("a certificate");
        let (params, key) = authority("Made-up Intermediate");
        let between = CertifiedIssuer::signed_by(params, key, &root).expect("a certificate");
        Self { root, between }
    }

    /// Writes a chain and its key.
    fn write(&self, folder: &Path, params: &CertificateParams, with_intermediate: &str) {
        let key = KeyPair::generate().expect("a key");
        let own = params.signed_by(&key, &self.between).expect("signed");
        write(folder, &(own.pem() + with_intermediate), &key);
    }
}

fn write(folder: &Path, chain: &str, key: &KeyPair) {
    for (name, text) in [("chain.pem", chain), ("key.pem", &key.serialize_pem())] {
        let file = folder.join(name);
        std::fs::write(&file, text).expect("a file");
        set_mode(&file, 0o600);
    }
}

#[test]
fn a_certificate_that_twilio_would_refuse_is_reported_with_all_its_problems() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let authorities = Authorities::new();
    let between = authorities.between.pem();
    std::fs::write(path("root.pem"), authorities.root.pem()).expect("a file");
    let (chain, key, root) = (path("chain.pem"), path("key.pem"), path("root.pem"));
    let trusting = |root: &str| {
        found(
            folder.path(),
            &[
                ("BRIDGE__SERVER__TLS_CERT_FILE", &chain),
                ("BRIDGE__SERVER__TLS_KEY_FILE", &key),
                ("BRIDGE__SERVER__LISTEN", "127.0.0.1:1"),
                ("SSL_CERT_FILE", root),
            ],
        )
    };
    let good = params(HOST);
    authorities.write(folder.path(), &good, &between);
    assert_eq!(trusting(&root), [""; 0]);

    let mut expired = good.clone();
    expired.not_after = date_time_ymd(2020, 1, 2);
    let mut future = good.clone();
    future.not_before = date_time_ymd(4000, 1, 1);
    let mut other = CertificateParams::new(["other.example.com".to_owned()]).expect("a name");
    other.not_after = date_time_ymd(2020, 1, 2);
    for (params, intermediate, problems) in [
        (&expired, between.as_str(), vec!["expired at 2020-01-02"]),
        (&future, &between, vec!["valid only from 4000-01-01"]),
        (&good, "", vec!["Made-up Intermediate after"]),
        (
            &other,
            "",
            vec![
                "expired at 2020-01-02",
                "not valid for bridge.example.com",
                "intermediate certificate",
            ],
        ),
    ] {
        authorities.write(folder.path(), params, intermediate);
        let found = trusting(&root);
        assert_eq!(found.len(), problems.len(), "{found:#?}");
        for words in problems {
            has(&found, &["server.tls_cert_file", words]);
        }
    }
    authorities.write(folder.path(), &good, &between);
    let other_root = Authorities::new().root.pem();
    std::fs::write(path("other.pem"), other_root).expect("a file");
    has(
        &trusting(&path("other.pem")),
        &["Made-up Root", "public authority"],
    );
    let own_key = KeyPair::generate().expect("a key");
    let own = good.self_signed(&own_key).expect("a certificate");
    write(folder.path(), &own.pem(), &own_key);
    has(&trusting(&root), &["self-signed"]);
    write(
        folder.path(),
        &own.pem(),
        &KeyPair::generate().expect("a key"),
    );
    has(
        &trusting(&root),
        &["do not go together", "serve cannot start"],
    );
}

#[test]
fn the_clock_is_compared_with_twilio_and_acquire() {
    let folder = tempfile::tempdir().expect("a folder");
    let acquire = acquire();
    let (out, _, _) = output_of(&mut doctor(folder.path(), &acquire.base_url(), &[]));
    assert_eq!(
        out.matches("the clock agrees with that of").count(),
        2,
        "{out}"
    );
    assert_eq!(acquire.received().len(), 0, "nothing is posted");
}
