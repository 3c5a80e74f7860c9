//! Checks each API key with Twilio: whether it may list calls, the clocks, and the `StatusCallback` of each
//! number. Reports the last canary.

use std::sync::Arc;

use super::network::of_time;
use super::note::Notes;
use crate::app::block_on;
use crate::app::reconcile::{KnownStore, Reconciler};
use crate::clock::Clock;
use crate::config::Config;
use crate::store::records::CANARY_RESULT;
use crate::telemetry::metrics::Metrics;
use crate::twilio::callback::CallbackKind;
use crate::twilio::callback_url::to_enter;
use crate::twilio::listed::text;
use crate::twilio_api::TwilioApi;

pub(super) fn check(notes: &mut Notes, config: &Config) {
    let has_key = config.accounts.iter().any(|of| of.twilio_api_key.is_some());
    let has_canary = config.reconcile.canary_every.is_some();
    if !has_key && !has_canary {
        return;
    }
    block_on(async {
        // Another check reports a store that cannot be opened.
        let Ok(store) = KnownStore::open(&config.store.url, None).await else {
            return;
        };
        let reconciler = Reconciler {
            config: Arc::new(config.clone()),
            store,
            clock: Clock::system(),
            metrics: Arc::new(Metrics::default()),
        };
        if has_canary {
            of_canary(notes, &reconciler).await;
        }
        if !has_key {
            return;
        }
        match reconciler.apis(None).await {
            Ok(apis) => {
                for api in apis {
                    of_account(notes, &api, config).await;
                }
            }
            Err(why) => notes.problem("twilio", why),
        }
    });
}

async fn of_canary(notes: &mut Notes, reconciler: &Reconciler) {
    let results = reconciler.store.notes(CANARY_RESULT).await;
    let last = results.unwrap_or_default().into_iter().next();
    match last.as_ref().and_then(|(_, last)| last.split_once(' ')) {
        Some((at, "ok")) => notes.ok("canary", format_args!("it came back at {at}")),
        Some((at, why)) => {
            notes.problem(
                "canary",
                format_args!("it did not come back at {at}: {why}"),
            );
        }
        None => {}
    }
}

async fn of_account(notes: &mut Notes, api: &TwilioApi, config: &Config) {
    let account = api.account();
    if let Err(why) = api.calls(&[]).of_size(1).next().await {
        return notes.problem("twilio", format_args!("account {account}: {why}"));
    }
    let sentence = format!("the key of account {account} may list calls");
    notes.ok("twilio", sentence);
    let now = Clock::system().now();
    of_time(notes, &config.twilio.api_url, api.server_time(), now);
    match api.numbers().all().await {
        Ok(numbers) => {
            for problem in numbers.iter().filter_map(|row| of_number(row, config)) {
                notes.problem("number", problem);
            }
        }
        Err(why) => {
            let sentence = format!("the phone numbers of account {account}: {why}");
            notes.problem("twilio", sentence);
        }
    }
}

/// A number that reports its calls to another URL, or to none.
fn of_number(row: &serde_json::Value, config: &Config) -> Option<String> {
    let number = text(row, "phone_number")?;
    let callback = text(row, "status_callback").unwrap_or_default();
    let entered = callback.split(['?', '#']).next().unwrap_or_default();
    let served = CallbackKind::Status.path();
    let mut urls = config.server.public_urls.iter();
    if urls.any(|url| entered == url.entered(served)) {
        return None;
    }
    let right = config.server.public_urls.first()?;
    let right = to_enter(right, CallbackKind::Status);
    let found = if callback.is_empty() {
        "has no StatusCallback".to_owned()
    } else {
        format!("has the StatusCallback {callback}")
    };
    Some(format!(
        "{number} {found}; enter {right} if its calls belong to this bridge"
    ))
}
