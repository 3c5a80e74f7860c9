//! The rules of docs/calls.md a second time, as a small and slow model. It knows whole human calls: it makes
//! the callbacks that Twilio would send for one, gives them to the plan as a worker does, and compares what
//! the plan sends with what was true.
//!
//! `REFERENCE_CASES=300000 cargo test --test it reference_model` runs so many random calls.

mod bridge;
mod calls;
mod forms;
mod human_call;
mod rules;
mod setup;
mod stays;
mod traffic;

use proptest::prelude::*;
use proptest::test_runner::{FileFailurePersistence, TestCaseResult, TestRunner};
use twilio_acquire_bridge::acquire::CallEnd;
use twilio_acquire_bridge::clock::Millis;
use twilio_acquire_bridge::domain::directory::entries::DirectoryEntries;
use twilio_acquire_bridge::domain::plan::{MissedStatus, ReportMode, Rules, SipCustomers, SipHost};

use bridge::Bridge;
use human_call::{HumanCall, Person, SipSetting};
use rules::{Facts, Report, Settings};
use setup::{Arrival, Traffic};
use stays::Stays;
use traffic::{Content, Request, known_from};

/// Of each test, in each run.
const CASES: u32 = 1000;

/// Seeds that failed once. They are run first, and are committed.
const REGRESSIONS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/proptest-regressions/reference_model.txt"
);

/// After all waits.
const THE_END: Millis = Millis(traffic::STARTED + 48 * 3_600_000);

#[expect(clippy::disallowed_methods, reason = "a number for this test alone")]
fn runner() -> TestRunner {
    let cases = std::env::var("REFERENCE_CASES").ok();
    TestRunner::new(ProptestConfig {
        cases: cases.map_or(CASES, |cases| cases.parse().expect("a number of cases")),
        max_shrink_iters: 20_000,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(REGRESSIONS))),
        ..ProptestConfig::default()
    })
}

fn settings(reports: &'static [Report]) -> impl Strategy<Value = Settings> {
    let sip = [SipSetting::Unset, SipSetting::Hosts, SipSetting::All];
    let sip = prop::sample::select(sip.to_vec());
    let flags = any::<(bool, [bool; 4], bool, bool)>();
    (prop::sample::select(reports), sip, flags).prop_map(|(report, sip_customers, flags)| {
        let (missed_as_parent, listed, own_number_is_listed, default_email) = flags;
        Settings {
            report,
            sip_customers,
            missed_as_parent,
            listed,
            own_number_is_listed,
            default_email,
        }
    })
}

fn case(
    reports: &'static [Report],
    arrivals: &'static [Arrival],
) -> impl Strategy<Value = (Settings, HumanCall, Traffic)> {
    (
        settings(reports),
        calls::outline(),
        setup::traffic(arrivals),
    )
        .prop_map(|(settings, outline, traffic)| {
            let call = calls::human_call(outline, settings.sip_customers);
            (settings, call, traffic)
        })
}

impl Settings {
    fn rules(&self) -> Rules {
        let mut entries = DirectoryEntries::default();
        let agents = (0..4).flat_map(|n| {
            [
                Person::Softphone(n),
                Person::DeskPhone(n),
                Person::Mobile(n),
            ]
        });
        for person in agents.chain([Person::OwnNumber]) {
            if let Some(email) = self.entry(person) {
                entries
                    .add(&person.address(), &email, "the model")
                    .expect("an entry");
            }
        }
        entries.default = self.default_email.then(|| "all@example.com".to_owned());
        let mut rules = Rules {
            directory: entries.directory(),
            ..Rules::default()
        };
        rules.sip_customers = match self.sip_customers {
            SipSetting::Unset => SipCustomers::Unset,
            SipSetting::Hosts => {
                SipCustomers::Hosts(vec![SipHost::parse("sbc.example.net").expect("a host")])
            }
            SipSetting::All => SipCustomers::All,
        };
        rules.legs.report = match self.report {
            Report::Call => ReportMode::Call,
            Report::Legs => ReportMode::Legs,
        };
        if self.missed_as_parent {
            rules.legs.missed = MissedStatus::Parent;
        }
        rules
    }
}

/// Gives the requests to a bridge, which works after each one, or only after the last.
fn run(bridge: &mut Bridge, requests: &[Request], works_between: bool) -> TestCaseResult {
    for (place, request) in requests.iter().enumerate() {
        let read = bridge.receive(request);
        prop_assert_eq!(
            read.is_err(),
            request.content == Content::Refusable,
            "{:?}: {:?}",
            request,
            read
        );
        if works_between {
            bridge.work(requests.get(place + 1).map_or(THE_END, |next| next.at));
        }
    }
    bridge.work(THE_END);
    Ok(())
}

fn in_order(mut ends: Vec<CallEnd>) -> Vec<CallEnd> {
    ends.sort_by(|one, other| one.call_id.cmp(&other.call_id));
    ends
}

/// A call, its settings and its traffic.
type Case = (Settings, HumanCall, Traffic);

fn check_exactly((settings, call, traffic): Case, works_between: bool) -> TestCaseResult {
    let (requests, loses) = traffic.requests(&call);
    let known = known_from(&call, requests.iter());
    let facts = Facts {
        call: &call,
        known: &known,
        sids: &traffic.sids(&call),
        recordings: &traffic.recordings(&call),
        settings: &settings,
    };
    let mut bridge = Bridge::new(settings.rules());
    run(&mut bridge, &requests, works_between)?;
    let mut expected = in_order(facts.expected());
    let mut sent = in_order(bridge.sent.iter().map(|sent| sent.end.clone()).collect());
    if loses {
        // A recording may be of a conversation of which no callback came.
        for end in expected.iter_mut().chain(&mut sent) {
            end.recording_url = None;
        }
    }
    prop_assert_eq!(sent, expected, "{:#?}\n{:?}", requests, bridge.states());
    Ok(())
}

#[test]
fn acquire_gets_each_human_call_as_it_was() {
    let cases = case(&[Report::Call], &[Arrival::Twice, Arrival::Lost]);
    let checked = runner().run(&cases, |case| check_exactly(case, true));
    checked.unwrap_or_else(|why| panic!("{why}"));
}

#[test]
fn acquire_gets_each_leg_as_twilio_reports_it() {
    let cases = case(&[Report::Legs], &[Arrival::Twice, Arrival::Lost]);
    let checked = runner().run(&cases, |(settings, call, mut traffic)| {
        // An end is sent at once, so all must be known before.
        (traffic.is_live, traffic.has_timestamps) = (false, true);
        check_exactly((settings, call, traffic), false)
    });
    checked.unwrap_or_else(|why| panic!("{why}"));
}

/// What happens while callbacks still come: so many requests to Acquire fail, and `calls.report` changes
/// before the callback with this number. At the end, an operator requeues the call.
type Turns = (usize, usize);

/// Some callbacks come hours after all waits, so the plan cannot know all in time. What it sent stays.
fn check_what_stays((settings, call, traffic): Case, (failures, change): Turns) -> TestCaseResult {
    let is_chain = call
        .legs
        .iter()
        .any(|leg| leg.dialled_by.is_some_and(|by| by > 0));
    let (requests, _) = traffic.requests(&call);
    let mut bridge = Bridge::new(settings.rules());
    bridge.failures = failures;
    let mut known_late = 0;
    for (place, request) in requests.iter().enumerate() {
        // Two calls that a leg joins later may have different modes.
        if place == change && !is_chain {
            bridge.rules.legs.report = ReportMode::Legs;
        }
        let is_refused = bridge.receive(request).is_err();
        prop_assert_eq!(is_refused, request.content == Content::Refusable);
        known_late = bridge.sent.len();
        bridge.work(requests.get(place + 1).map_or(THE_END, |next| next.at));
    }
    let all = bridge.sent.len();
    bridge.requeue();
    bridge.work(THE_END);
    let known = known_from(&call, requests.iter());
    let in_time = known_from(&call, requests.iter().filter(|request| !request.is_late()));
    let stays = Stays {
        call: &call,
        sids: &traffic.sids(&call),
        known: &known,
        sent: &bridge.sent,
        known_late,
        all,
        knows_first_leg: in_time[0].started,
    };
    let context = format!("{requests:#?}\n{:#?}\n{:?}", bridge.sent, bridge.states());
    if let Err(why) = stays.check(&settings, is_chain) {
        prop_assert!(false, "{why}: {context}");
    }
    Ok(())
}

#[test]
fn what_was_sent_stays_whatever_comes_later() {
    let cases = case(
        &[Report::Call],
        &[Arrival::Twice, Arrival::Late, Arrival::Late],
    );
    let turns = (0..4_usize, 0..40_usize);
    let cases = (cases, turns);
    let checked = runner().run(&cases, |((settings, call, mut traffic), turns)| {
        // The arrival of a late callback would be its time.
        traffic.has_timestamps = true;
        check_what_stays((settings, call, traffic), turns)
    });
    checked.unwrap_or_else(|why| panic!("{why}"));
}
