//! Accounts share the slots and the rate: a slow account or a rate limit delays no other account.

use std::time::Duration;

use twilio_acquire_bridge::debugging::fake_acquire::{
    FakeAcquire, Faults, Reply, Retain, TextFault,
};

use crate::support::harness::{Bridge, until};
use crate::support::twilio::{STATUS, TOKEN, sid, status_form};

/// The number of the caller of each call that Acquire answers late.
pub const SLOW: &str = "12025550177";

/// Two accounts, `slow` with the `AccountSid` 1 and `other` with 2.
fn two_accounts(settings: &[(&str, &str)]) -> Bridge {
    let mut bridge = Bridge::with(settings);
    let account = |number: usize, name: &str| {
        format!(
            "[[accounts]]\ntwilio_account_sid = \"AC{number:032}\"\n\
             twilio_auth_tokens = [\"{TOKEN}\"]\nacquire_account_id = \"{name}\"\n"
        )
    };
    let file = bridge.folder.path().join("bridge.toml");
    std::fs::write(&file, account(1, "slow") + &account(2, "other")).expect("a file");
    bridge.restarts_with_file(&file);
    bridge
}

pub fn answers_some_after(delay: Duration) -> Faults {
    Faults {
        texts: vec![TextFault {
            text: SLOW,
            reply: Reply::Saved,
            delay,
        }],
        ..Faults::default()
    }
}

fn ends(bridge: &Bridge, account: usize, call: usize) {
    let mut form = status_form(&sid(call), "completed");
    if account == 1 {
        form = form.replace("12025550123", SLOW);
    }
    let form = form.replace(&format!("AC{:032}", 1), &format!("AC{account:032}"));
    assert_eq!(bridge.twilio.sends_form(STATUS, &form).status, 204);
}

#[test]
fn a_slow_account_delays_no_other_account() {
    let mut bridge = two_accounts(&[
        ("BRIDGE__DELIVERY__CONCURRENCY", "4"),
        ("BRIDGE__DELIVERY__TIMEOUT", "2m"),
        ("BRIDGE__DELIVERY__LEASE", "5m"),
    ]);
    // Longer than the test waits, so that no slot becomes free.
    bridge
        .acquire
        .behaves(answers_some_after(Duration::from_secs(90)));
    for call in 1..=40 {
        ends(&bridge, 1, call);
    }
    until("it has all that is lent", || bridge.acquire.count() == 3);
    // At once, so that several are being settled, which takes no slot, while another is sent.
    let shared = &bridge;
    std::thread::scope(|scope| {
        for call in 101..=200 {
            scope.spawn(move || ends(shared, 2, call));
        }
    });
    until("the other account's calls arrive", || {
        bridge.metric("bridge_calls{state=\"delivered\"}") == Some(100.0)
    });
    assert_eq!(bridge.acquire.count(), 103, "one of four slots is not lent");
    assert!(bridge.acquire.most_at_once() <= 4);
    // Closes the slow connections, so that the bridge can end.
    let listen = bridge.acquire.addr();
    bridge.acquire = FakeAcquire::start((listen.ip(), 0).into(), Faults::default(), Retain::All)
        .expect("a free port");
}

/// Any account can sign another account's SID.
#[test]
fn a_sid_that_two_accounts_signed_shows_and_exports_the_calls_of_both() {
    let bridge = two_accounts(&[]);
    ends(&bridge, 1, 1);
    ends(&bridge, 2, 1);
    ends(&bridge, 2, 2);
    bridge.counts("bridge_calls{state=\"delivered\"}", 3.0);
    let account = |number: usize| format!("AC{number:032}");
    let first = bridge.call(&sid(1));
    assert_eq!(first["account_sid"], account(1));
    let others = first["other_accounts"].as_array().expect("the others");
    assert_eq!(others.len(), 1);
    assert_eq!(others[0]["account_sid"], account(2));
    assert_eq!(others[0]["callbacks"][0]["from"], "+12025550123");
    let only = bridge.call(&sid(2));
    assert!(only.get("other_accounts").is_none(), "{only}");

    let page = bridge.admin("GET", &format!("/calls/{}", sid(1)), &[]).body;
    for number in [1, 2] {
        let line = format!("account {}", account(number));
        assert_eq!(page.matches(&line).count(), 1, "{page}");
    }

    let exports = |selection: &[&str], name: &str| {
        let out = bridge.folder.path().join(name);
        let to = ["export", "--out", out.to_str().expect("a path")];
        assert_eq!(bridge.runs(&[&to, selection].concat()).code, Some(0));
        let read = |folder: String| {
            let fixture = out.join(folder).join("01-completed.http");
            std::fs::read_to_string(fixture).expect("a fixture")
        };
        (read(sid(1)), out.join(format!("{}-{}", sid(1), account(2))))
    };
    let (of_first, of_second) = exports(&[&sid(1)], "both");
    assert!(of_first.contains(&account(1)), "{of_first}");
    assert!(of_second.exists());
    // The filter selects the call of one account.
    let (of_second, none) = exports(&["--account", &account(2)], "one");
    assert!(of_second.contains(&account(2)), "{of_second}");
    assert!(!none.exists());
}

#[test]
fn accounts_that_both_wait_get_the_same_share() {
    let bridge = two_accounts(&[("BRIDGE__DELIVERY__CONCURRENCY", "4")]);
    bridge.acquire.behaves(Faults {
        delay: Duration::from_millis(20),
        ..Faults::default()
    });
    for call in 1..=120 {
        ends(&bridge, 1, call);
    }
    for call in 201..=230 {
        ends(&bridge, 2, call);
    }
    let is_of_other = |id: &String| (201..=230).any(|call| *id == sid(call));
    until("the other account's calls arrive", || {
        bridge
            .acquire
            .call_ids()
            .iter()
            .filter(|id| is_of_other(id))
            .count()
            == 30
    });
    let order = bridge.acquire.call_ids();
    let first = order.iter().position(is_of_other).expect("sent");
    let last = order.iter().rposition(is_of_other).expect("sent");
    let others = last + 1 - first - 30;
    assert!(
        others <= 45,
        "{others} calls of the first account went in between"
    );
}

#[test]
fn a_rate_limit_lets_accounts_take_turns() {
    let bridge = two_accounts(&[("BRIDGE__DELIVERY__MAX_RATE", "20")]);
    for call in 1..=60 {
        ends(&bridge, 1, call);
    }
    until("some are sent", || bridge.acquire.count() >= 5);
    let before = bridge.acquire.count();
    ends(&bridge, 2, 100);
    until("it is sent", || {
        bridge.acquire.call_ids().contains(&sid(100))
    });
    let order = bridge.acquire.call_ids();
    let place = order.iter().position(|id| *id == sid(100)).expect("sent");
    let ahead = place - usize::try_from(before).expect("few");
    assert!(ahead <= 5, "{ahead} of the other account went first");
}

#[test]
fn a_result_that_the_store_refuses_is_given_up_alone() {
    let bridge = Bridge::start();
    let store =
        rusqlite::Connection::open(bridge.folder.path().join("bridge.db")).expect("the store");
    let refuse = format!(
        "CREATE TRIGGER refuse BEFORE INSERT ON attempt WHEN NEW.leg = '{}' \
         BEGIN SELECT RAISE(ABORT, 'refused'); END",
        sid(1)
    );
    store.execute_batch(&refuse).expect("a trigger");
    drop(store);
    for call in 1..=20 {
        bridge.twilio.ends(&sid(call), "completed");
    }
    until("the others are delivered", || {
        bridge.metric("bridge_calls{state=\"delivered\"}") == Some(19.0)
    });
    until("the call is parked", || bridge.state(&sid(1)) == "parked");
    let call = bridge.call(&sid(1));
    let reason = call["reason"].as_str().expect("a reason");
    assert!(
        reason.starts_with("the store refused the result"),
        "{reason}"
    );
    assert_eq!(bridge.acquire.count(), 20, "each is sent once");
}
