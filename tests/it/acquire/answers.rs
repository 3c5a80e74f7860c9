//! Each reply of the fake Acquire leads to the right outcome.

use std::time::Duration;

use secrecy::SecretString;
use twilio_acquire_bridge::acquire::response::{SuccessRule, outcome_of};
use twilio_acquire_bridge::acquire::{DeliveryFault, Outcome};
use twilio_acquire_bridge::debugging::fake_acquire::{FakeAcquire, Faults, Reply, Retain, Share};

use super::{Bridge, CALL_END, NOW, SAVED, SHORT_TIMEOUT, again};

fn sink() -> FakeAcquire {
    let listen = ([127, 0, 0, 1], 0).into();
    FakeAcquire::start(listen, Faults::default(), Retain::All).expect("a port is free")
}

fn too_many(retry_after: &str) -> Reply {
    Reply::TooMany {
        retry_after: retry_after.to_owned(),
    }
}

fn busy_for(seconds: u64) -> Outcome {
    Outcome::Retry {
        fault: DeliveryFault::Busy,
        after: Some(Duration::from_secs(seconds)),
    }
}

#[actix_web::test]
async fn a_call_end_arrives_as_acquire_documents_it() {
    let sink = sink();
    let mut bridge = Bridge::to(format!("{}/{{account_id}}", sink.base_url()));
    bridge.account.acquire_api_key = Some(SecretString::from("made-up-key"));

    let answer = bridge.sends().await;

    assert_eq!(answer.outcome, Outcome::Accepted);
    assert_eq!(answer.status, Some(200));
    assert_eq!(answer.excerpt, SAVED);
    let received = &sink.received()[0];
    assert_eq!(received.method, "POST");
    assert_eq!(received.path, "/acme/api/v1/voip/call-answered");
    assert_eq!(received.body, CALL_END);
    assert_eq!(
        received.header("host"),
        Some(sink.addr().to_string().as_str())
    );
    assert_eq!(received.header("content-type"), Some("application/json"));
    assert_eq!(received.header("authorization"), Some("Bearer made-up-key"));
    let agent = received.header("user-agent").expect("it is sent");
    assert!(agent.starts_with("twilio-acquire-bridge/"), "{agent}");
}

#[actix_web::test]
async fn without_a_key_no_authorization_is_sent() {
    let sink = sink();
    Bridge::to(sink.base_url()).sends().await;
    assert_eq!(sink.received()[0].header("authorization"), None);
}

#[test]
fn an_answer_counts_by_its_own_code_and_without_contradiction() {
    let echo = r#"{"error":{"type":"ERROR_INVALID_INPUT"},"input":{"From":"sip:ERROR_DUPLICATE_RECORD_FOUND@x"}}"#;
    let contradicted = r#"{"success":true,"data":{"success":false,"message":"not saved"}}"#;
    for (status, body, outcome) in [
        (
            400,
            r#"{"error":"ERROR_DUPLICATE_RECORD_FOUND"}"#,
            Outcome::AcceptedAsRepeat,
        ),
        (400, echo, Outcome::Refused),
        (200, contradicted, again(DeliveryFault::SuccessFalse)),
    ] {
        let found = outcome_of(SuccessRule::Body, status, None, body.as_bytes(), NOW);
        assert_eq!(found, outcome, "{body}");
    }
}

#[actix_web::test]
async fn every_answer_of_the_fake_acquire_has_its_outcome() {
    let sink = sink();
    let bridge = Bridge::to(sink.base_url());
    for (reply, status, outcome) in [
        (Reply::Saved, Some(200), Outcome::Accepted),
        (Reply::Status(503), Some(503), again(DeliveryFault::Busy)),
        (
            Reply::Status(401),
            Some(401),
            again(DeliveryFault::Configuration),
        ),
        (
            Reply::Status(404),
            Some(404),
            again(DeliveryFault::Configuration),
        ),
        (
            Reply::Status(204),
            Some(204),
            again(DeliveryFault::Unreadable),
        ),
        (
            Reply::SuccessFalse,
            Some(200),
            again(DeliveryFault::SuccessFalse),
        ),
        (Reply::Html, Some(200), again(DeliveryFault::Unreadable)),
        (Reply::Duplicate, Some(400), Outcome::AcceptedAsRepeat),
        (Reply::Invalid, Some(400), Outcome::Refused),
        (Reply::Reset, None, again(DeliveryFault::Reset)),
        (too_many("7"), Some(429), busy_for(7)),
        (
            too_many("Tue, 14 Nov 2023 22:14:20 GMT"),
            Some(429),
            busy_for(60),
        ),
        (
            too_many("Tue, 14 Nov 2000 22:14:20 GMT"),
            Some(429),
            again(DeliveryFault::Busy),
        ),
        (too_many("-7"), Some(429), again(DeliveryFault::Busy)),
        (too_many("soon"), Some(429), again(DeliveryFault::Busy)),
        (too_many(""), Some(429), again(DeliveryFault::Busy)),
        (too_many("31536000"), Some(429), busy_for(31_536_000)),
        (
            too_many("123456789012345678901234567890"),
            Some(429),
            busy_for(u32::MAX.into()),
        ),
        (Reply::Saved, Some(200), Outcome::Accepted),
    ] {
        sink.answers([reply.clone()]);
        let answer = bridge.sends().await;
        assert_eq!(answer.outcome, outcome, "{reply:?}: {answer:?}");
        assert_eq!(answer.status, status, "{reply:?}");
    }
}

#[actix_web::test]
async fn a_slow_answer_ends_with_the_time_limit() {
    let sink = sink();
    sink.behaves(Faults {
        delay: Duration::from_secs(60),
        ..Faults::default()
    });
    let answer = Bridge::with_timeout(SHORT_TIMEOUT, sink.base_url())
        .sends()
        .await;
    assert_eq!(answer.outcome, again(DeliveryFault::TimeOut));
    assert_eq!(answer.status, None);
    assert!(answer.excerpt.contains("within 200ms"), "{answer:?}");
}

#[actix_web::test]
async fn the_fake_acquire_fails_by_share_and_the_same_for_the_same_seed() {
    let share = |text: &str| text.parse::<Share>().expect("it is a share");
    let mut runs = Vec::new();
    for _ in 0..2 {
        let sink = sink();
        sink.behaves(Faults {
            shares: vec![share("503:0.3"), share("duplicate:0.3")],
            seed: 7,
            ..Faults::default()
        });
        let bridge = Bridge::to(sink.base_url());
        for _ in 0..100 {
            bridge.sends().await;
        }
        sink.reached(100).await;
        let replies: Vec<Reply> = sink.received().into_iter().map(|r| r.reply).collect();
        runs.push(replies);
    }
    assert_eq!(runs[0], runs[1]);
    for reply in [Reply::Status(503), Reply::Duplicate, Reply::Saved] {
        let count = runs[0].iter().filter(|given| **given == reply).count();
        assert!((15..=55).contains(&count), "{reply}: {count} of 100");
    }
}

#[actix_web::test]
async fn the_fake_acquire_retains_no_more_than_its_setting() {
    let listen = ([127, 0, 0, 1], 0).into();
    for (keep, call_ids) in [(Retain::CallIds, 3), (Retain::Nothing, 0)] {
        let sink = FakeAcquire::start(listen, Faults::default(), keep).expect("a port is free");
        let bridge = Bridge::to(sink.base_url());
        for _ in 0..3 {
            bridge.sends().await;
        }
        assert_eq!(sink.count(), 3);
        assert_eq!(sink.call_ids().len(), call_ids);
        assert!(sink.received().is_empty());
    }
}
