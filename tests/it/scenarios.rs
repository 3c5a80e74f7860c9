//! Walks `fixtures/scenarios`: each folder has one human call, and must lead to the requests of
//! its `expected.json`, in whatever order its callbacks come and however often.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::test_runner::{FileFailurePersistence, TestRunner};
use serde_json::Value;
use twilio_acquire_bridge::config;
use twilio_acquire_bridge::debugging::fake_twilio::scenario::{Scenario, Step, as_expected, play};
use twilio_acquire_bridge::domain::plan::Rules;

/// So many callbacks are tried in every order; of more, some orders.
const EXHAUSTIVE: usize = 8;

/// Seeds that failed once. They are run first, and are committed.
const REGRESSIONS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/proptest-regressions/scenarios.txt"
);

struct Case {
    name: String,
    scenario: Scenario,
    rules: Rules,
}

pub fn scenario_folders() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/scenarios");
    sorted(&root, Path::is_dir)
}

fn cases() -> Vec<Case> {
    let folders = scenario_folders();
    folders.iter().map(|folder| case(folder)).collect()
}

fn case(folder: &Path) -> Case {
    let name = folder.file_name().expect("a name").to_string_lossy();
    let files = sorted(folder, |path| {
        path.extension()
            .is_some_and(|extension| extension == "http")
    });
    let scenario = Scenario::read(folder, &files).unwrap_or_else(|why| panic!("{name}: {why}"));
    let rules = config::load_part(
        scenario.settings.as_deref(),
        [],
        config::partial::urls_and_rules,
    );
    Case {
        rules: rules.unwrap_or_else(|why| panic!("{name}: {why}")).1,
        name: name.into_owned(),
        scenario,
    }
}

fn sorted(folder: &Path, wanted: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| wanted(path))
        .collect();
    paths.sort();
    paths
}

impl Case {
    /// The requests for the callbacks if all arrive at once, as `order` numbers them.
    fn requests(&self, order: &[usize]) -> Vec<Value> {
        let at_once = |number: &usize| Step {
            after: std::time::Duration::ZERO,
            callback: self.scenario.steps[*number].callback.clone(),
        };
        let steps: Vec<Step> = order.iter().map(at_once).collect();
        play(&steps, &self.rules).iter().map(as_expected).collect()
    }

    fn in_file_order(&self) -> Vec<usize> {
        (0..self.scenario.steps.len()).collect()
    }
}

#[test]
fn every_scenario_becomes_what_acquire_must_get() {
    let cases = cases();
    assert!(cases.len() >= 20, "{} scenarios", cases.len());
    for case in cases {
        let got = case.scenario.play(&case.rules);
        assert_eq!(got, case.scenario.expected, "{}", case.name);
    }
}

#[test]
fn every_order_of_a_scenario_leads_to_the_same_requests() {
    // Thousands of orders each, so they share the cores.
    std::thread::scope(|scope| {
        for case in cases() {
            scope.spawn(move || every_order_leads_to_the_same_requests(&case));
        }
    });
}

fn every_order_leads_to_the_same_requests(case: &Case) {
    let first = case.requests(&case.in_file_order());
    if case.scenario.steps.iter().all(|step| step.after.is_zero()) {
        assert_eq!(first, case.scenario.expected, "{}", case.name);
    }
    let mut order = case.in_file_order();
    if order.len() <= EXHAUSTIVE {
        each_order(&mut order, 0, &mut |order| {
            assert_eq!(case.requests(order), first, "{} {order:?}", case.name);
        });
    }
}

fn each_order(order: &mut Vec<usize>, from: usize, see: &mut impl FnMut(&[usize])) {
    if from + 1 >= order.len() {
        return see(order);
    }
    for place in from..order.len() {
        order.swap(from, place);
        each_order(order, from + 1, see);
        order.swap(from, place);
    }
}

#[test]
fn repeats_of_a_scenario_lead_to_the_same_requests() {
    for case in cases() {
        let all = case.in_file_order();
        let first = case.requests(&all);
        let repeated = [all.clone(), all.clone()].concat();
        let orders = (all.len()..=8.max(all.len()), Just(repeated).prop_shuffle()).prop_map(
            move |(most, shuffled)| {
                // Each at least once, and repeats up to eight callbacks.
                let mut order = shuffled;
                let mut seen = HashSet::new();
                let (new, again): (Vec<_>, Vec<_>) =
                    order.drain(..).partition(|number| seen.insert(*number));
                let spare = most - new.len();
                [again.into_iter().take(spare).collect(), new].concat()
            },
        );
        let mut runner = TestRunner::new(ProptestConfig {
            cases: 64,
            failure_persistence: Some(Box::new(FileFailurePersistence::Direct(REGRESSIONS))),
            ..ProptestConfig::default()
        });
        let same = runner.run(
            &orders.prop_flat_map(|order| Just(order).prop_shuffle()),
            |order| {
                prop_assert_eq!(case.requests(&order), first.clone(), "{:?}", order);
                Ok(())
            },
        );
        same.unwrap_or_else(|why| panic!("{}: {why}", case.name));
    }
}

#[test]
fn each_reported_call_has_exactly_one_end() {
    for case in cases() {
        let requests = case.scenario.play(&case.rules);
        let ended: Vec<&Value> = requests
            .iter()
            .filter_map(|request| Some(&request.get("call-end")?["CallId"]))
            .collect();
        let distinct: HashSet<&Value> = ended.iter().copied().collect();
        assert!(!ended.is_empty(), "{}", case.name);
        assert_eq!(ended.len(), distinct.len(), "{}", case.name);
        let reported: HashSet<&Value> = requests
            .iter()
            .flat_map(|request| request.as_object().expect("a kind").values())
            .map(|body| &body["CallId"])
            .collect();
        assert_eq!(reported, distinct, "{}: each reported call ends", case.name);
    }
}
