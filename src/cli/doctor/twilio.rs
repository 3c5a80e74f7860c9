//! Checks each API key with Twilio: whether it may list calls, the clocks, and the `StatusCallback` of each
//! number. Reports the last canary.

use std::sync::Arc;

use super::network::of_time;
use super::note::Note;
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

pub(super) fn check(config: &Config) -> Vec<Note> {
    let has_key = config.accounts.iter().any(|of| of.twilio_api_key.is_some());
    let has_canary = config.reconcile.canary_every.is_some();
    if !has_key && !has_canary {
        return Vec::new();
    }
    block_on(async {
        // Another check reports a store that cannot be opened.
        let Ok(store) = KnownStore::open(&config.store.url, None).await else {
            return Vec::new();
        };
        let reconciler = Reconciler {
            config: Arc::new(config.clone()),
            store,
            clock: Clock::system(),
            metrics: Arc::new(Metrics::default()),
        };
        let mut notes = Vec::new();
        if has_canary {
            notes.extend(of_canary(&reconciler).await);
        }
        if has_key {
            match reconciler.apis(None).await {
                Ok(apis) => {
                    for api in apis {
                        notes.extend(of_account(&api, config).await);
                    }
                }
                Err(why) => notes.push(Note::problem("twilio", why.to_string())),
            }
        }
        notes
    })
}

async fn of_canary(reconciler: &Reconciler) -> Option<Note> {
    let (_, result) = reconciler
        .store
        .notes(CANARY_RESULT)
        .await
        .ok()?
        .into_iter()
        .next()?;
    let (at, sentence) = result.split_once(' ')?;
    Some(if sentence == "ok" {
        Note::ok("canary", format!("it came back at {at}"))
    } else {
        Note::problem(
            "canary",
            format!("it did not come back at {at}: {sentence}"),
        )
    })
}

async fn of_account(api: &TwilioApi, config: &Config) -> Vec<Note> {
    let account = api.account();
    if let Err(why) = api.calls(&[]).of_size(1).next().await {
        return vec![Note::problem("twilio", format!("account {account}: {why}"))];
    }
    let mut notes = vec![Note::ok(
        "twilio",
        format!("the key of account {account} may list calls"),
    )];
    let now = Clock::system().now();
    notes.push(of_time(&config.twilio.api_url, api.server_time(), now));
    match api.numbers().all().await {
        Err(why) => {
            let sentence = format!("the phone numbers of account {account}: {why}");
            notes.push(Note::problem("twilio", sentence));
        }
        Ok(numbers) => notes.extend(numbers.iter().filter_map(|row| of_number(row, config))),
    }
    notes
}

/// A number that reports its calls to another URL, or to none.
fn of_number(row: &serde_json::Value, config: &Config) -> Option<Note> {
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
    Some(Note::problem(
        "number",
        format!("{number} {found}; enter {right} if its calls belong to this bridge"),
    ))
}
