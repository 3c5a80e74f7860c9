//! Reports what only the running bridge knows: paused accounts, jumps of its clock, its version.

use serde_json::Value;

use super::note::Note;
use crate::app::block_on;
use crate::cli::admin_client::AdminClient;
use crate::cli::check::online::Opened;
use crate::config::Config;
use crate::domain::outage::Outage;

const ABOUT: &str = "bridge";

/// The metric of the jumps and their consequences, up to the value of its label.
const CLOCK_EVENTS: &str = "bridge_clock_events_total{kind=\"";

/// `store` is the state of the store of `config`, if it could be opened.
pub(super) fn check(config: &Config, store: Option<Opened>) -> Vec<Note> {
    let client = AdminClient::of(&config.admin);
    let (ready, status, metrics) = block_on(async {
        (
            client.is_ready().await,
            client.get("/api/status").await,
            client.text("/metrics").await,
        )
    });
    let mut notes = Vec::new();
    match (ready, &status) {
        (Err(why), None) if store == Some(Opened::OwnedByABridge) => {
            let why = format!("a bridge runs on the store, but {why}; check admin.listen");
            notes.push(Note::problem(ABOUT, why));
        }
        (Err(why), None) => {
            let why = format!("{why}; a running bridge also reports paused accounts");
            notes.push(Note::ok(ABOUT, why));
        }
        (Ok(_), None) => {
            let why = format!(
                "the bridge on admin.listen ({client}) does not answer GET /api/status; check that it has \
                 this configuration (admin.token) and this version"
            );
            notes.push(Note::problem(ABOUT, why));
        }
        (Ok(report), Some(_)) if report == "ready" => {
            let ready = format!("the bridge on admin.listen ({client}) is ready");
            notes.push(Note::ok(ABOUT, ready));
        }
        (Ok(report), Some(_)) => {
            let report = report.replace('\n', "; ");
            notes.push(Note::problem(ABOUT, report));
        }
        (Err(why), Some(_)) => {
            let why = format!("{why}; callbacks get 503 until the cause is fixed");
            notes.push(Note::problem(ABOUT, why));
        }
    }
    notes.extend(status.iter().flat_map(of_status));
    notes.extend(metrics.iter().flat_map(|text| of_clock_events(text)));
    notes
}

fn of_status(status: &Value) -> Vec<Note> {
    let own = env!("CARGO_PKG_VERSION");
    let running = status["version"].as_str().unwrap_or_default();
    let mut notes = Vec::new();
    if running != own {
        let sentence = format!(
            "version {running} is running, and {own} is installed; restart the bridge to use it"
        );
        notes.push(Note::problem("version", sentence));
    }
    let outages = serde_json::from_value::<Vec<Outage>>(status["outages"].clone());
    notes.extend(outages.unwrap_or_default().iter().map(of_outage));
    notes
}

fn of_outage(outage: &Outage) -> Note {
    let status = outage.status.map(|status| format!(" {status}"));
    let sentence = format!(
        "deliveries to account {} are paused since {}: {},{} {}; {}; calls are held, and a probe follows at {}",
        outage.account,
        outage.since,
        outage.fault,
        status.unwrap_or_default(),
        outage.answer,
        outage.fault.advice(),
        outage.next_probe
    );
    Note::problem("breaker", sentence)
}

fn of_clock_events(metrics: &str) -> Vec<Note> {
    let event = |line: &str| {
        let (kind, count) = line.strip_prefix(CLOCK_EVENTS)?.split_once("\"} ")?;
        let sentence = format!(
            "{kind} was counted {count} times since the bridge started (bridge_clock_events_total); its \
             log says when; run a time service such as chrony"
        );
        (count != "0").then(|| Note::problem("clock", sentence))
    };
    metrics.lines().filter_map(event).collect()
}
