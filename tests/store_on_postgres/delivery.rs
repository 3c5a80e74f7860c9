//! A bridge on a database that another node writes too.

use std::time::Duration;

use twilio_acquire_bridge::debugging::fake_acquire::Reply;
use twilio_acquire_bridge::store::AccountFilter;

use crate::postgres::{DATABASE, url_of};
use crate::support::failing::delay_no_healthy_call;
use crate::support::harness::Bridge;
use crate::support::store_suite::place::Place;
use crate::support::twilio::sid;

#[test]
fn a_call_that_another_node_retries_now_is_sent_at_once() {
    let place = Place::new(DATABASE);
    let bridge = Bridge::with(&[
        ("BRIDGE__STORE__URL", &url_of(&place)),
        ("BRIDGE__DELIVERY__SCHEDULE", "12h 12h"),
    ]);
    bridge.acquire.answers([Reply::Status(503)]);
    bridge.twilio.ends(&sid(1), "completed");
    bridge.settles();
    bridge.clock.advance(Duration::from_secs(1));
    let now = bridge.clock.now();
    let other_node = place.open();
    let changed = other_node.retry_now(AccountFilter::All, now, 9);
    let changed = actix_web::rt::System::new().block_on(changed);
    assert_eq!(changed.expect("written"), 1);
    bridge.settles();
    assert_eq!(bridge.state(&sid(1)), "delivered");
}

#[test]
fn failing_calls_delay_no_healthy_call_on_postgres_and_are_parked() {
    for (failing, status) in [(1, 500), (10, 404), (30, 500)] {
        let place = Place::new(DATABASE);
        let url = url_of(&place);
        let settings = [
            ("BRIDGE__STORE__URL", &*url),
            ("BRIDGE__STORE__SPOOL", "off"),
        ];
        delay_no_healthy_call(failing, status, &settings);
    }
}
