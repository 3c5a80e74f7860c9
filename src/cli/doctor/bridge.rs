//! Reports what only the running bridge knows: paused accounts, jumps of its clock, its version.

use serde_json::Value;

use super::note::Notes;
use crate::app::block_on;
use crate::cli::admin_client::AdminClient;
use crate::cli::check::online::Opened;
use crate::config::Config;
use crate::domain::outage::Outage;

const ABOUT: &str = "bridge";

/// The metric of the jumps and their consequences, up to the value of its label.
const CLOCK_EVENTS: &str = "bridge_clock_events_total{kind=\"";

/// `store` is the state of the store of `config`, if it could be opened.
pub(super) fn check(notes: &mut Notes, config: &Config, store: Option<Opened>) {
    let client = AdminClient::of(&config.admin);
    let (ready, status, metrics) = block_on(async {
        (
            client.is_ready().await,
            client.get("/api/status").await,
            client.text("/metrics").await,
        )
    });
    match (ready, &status) {
        (Err(why), None) if store == Some(Opened::OwnedByABridge) => notes.problem(
            ABOUT,
            format_args!("a bridge runs on the store, but {why}; check admin.listen"),
        ),
        (Err(why), None) => notes.ok(
            ABOUT,
            format_args!("{why}; a running bridge also reports paused accounts"),
        ),
        (Ok(_), None) => notes.problem(
            ABOUT,
            format_args!(
                "the bridge on admin.listen ({client}) does not answer GET /api/status; check that it has \
                 this configuration (admin.token) and this version"
            ),
        ),
        (Ok(report), Some(_)) if report == "ready" => {
            let ready = format!("the bridge on admin.listen ({client}) is ready");
            notes.ok(ABOUT, ready);
        }
        (Ok(report), Some(_)) => notes.problem(ABOUT, report.replace('\n', "; ")),
        (Err(why), Some(_)) => notes.problem(
            ABOUT,
            format_args!("{why}; callbacks get 503 until the cause is fixed"),
        ),
    }
    if let Some(status) = &status {
        of_status(notes, status);
    }
    for line in metrics.iter().flat_map(|text| text.lines()) {
        of_clock_event(notes, line);
    }
}

fn of_status(notes: &mut Notes, status: &Value) {
    let own = env!("CARGO_PKG_VERSION");
    let running = status["version"].as_str().unwrap_or_default();
    if running != own {
        let sentence = format!(
            "version {running} is running, and {own} is installed; restart the bridge to use it"
        );
        notes.problem("version", sentence);
    }
    let outages = serde_json::from_value::<Vec<Outage>>(status["outages"].clone());
    for outage in outages.unwrap_or_default() {
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
        notes.problem("breaker", sentence);
    }
}

fn of_clock_event(notes: &mut Notes, metric: &str) {
    let event = metric.strip_prefix(CLOCK_EVENTS);
    if let Some((kind, count)) = event.and_then(|event| event.split_once("\"} "))
        && count != "0"
    {
        let sentence = format!(
            "{kind} was counted {count} times since the bridge started (bridge_clock_events_total); its \
             log says when; run a time service such as chrony"
        );
        notes.problem("clock", sentence);
    }
}
