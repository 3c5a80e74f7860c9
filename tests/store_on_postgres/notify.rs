//! Notifications of several nodes that share a database.

use std::time::Duration;

use serde_json::Value;
use twilio_acquire_bridge::debugging::fake_acquire::{Faults, Reply};

use crate::postgres::{DATABASE, url_of};
use crate::support::harness::{Bridge, until};
use crate::support::serve::sink;
use crate::support::store_suite::place::Place;
use crate::support::twilio::sid;

const TURN: Duration = Duration::from_secs(5);

#[test]
fn two_nodes_of_a_database_send_one_message() {
    let place = Place::new(DATABASE);
    let receiver = sink(Faults::default());
    let notify = format!(
        "[[notify]]\nurl = \"{}\"\nkind = \"slack\"\n",
        receiver.base_url()
    );
    let mut nodes = [(); 2].map(|()| Bridge::with(&[("BRIDGE__STORE__URL", &url_of(&place))]));
    for node in &mut nodes {
        node.acquire.behaves(Faults {
            default_reply: Reply::Status(422),
            ..Faults::default()
        });
        node.restarts_with(&notify);
    }
    nodes[0].twilio.ends(&sid(1), "completed");
    let turn = || {
        for node in &nodes {
            node.clock.advance(TURN);
            assert_eq!(node.admin("GET", "/readyz", &[]).status, 200);
        }
    };
    until("the message arrives", || {
        turn();
        receiver.count() > 0
    });
    for _ in 0..60 {
        turn();
    }
    let texts = receiver.received().into_iter().map(|request| {
        let body: Value = serde_json::from_str(&request.body).expect("JSON");
        body["text"].as_str().expect("a text").to_owned()
    });
    let texts: Vec<String> = texts.collect();
    assert_eq!(texts.len(), 1, "{texts:?}");
    assert!(texts[0].contains("1 call needs a decision."), "{texts:?}");
    // The other node goes on when the first one is gone.
    let [first, mut second] = nodes;
    drop(first);
    second.acquire.behaves(Faults::default());
    second.restarts_with("");
    let run = second.runs(&["requeue", "--state", "parked", "--yes"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    until("the end is reported", || {
        second.clock.advance(TURN);
        receiver.count() == 2
    });
}
