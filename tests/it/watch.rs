//! Which changes of conditions make a message, and when.

use std::cell::Cell;
use std::time::Duration;

use proptest::prelude::*;
use twilio_acquire_bridge::clock::Millis;
use twilio_acquire_bridge::domain::condition::ConditionKind::{self, NeedDecision, Unreachable};
use twilio_acquire_bridge::domain::message::{Change, Details, Message};
use twilio_acquire_bridge::domain::watch::{
    CLAIM, END_AFTER, GIVE_UP_AFTER, Look, MAX_REJECTIONS, MAX_WAITING, MESSAGE_INTERVAL, QUIET,
    Seen, Watch,
};

const START: Millis = Millis(1_790_000_000_000);
const STEP: Duration = Duration::from_secs(5);

/// A node that looks at its conditions, and a receiver that gets all messages at once.
struct World {
    watch: Watch,
    now: Millis,
    ids: Cell<u32>,
    got: Vec<Message>,
    /// The sentence after the number of calls.
    words: String,
}

impl World {
    fn new() -> Self {
        Self {
            watch: Watch::default(),
            now: START,
            ids: Cell::new(0),
            got: Vec::new(),
            words: "calls.".to_owned(),
        }
    }

    /// Looks without sending; `is_known`: whether a missing condition does not hold.
    fn looks(&mut self, seen: &[(ConditionKind, u64)], is_known: Knowledge) {
        let seen = seen.iter().map(|(kind, calls)| Seen {
            kind: *kind,
            subject: String::new(),
            details: Details {
                sentence: format!("{calls} {}", self.words),
                count: Some(*calls),
                ..Details::default()
            },
        });
        let look = Look {
            now: self.now,
            seen: seen.collect(),
            knows: &|_, _| is_known == Knowledge::Full,
            headline: "All is well.",
            node: "one",
            console: "http://127.0.0.1:9090",
            targets: &|_| vec![0],
            new_id: &|| {
                self.ids.set(self.ids.get() + 1);
                format!("msg_{}", self.ids.get())
            },
        };
        self.watch.look(&look);
    }

    fn receives(&mut self) {
        while let Some(message) = self.watch.claim(0, self.now) {
            self.watch.sent(0, &message.id);
            self.got.push(message);
        }
    }

    /// A turn of the loop: look, send, and some time.
    fn turns(&mut self, seen: &[(ConditionKind, u64)]) {
        self.looks(seen, Knowledge::Full);
        self.receives();
        self.now = self.now.plus(STEP);
    }

    fn turns_for(&mut self, time: Duration, seen: &[(ConditionKind, u64)]) {
        let until = self.now.plus(time);
        while self.now < until {
            self.turns(seen);
        }
    }

    fn changes(&self) -> Vec<(Change, Option<u64>, Option<u64>)> {
        let change = |of: &Message| (of.change, of.details.count, of.details.new_calls);
        self.got.iter().map(change).collect()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Knowledge {
    Full,
    None,
}

#[test]
fn five_thousand_calls_parked_in_a_minute_make_one_message() {
    let mut world = World::new();
    for turn in 1..=12 {
        world.turns(&[(NeedDecision, turn * 5_000 / 12)]);
    }
    world.turns_for(Duration::from_secs(3_600), &[(NeedDecision, 5_000)]);
    assert_eq!(world.changes(), [(Change::Opened, Some(5_000), None)]);
}

#[test]
fn calls_that_are_parked_later_make_another_message_after_five_minutes_with_their_number() {
    let mut world = World::new();
    world.turns_for(Duration::from_secs(60), &[(NeedDecision, 10)]);
    world.turns_for(Duration::from_secs(200), &[(NeedDecision, 12)]);
    assert_eq!(world.got.len(), 1);
    world.turns_for(Duration::from_secs(60), &[(NeedDecision, 12)]);
    // Fewer calls are no news, and those parked after that count from there.
    world.turns_for(Duration::from_secs(400), &[(NeedDecision, 3)]);
    world.turns_for(Duration::from_secs(400), &[(NeedDecision, 4)]);
    let expected = [
        (Change::Opened, Some(10), None),
        (Change::More, Some(12), Some(2)),
        (Change::More, Some(4), Some(1)),
    ];
    assert_eq!(world.changes(), expected);
}

#[test]
fn calls_that_are_parked_without_a_pause_are_reported_within_two_minutes_and_then_every_five() {
    let mut world = World::new();
    let mut calls = 0;
    for _ in 0..(12 * 13) {
        calls += 1;
        world.turns(&[(NeedDecision, calls)]);
    }
    let times: Vec<u64> = world
        .got
        .iter()
        .map(|of| of.at.since(START).as_secs())
        .collect();
    assert_eq!(times, [120, 420, 720]);
}

#[test]
fn a_condition_makes_a_message_at_once_and_one_when_it_has_been_over_for_half_a_minute() {
    let mut world = World::new();
    world.turns_for(Duration::from_secs(60), &[(Unreachable, 7)]);
    assert_eq!(world.got.len(), 1);
    assert_eq!(world.got[0].at, START);
    let last_seen = world.now;
    world.turns_for(Duration::from_secs(60), &[]);
    assert_eq!(world.got.len(), 2);
    let end = &world.got[1];
    assert_eq!((end.change, end.since), (Change::Closed, START));
    let after = end.at.since(last_seen);
    assert!(after <= END_AFTER && after > END_AFTER / 2, "{after:?}");
    assert_eq!(
        end.details.sentence,
        "Acquire is reachable again for account . All is well."
    );
}

#[test]
fn a_condition_that_may_hold_is_not_reported_as_over() {
    let mut world = World::new();
    world.turns_for(Duration::from_secs(60), &[(Unreachable, 7)]);
    for _ in 0..100 {
        world.looks(&[], Knowledge::None);
        world.now = world.now.plus(STEP);
    }
    world.receives();
    assert_eq!(world.got.len(), 1);
}

#[test]
fn a_restart_repeats_no_message_and_loses_none() {
    let mut world = World::new();
    world.looks(&[(Unreachable, 7)], Knowledge::Full);
    let text = serde_json::to_string(&world.watch).expect("JSON");
    world.watch = serde_json::from_str(&text).expect("a watch");
    world.turns_for(Duration::from_secs(3_600), &[(Unreachable, 7)]);
    assert_eq!(world.got.len(), 1);
}

#[test]
fn one_node_at_a_time_sends_a_message_and_another_one_after_a_minute() {
    let mut world = World::new();
    world.looks(&[(Unreachable, 7)], Knowledge::Full);
    let message = world.watch.claim(0, START).expect("a message");
    assert_eq!(world.watch.claim(0, START.plus(CLAIM / 2)), None);
    assert_eq!(
        world.watch.claim(0, START.plus(CLAIM)),
        Some(message.clone())
    );
    world.watch.failed(0, &message.id, START, Duration::ZERO);
    assert!(world.watch.has(0, START));
    world.watch.sent(0, &message.id);
    assert!(!world.watch.has(0, START.plus(GIVE_UP_AFTER)));
}

#[test]
fn a_receiver_that_asks_for_a_wait_gets_nothing_before_its_end_but_after_a_minute_at_the_latest() {
    for (asked, waits) in [(20, 20), (3_600, 60)] {
        let mut world = World::new();
        world.looks(&[(Unreachable, 7)], Knowledge::Full);
        let id = world.watch.claim(0, START).expect("a message").id;
        let (asked, waits) = (Duration::from_secs(asked), Duration::from_secs(waits));
        world.watch.failed(0, &id, START, asked);
        assert!(!world.watch.has(0, START.plus(waits).minus(STEP)));
        assert!(world.watch.has(0, START.plus(waits)));
    }
}

#[test]
fn a_message_is_given_up_after_a_day_and_the_oldest_if_too_many_wait() {
    let mut world = World::new();
    for _ in 0..MAX_WAITING + 3 {
        world.looks(&[(Unreachable, 7)], Knowledge::Full);
        world.now = world.now.plus(MESSAGE_INTERVAL);
        world.looks(&[], Knowledge::Full);
        world.now = world.now.plus(MESSAGE_INTERVAL);
    }
    assert_eq!(world.watch.give_up(1, world.now).len(), MAX_WAITING + 6);
    let first = world.watch.claim(0, world.now).expect("a message");
    assert_ne!(first.id, "msg_1");
    let a_day_later = world.now.plus(GIVE_UP_AFTER);
    assert_eq!(world.watch.give_up(1, a_day_later).len(), MAX_WAITING);
    assert!(!world.watch.has(0, a_day_later));
}

#[test]
fn only_the_receiver_that_rejects_a_message_fifteen_times_does_not_get_it() {
    let mut world = World::new();
    world.looks(&[(Unreachable, 7)], Knowledge::Full);
    let id = world.watch.claim(0, world.now).expect("a message").id;
    for _ in 1..MAX_REJECTIONS {
        world.watch.rejected(0, &id, world.now);
        world.watch.failed(0, &id, world.now, Duration::ZERO);
    }
    assert_eq!(world.watch.give_up(1, world.now), [0; 0]);
    assert!(world.watch.has(0, world.now));
    world.watch.rejected(0, &id, world.now);
    assert_eq!(world.watch.give_up(1, world.now), [0]);
    assert!(!world.watch.has(0, world.now));
}

/// The names between two texts, each in such a mark.
fn names(text: &str, start: &str, end: &str, mark: char) -> Vec<String> {
    let (_, rest) = text.split_once(start).expect("the start");
    let (part, _) = rest.split_once(end).expect("the end");
    part.split(mark)
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_manual_and_the_page_of_notifications_name_each_condition_that_is_sent() {
    let sent = ConditionKind::NOTIFIED.map(|kind| kind.as_str().to_owned());
    let manual = include_str!("../../src/config.default.toml");
    let start = "The conditions of which it gets messages, all by default:";
    assert_eq!(names(manual, start, "# events", '"'), sent);
    let page = include_str!("../../docs/notifications.md");
    let table = names(page, "| --- | --- | --- |\n", "\n\n", '`');
    let table: Vec<_> = table.into_iter().filter(|name| name != "doctor").collect();
    assert_eq!(table, sent);
}

proptest! {
    #[test]
    fn no_condition_makes_more_than_one_message_in_five_minutes_apart_from_its_end(
        turns in proptest::collection::vec((any::<bool>(), 0..20_u64), 1..400),
    ) {
        let mut world = World::new();
        for (is_down, parked) in turns {
            let mut seen = Vec::new();
            if is_down {
                seen.push((Unreachable, 1));
            }
            if parked > 5 {
                seen.push((NeedDecision, parked));
            }
            world.turns(&seen);
        }
        world.turns_for(END_AFTER + QUIET, &[]);
        for kind in [Unreachable, NeedDecision] {
            let of_kind = world.got.iter().filter(|of| of.kind == Some(kind));
            let of_kind: Vec<_> = of_kind.collect();
            // An end follows each beginning, and nothing else.
            let mut is_open = false;
            for message in &of_kind {
                let was_open = std::mem::replace(&mut is_open, message.change != Change::Closed);
                prop_assert_eq!(was_open, message.change != Change::Opened);
            }
            prop_assert!(!is_open);
            let mut times = of_kind.iter().filter(|of| of.change != Change::Closed).map(|of| of.at);
            let mut last = times.next();
            for at in times {
                prop_assert!(last.is_some_and(|last| at.since(last) >= MESSAGE_INTERVAL));
                last = Some(at);
            }
        }
    }

    #[test]
    fn no_message_has_a_number_or_an_e_mail(
        before in "[ -~]{0,40}",
        personal in prop_oneof![
            Just("+12025550123"), Just("%2B12025550123"), Just("2025550123"), Just("+1-202-555-0123"),
            Just("ann@example.com"), Just("ann%40example.com"), Just("client:jane"),
        ],
        after in "[ -~]{0,40}",
    ) {
        let mut world = World::new();
        world.words = format!("{before} {personal}, {after}");
        world.turns(&[(Unreachable, 7)]);
        let message = &world.got[0];
        let stored = serde_json::to_string(message).expect("JSON");
        for body in [message.json(), message.slack(), stored] {
            for part in ["5550123", "555-0123", "ann", "jane"] {
                let is_from_elsewhere = before.contains(part) || after.contains(part);
                prop_assert!(is_from_elsewhere || !body.contains(part), "{}", body);
            }
            prop_assert!(!body.contains('@'), "{}", body);
        }
    }
}

#[test]
fn the_text_of_a_message_keeps_sids_times_and_urls() {
    let words = "Set server.public_url = \"https://bridge.example.com\", at 2026-09-21T14:13:20.000Z, for \
                    CA00000000000000000000000000000001 and 4,812 calls.";
    let mut world = World::new();
    world.words = words.to_owned();
    world.turns(&[(Unreachable, 7)]);
    let json: serde_json::Value = serde_json::from_str(&world.got[0].json()).expect("JSON");
    assert_eq!(json["data"]["sentence"], format!("7 {words}"));
}
