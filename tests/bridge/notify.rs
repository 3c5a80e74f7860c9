//! Notifications and the heartbeat of a running bridge.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value;
use sha2::Sha256;
use twilio_acquire_bridge::debugging::fake_acquire::{CapturedRequest, FakeAcquire, Faults, Reply};
use twilio_acquire_bridge::store::{ReadStore as _, SqliteReader};

use crate::support::harness::{Bridge, until};
use crate::support::serve::{Serve, command_to_serve, reached, sink};
use crate::support::twilio::{PUBLIC_URL, STATUS, sid, status_form};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const TURN: Duration = Duration::from_secs(5);

fn json_receiver(receiver: &FakeAcquire) -> String {
    let url = receiver.base_url();
    format!("[[notify]]\nurl = \"{url}/hook?token=of-the-url\"\nsecret = \"{SECRET}\"\n")
}

/// A bridge that notifies this receiver.
fn notifying(receiver: &FakeAcquire) -> Bridge {
    let mut bridge = Bridge::start();
    bridge.restarts_with(&json_receiver(receiver));
    bridge
}

fn body(request: &CapturedRequest) -> Value {
    serde_json::from_str(&request.body).expect("JSON")
}

impl Bridge {
    /// Turns the clock until the receiver has so many messages.
    fn notifies(&self, receiver: &FakeAcquire, count: u64) -> Vec<CapturedRequest> {
        until("a message arrives", || {
            self.clock.advance(TURN);
            receiver.count() >= count
        });
        receiver.received()
    }

    /// Turns the clock for this time, in which the receiver gets no further message.
    fn stays_silent(&self, receiver: &FakeAcquire, time: Duration) {
        let before = receiver.count();
        let failures = self.metric("bridge_notify_failures_total{kind=\"json\"}");
        let until = self.clock.now().plus(time);
        while self.clock.now() < until {
            self.clock.advance(TURN);
            // The bridge answers, so that its tasks had their turn.
            assert_eq!(self.admin("GET", "/readyz", &[]).status, 200);
        }
        assert_eq!(receiver.count(), before, "{:?}", receiver.received());
        let after = self.metric("bridge_notify_failures_total{kind=\"json\"}");
        assert_eq!(after, failures);
    }

    fn parks(&self, calls: std::ops::Range<usize>) {
        self.acquire_replies(Reply::Status(422));
        for call in calls {
            assert_eq!(self.twilio.ends(&sid(call), "completed").status, 204);
        }
        self.settles();
    }

    fn acquire_is_down(&self, first: usize) {
        self.acquire_replies(Reply::Status(503));
        for call in first..first + 8 {
            self.twilio.ends(&sid(call), "completed");
        }
        until("the breaker opens", || self.breaker() == Some(1.0));
    }

    fn acquire_is_back(&self) {
        self.acquire_replies(Reply::Saved);
        until("the breaker closes", || {
            self.clock.advance(TURN);
            self.breaker() == Some(0.0)
        });
    }

    fn breaker(&self) -> Option<f64> {
        self.metric("bridge_breaker_open{account=\"acme\"} ")
    }
}

#[test]
fn calls_parked_within_a_minute_make_one_signed_message_and_their_end_another() {
    let receiver = sink(Faults::default());
    let bridge = notifying(&receiver);
    for part in 0..10 {
        bridge.parks(part * 20 + 1..part * 20 + 21);
        bridge.waits(TURN);
    }
    let got = bridge.notifies(&receiver, 1);
    bridge.stays_silent(&receiver, 2 * Duration::from_secs(300));
    let message = body(&got[0]);
    assert_eq!(message["type"], "condition.opened");
    let data = &message["data"];
    assert_eq!(data["condition"], "need-decision");
    assert_eq!(data["sentence"], "200 calls need a decision.");
    assert_eq!(data["count"], 200);
    assert_eq!(data["causes"][0]["cause"], "refused-422");
    assert_eq!(data["causes"][0]["count"], 200);
    assert!(data["example"].as_str().expect("a SID").starts_with("CA"));
    assert!(data["link"].as_str().expect("a link").ends_with("/parked"));
    let status = bridge.admin("GET", "/api/status", &[]).json();
    assert_eq!(status["sentence"], data["sentence"]);

    let header = |name| got[0].header(name).expect("a header");
    let (id, timestamp) = (header("webhook-id"), header("webhook-timestamp"));
    let key = STANDARD.decode(SECRET.trim_start_matches("whsec_"));
    let mut mac = Hmac::<Sha256>::new_from_slice(&key.expect("Base64")).expect("a key");
    mac.update(format!("{id}.{timestamp}.{}", got[0].body).as_bytes());
    let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    assert_eq!(header("webhook-signature"), expected);

    bridge.acquire_replies(Reply::Saved);
    let run = bridge.runs(&["requeue", "--state", "parked", "--yes"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    bridge.settles();
    let end = body(&bridge.notifies(&receiver, 2)[1]);
    assert_eq!(end["type"], "condition.closed");
    assert_eq!(
        end["data"]["sentence"],
        "No call needs a decision any more. All is well: 200 calls today, all in Acquire."
    );
    bridge.stays_silent(&receiver, Duration::from_secs(300));
    let sent = bridge.metric("bridge_notify_sent_total{kind=\"json\"}");
    assert_eq!(sent, Some(2.0));
}

#[test]
fn an_outage_of_acquire_makes_a_message_at_once_and_a_restart_neither_repeats_nor_ends_it() {
    let receiver = sink(Faults::default());
    let mut bridge = notifying(&receiver);
    bridge.acquire_is_down(1);
    let data = body(&bridge.notifies(&receiver, 1)[0])["data"].clone();
    assert_eq!(data["condition"], "unreachable");
    assert_eq!(data["subject"], "acme");
    assert_eq!(data["causes"][0]["cause"], "503");
    assert!(data["example"].as_str().expect("a SID").starts_with("CA"));
    bridge.counts("bridge_notify_sent_total{kind=\"json\"}", 1.0);

    // Nothing is sent meanwhile, so that the new process does not know whether Acquire is back.
    bridge.acquire_replies(Reply::Status(503));
    bridge.stops();
    bridge.clock.advance(Duration::from_secs(600));
    bridge.starts();
    bridge.stays_silent(&receiver, Duration::from_secs(60));

    bridge.acquire_is_back();
    let end = body(&bridge.notifies(&receiver, 2)[1]);
    assert_eq!(end["type"], "condition.closed");
    assert!(
        end["data"]["sentence"]
            .as_str()
            .expect("a sentence")
            .starts_with("Acquire is reachable again for account acme. ")
    );
}

#[test]
fn a_receiver_that_hangs_delays_no_call_and_none_of_the_other_receivers() {
    let hanging = sink(Faults {
        delay: Duration::from_secs(3_600),
        ..Faults::default()
    });
    let other = sink(Faults::default());
    let mut bridge = Bridge::start();
    let url = other.base_url();
    let slack =
        format!("[[notify]]\nurl = \"{url}\"\nkind = \"slack\"\nevents = \"need-decision\"\n");
    bridge.restarts_with(&(json_receiver(&hanging) + &slack));
    bridge.parks(1..2);
    bridge.notifies(&hanging, 1);
    let text = body(&bridge.notifies(&other, 1)[0])["text"].clone();
    let text = text.as_str().expect("a text");
    assert!(text.contains(": 1 call needs a decision.\n"), "{text}");
    assert!(
        text.contains("refused-422: Acquire answered 422 (1), for example CA"),
        "{text}"
    );
    bridge.acquire_replies(Reply::Saved);
    let before = bridge.acquire.count();
    for call in 100..150 {
        assert_eq!(bridge.twilio.ends(&sid(call), "completed").status, 204);
    }
    bridge.settles();
    assert_eq!(bridge.acquire.count() - before, 50);
    assert_eq!(hanging.most_at_once(), 1);
}

#[test]
fn a_message_waits_for_a_receiver_that_fails_and_its_breaker_opens() {
    let receiver = sink(Faults {
        default_reply: Reply::Status(503),
        ..Faults::default()
    });
    let bridge = notifying(&receiver);
    bridge.parks(1..2);
    bridge.notifies(&receiver, 5);
    until("failures are counted", || {
        bridge.metric("bridge_notify_failures_total{kind=\"json\"}") >= Some(5.0)
    });
    // The next tries follow after 1, 2, 4, ... 300 seconds, which are at most 15 in an hour and 40 minutes.
    for _ in 0..1_200 {
        bridge.clock.advance(TURN);
        assert_eq!(bridge.admin("GET", "/livez", &[]).status, 200);
    }
    let tried = receiver.count();
    assert!((8..=36).contains(&tried), "{tried}");
    receiver.behaves(Faults::default());
    let got = bridge.notifies(&receiver, tried + 1);
    let ids = got.iter().map(|of| of.header("webhook-id").expect("an id"));
    let ids: std::collections::BTreeSet<_> = ids.collect();
    assert_eq!(ids.len(), 1, "the same message, however often it is sent");
    bridge.counts("bridge_notify_sent_total{kind=\"json\"}", 1.0);
    bridge.stays_silent(&receiver, Duration::from_secs(60));
}

#[test]
fn a_receiver_that_is_busy_gets_the_message_after_the_wait_that_it_asks_for() {
    let retry_after = "40".to_owned();
    let receiver = sink(Faults {
        default_reply: Reply::TooMany { retry_after },
        ..Faults::default()
    });
    let bridge = notifying(&receiver);
    bridge.parks(1..2);
    bridge.notifies(&receiver, 1);
    bridge.counts("bridge_notify_failures_total{kind=\"json\"}", 1.0);
    bridge.stays_silent(&receiver, Duration::from_secs(30));
    receiver.behaves(Faults::default());
    bridge.notifies(&receiver, 2);
    bridge.counts("bridge_notify_sent_total{kind=\"json\"}", 1.0);
}

#[test]
fn a_message_that_waits_forgets_a_call_that_is_erased() {
    let receiver = sink(Faults {
        default_reply: Reply::Status(503),
        ..Faults::default()
    });
    let bridge = notifying(&receiver);
    bridge.parks(1..3);
    let first = bridge.notifies(&receiver, 1);
    let example = body(&first[0])["data"]["example"].clone();
    let example = example.as_str().expect("a SID").to_owned();
    let waiting = || {
        let database = bridge.folder.path().join("bridge.db");
        let reader = SqliteReader::open_read_only(&database).expect("a store");
        reader.notes("notify/watch").expect("notes")[0].1.clone()
    };
    assert!(waiting().contains(&example));
    let order = [
        "erase",
        "--call",
        &example,
        "--reason",
        "request 21",
        "--yes",
    ];
    let run = bridge.runs(&order);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(!run.out.contains("waiting"), "{}", run.out);
    assert!(!waiting().contains(&example), "{}", waiting());
    let tried = receiver.count();
    receiver.behaves(Faults::default());
    let got = bridge.notifies(&receiver, tried + 1);
    let message = got.last().expect("a message");
    assert_eq!(
        body(message)["data"]["sentence"],
        "2 calls need a decision."
    );
    assert!(!message.body.contains(&example), "{}", message.body);
}

#[test]
fn a_message_that_its_receiver_keeps_rejecting_does_not_block_the_next_one() {
    let receiver = sink(Faults {
        default_reply: Reply::Status(400),
        ..Faults::default()
    });
    let bridge = notifying(&receiver);
    bridge.parks(1..2);
    bridge.notifies(&receiver, 1);
    bridge.parks(2..3);
    until("the message is given up", || {
        bridge.clock.advance(TURN);
        bridge.metric("bridge_notify_given_up_total{kind=\"json\"}") == Some(1.0)
    });
    let tried = receiver.received();
    assert!(
        tried
            .iter()
            .all(|of| body(of)["type"] == "condition.opened")
    );
    receiver.behaves(Faults::default());
    let got = bridge.notifies(&receiver, tried.len() as u64 + 1);
    let next = body(got.last().expect("a message"));
    assert_eq!(next["type"], "condition.more");
    bridge.counts("bridge_notify_sent_total{kind=\"json\"}", 1.0);
}

#[test]
fn a_message_about_refused_requests_has_no_number_and_no_e_mail() {
    let receiver = sink(Faults::default());
    let bridge = notifying(&receiver);
    let target = format!("{STATUS}?email=ann%40example.com");
    let form = status_form(&sid(1), "completed");
    let url = PUBLIC_URL.replace("https://", "http://");
    let kind = [("Content-Type", "application/x-www-form-urlencoded")];
    let answer =
        bridge
            .twilio
            .signs_and_sends(&format!("{url}{target}"), &target, &kind, form.as_bytes());
    assert_eq!(answer.status, 403);
    until("the request is diagnosed", || {
        let status = bridge.admin("GET", "/api/status", &[]).json();
        status["is_well"] == false
    });
    bridge.parks(2..3);
    let got = bridge.notifies(&receiver, 2);
    assert!(
        got.iter()
            .any(|of| body(of)["data"]["condition"] == "refused")
    );
    for request in got {
        for personal in ["@", "%40", "5550", "20255"] {
            assert!(!request.body.contains(personal), "{}", request.body);
        }
    }
}

#[test]
fn secrets_of_receivers_are_never_shown() {
    let receiver = sink(Faults::default());
    let bridge = notifying(&receiver);
    for command in [&["check"][..], &["doctor"], &["doctor", "--notify"]] {
        let run = bridge.runs(command);
        for secret in [SECRET, &SECRET[6..], "of-the-url"] {
            let shown = format!("{}{}", run.out, run.err);
            assert!(!shown.contains(secret), "{command:?}: {shown}");
        }
    }
}

#[test]
fn doctor_sends_a_test_message_to_each_receiver_and_says_which_one_fails() {
    let receiver = sink(Faults::default());
    let bridge = notifying(&receiver);
    let run = bridge.runs(&["doctor", "--notify"]);
    assert!(
        run.out.contains("notify[1] (json) accepted a test message"),
        "{run:?}"
    );
    let got = receiver.received();
    assert_eq!(body(&got[0])["type"], "test");
    receiver.behaves(Faults {
        default_reply: Reply::Status(403),
        ..Faults::default()
    });
    let run = bridge.runs(&["doctor", "--notify"]);
    let words: Vec<_> = run.out.split_whitespace().collect();
    let sentence = "notify[1] (json) did not accept a test message: it answered 403";
    assert!(words.join(" ").contains(sentence), "{run:?}");
    assert_eq!(run.code, Some(1));
}

#[test]
fn a_reload_adds_a_receiver_which_gets_what_is_wrong_now() {
    let folder = tempfile::tempdir().expect("a folder");
    let (acquire, receiver) = (sink(Faults::default()), sink(Faults::default()));
    acquire.behaves(Faults {
        default_reply: Reply::Status(422),
        ..Faults::default()
    });
    let mut command = command_to_serve(&folder.path().join("bridge.db"), &acquire.base_url());
    let file = folder.path().join("bridge.toml");
    std::fs::write(&file, "").expect("a file");
    command.env("BRIDGE_CONFIG", &file);
    let mut serve = Serve::by(command);
    serve.accepts(1);
    reached(&acquire, 1);
    std::fs::write(&file, json_receiver(&receiver)).expect("a file");
    serve.signal("-HUP");
    serve.logs("notify[1].url");
    reached(&receiver, 1);
    let message = body(&receiver.received()[0]);
    assert_eq!(message["data"]["condition"], "need-decision");
}

/// Counts requests, and answers each with 204.
fn counting_server() -> (String, Arc<AtomicU64>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let url = format!("http://{}/ping", listener.local_addr().expect("an address"));
    let count = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&count);
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let mut head = [0; 4096];
            let read = client.read(&mut head).unwrap_or_default();
            assert!(head[..read].starts_with(b"GET /ping "));
            counted.fetch_add(1, Ordering::SeqCst);
            let _ = client.write_all(b"HTTP/1.1 204 X\r\nConnection: close\r\n\r\n");
        }
    });
    (url, count)
}

#[test]
fn the_heartbeat_comes_every_minute_and_stops_while_something_critical_is_wrong() {
    let (url, count) = counting_server();
    let bridge = Bridge::with(&[("BRIDGE__HEARTBEAT__URL", &url)]);
    let beats = || count.load(Ordering::SeqCst);
    until("the heartbeat comes", || {
        bridge.clock.advance(TURN);
        beats() >= 3
    });
    // A parked call is not critical.
    bridge.parks(1..2);
    let before = beats();
    until("the heartbeat goes on", || {
        bridge.clock.advance(TURN);
        beats() > before
    });
    bridge.acquire_is_down(10);
    bridge.counts("bridge_notify_failures_total{kind=\"heartbeat\"}", 0.0);
    // A look that began before the breaker opened may still send one.
    bridge.clock.advance(TURN);
    bridge.admin("GET", "/readyz", &[]);
    let before = beats();
    for _ in 0..36 {
        bridge.clock.advance(TURN);
        assert_eq!(bridge.admin("GET", "/readyz", &[]).status, 200);
    }
    assert!(beats() <= before + 1, "{} after {before}", beats());
    bridge.acquire_is_back();
    let before = beats();
    until("the heartbeat comes again", || {
        bridge.clock.advance(TURN);
        beats() > before
    });
}
