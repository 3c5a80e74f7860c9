//! Whether everything is fine: the page Today and `/api/status`.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::web::Data;
use askama::Template;
use tokio_util::sync::CancellationToken;

use super::chart::{self, Chart};
use super::console::{AdminState, PAGE_SIZE, page};
use super::error::AdminError;
use super::frame::Frame;
use super::probes::readiness;
use crate::clock::Millis;
use crate::config::Account;
use crate::debugging::bridge_status::{BridgeFacts, BridgeStatus, is_concern, thousands};
use crate::debugging::recent_calls::{RecentCalls, RecentTimes};
use crate::debugging::report::Sums;
use crate::debugging::state_words::rough;
use crate::domain::condition::ProblemKind;
use crate::domain::operation::OperationState;
use crate::domain::outage::{AccountOutage, Outage};
use crate::domain::plural::counted;
use crate::server::shared::BridgeParts;
use crate::store::{RefusedCause, RefusedFilter, State, Store, StoreError, disk};
use crate::twilio::callback::CallbackKind;
use crate::twilio::callback_url::to_enter;

/// A certificate that expires sooner concerns an operator.
const CERTIFICATE_LEFT: Duration = Duration::from_secs(21 * 24 * 3_600);

/// `GET /api/status`: the sentence of Today with the figures behind it, the version of the program, and the
/// accounts to which deliveries are paused.
pub async fn status(admin: Data<AdminState>) -> Result<HttpResponse, AdminError> {
    let facts = admin.facts().await?;
    let status = BridgeStatus::of(&facts, admin.bridge.clock.now());
    let counts = facts.counts.as_ref();
    let calls = State::ALL.map(|state| {
        let calls = counts.map(|counts| counts.in_state(state));
        (state.as_str().to_owned(), calls.into())
    });
    let calls: serde_json::Map<String, serde_json::Value> = calls.into_iter().collect();
    let refused: u64 = facts.refused.iter().map(|(cause, _)| cause.count).sum();
    let config = admin.bridge.config.borrow().clone();
    let of_account = |outage: &Outage| {
        let own = |of: &&Account| of.acquire_account_id == outage.account;
        let own = config.accounts.iter().filter(own);
        AccountOutage {
            outage: outage.clone(),
            accounts: own
                .filter_map(|of| Some(of.twilio_account_sid.as_ref()?.to_string()))
                .collect(),
        }
    };
    let outages: Vec<AccountOutage> = facts.outages.iter().map(of_account).collect();
    Ok(HttpResponse::Ok().json(serde_json::json!({
        "version": env!("CARGO_PKG_VERSION"),
        "sentence": status.sentence,
        "is_well": status.is_well,
        "conditions": status.conditions,
        "calls": calls,
        "oldest_due": counts.and_then(|counts| counts.oldest_due),
        "refused": refused,
        "spooled": facts.spooled,
        "outages": outages,
        "today": facts.recent.as_ref().map(|recent| &recent.today),
        "week_ago": facts.recent.as_ref().map(|recent| &recent.week_ago),
    })))
}

/// A figure of Today with its list.
struct Tile {
    name: &'static str,
    figure: String,
    note: String,
    link: String,
}

/// An account of the configuration.
struct AccountRow {
    name: String,
    outage: Option<Outage>,
    last_callback: Option<Millis>,
    /// The keys that signed callbacks since the configuration was read, with the number of requests.
    keys: String,
}

#[derive(Template)]
#[template(path = "today.html")]
struct TodayPage {
    status: BridgeStatus,
    tiles: Vec<Tile>,
    recent: Option<RecentCalls>,
    charts: Vec<Chart>,
    accounts: Vec<AccountRow>,
    frame: Frame,
}

/// `GET /`: the most urgent condition as headline, the others, figures and accounts.
pub async fn today(admin: Data<AdminState>) -> Result<HttpResponse, AdminError> {
    let facts = admin.facts().await?;
    let now = admin.bridge.clock.now();
    page(&TodayPage {
        status: BridgeStatus::of(&facts, now),
        tiles: tiles(&facts, now),
        charts: facts
            .recent
            .iter()
            .flat_map(chart::charts)
            .filter(|chart| chart.most > 0)
            .collect(),
        recent: facts.recent,
        accounts: accounts(&admin),
        frame: Frame::of("/", now),
    })
}

impl AdminState {
    async fn facts(&self) -> Result<BridgeFacts, AdminError> {
        Ok(facts(&self.bridge, &self.stop).await?)
    }
}

/// The state of a bridge that stops at `stop`: for Today, `status` and notifications.
pub async fn facts(
    bridge: &BridgeParts,
    stop: &CancellationToken,
) -> Result<BridgeFacts, StoreError> {
    let (store, now) = (&bridge.store, bridge.clock.now());
    let config = bridge.config.borrow().clone();
    let counts = unless_down(store.counts().await)?;
    let refused = unless_down(store.refused_by_cause().await)?.unwrap_or_default();
    let mut explained = Vec::with_capacity(refused.len());
    for cause in refused {
        let explanation = if is_concern(&cause, now) {
            explanation(bridge, &cause).await?
        } else {
            String::new()
        };
        explained.push((cause, explanation));
    }
    let times = RecentTimes::of(now, &config.report.time_zone);
    let operations = unless_down(store.operations(PAGE_SIZE).await)?.unwrap_or_default();
    let is_running = |of: &crate::store::Operation| of.state == OperationState::Running;
    let names = config.accounts.iter().map(|of| &of.acquire_account_id);
    let urls = &config.server.public_urls;
    Ok(BridgeFacts {
        not_stored: readiness(bridge, stop).await.err(),
        spooled: store.spooled(),
        counts,
        outages: bridge.outages.all(),
        accounts: config.accounts.len(),
        refused: explained,
        problems: problems(bridge, now),
        recent: unless_down(recent(&**store, &times).await)?,
        last_callback: names
            .filter_map(|name| bridge.metrics.last_callback_at(name))
            .max(),
        operations: operations.into_iter().filter(is_running).collect(),
        late: config.report.late,
        callback_url: urls.first().map(|url| to_enter(url, CallbackKind::Status)),
    })
}

async fn recent(store: &dyn Store, times: &RecentTimes) -> Result<RecentCalls, StoreError> {
    let [now, then] = times.ranges();
    let (now, then) = (store.ledger(now).await?, store.ledger(then).await?);
    Ok(RecentCalls::of(&now, &then, times))
}

/// `None` while the database is down.
fn unless_down<T>(answer: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(why) if why.is_unavailable() => Ok(None),
        Err(why) => Err(why),
    }
}

/// Of the latest request of a cause.
async fn explanation(bridge: &BridgeParts, cause: &RefusedCause) -> Result<String, StoreError> {
    let filter = RefusedFilter {
        id: Some(cause.example),
        cause: None,
        limit: 1,
    };
    let found = unless_down(bridge.store.refused(filter).await)?.unwrap_or_default();
    let explanation = found
        .into_iter()
        .next()
        .map(|stored| stored.request.explanation);
    Ok(explanation.unwrap_or_default())
}

/// Problems that `doctor` reports too, as far as a running bridge knows them.
fn problems(bridge: &BridgeParts, now: Millis) -> Vec<(ProblemKind, String)> {
    let mut problems = Vec::new();
    let warning = bridge.store.warning();
    problems.extend(warning.map(|why| (ProblemKind::OtherProgram, format!("Warning: {why}."))));
    let free = bridge.store.files().free_bytes;
    // Without a file there is no disk.
    if let Some(warning) = disk::low_space_warning(free).filter(|_| free > 0) {
        let free = free >> 20;
        let sentence = format!("{free} MiB are free on the disk of the store: {warning}.");
        problems.push((ProblemKind::DiskSpace, sentence));
    }
    let left = bridge.metrics.certificate_left(now);
    if let Some(left) = left.filter(|left| *left < CERTIFICATE_LEFT) {
        let left = rough(left);
        let sentence =
            format!("The certificate of the public listener expires in {left}: renew it.");
        problems.push((ProblemKind::Certificate, sentence));
    }
    match bridge.metrics.consistency_errors().get() {
        0 => {}
        errors => {
            let errors = counted(errors, "error");
            let sentence = format!(
                "The last consistency check of the store found {errors}: run check --store, and keep the \
                 file."
            );
            problems.push((ProblemKind::Consistency, sentence));
        }
    }
    problems
}

fn tiles(facts: &BridgeFacts, now: Millis) -> Vec<Tile> {
    let counts = facts.counts.as_ref();
    let calls = |figure: fn(&crate::store::Counts) -> u64| {
        counts.map_or_else(|| "?".to_owned(), |counts| thousands(figure(counts)))
    };
    let oldest = counts.and_then(|counts| counts.oldest_due);
    let oldest = oldest.filter(|due| now.since(*due) >= Duration::from_secs(1));
    let oldest = oldest.map(|due| format!("longest due since {due}"));
    let refused: u64 = facts.refused.iter().map(|(cause, _)| cause.count).sum();
    let tile = |name, figure, link: &str| Tile {
        name,
        figure,
        note: String::new(),
        link: link.to_owned(),
    };
    let mut tiles = facts.recent.as_ref().map_or_else(Vec::new, of_today);
    tiles.extend([
        Tile {
            note: oldest.unwrap_or_default(),
            ..tile(
                "waiting",
                calls(|counts| counts.pending + counts.claimed),
                "/calls?state=pending",
            )
        },
        tile("need a decision", calls(|counts| counts.parked), "/parked"),
        tile("refused requests", thousands(refused), "/refused"),
    ]);
    tiles
}

/// The figures of today beside those of a week ago.
fn of_today(recent: &RecentCalls) -> Vec<Tile> {
    let of_state = |state| format!("/calls?state={state}&since={}", recent.day);
    let tile = |name, figure: fn(&Sums) -> i64, link| {
        let [today, then] =
            [&recent.today, &recent.week_ago].map(|sums| thousands(figure(sums).unsigned_abs()));
        Tile {
            name,
            figure: today,
            note: if recent.week_ago.received > 0 {
                format!("a week ago by now: {then}")
            } else {
                String::new()
            },
            link,
        }
    };
    let all = format!("/calls?since={}", recent.day);
    vec![
        tile("calls today", |sums| sums.received, all),
        tile("in Acquire", Sums::in_acquire, of_state(State::Delivered)),
        tile("late", |sums| sums.late, "/report".to_owned()),
        tile("not sent", Sums::not_sent, of_state(State::Skipped)),
    ]
}

fn accounts(admin: &AdminState) -> Vec<AccountRow> {
    let bridge = &admin.bridge;
    let config = bridge.config.borrow().clone();
    let of_account = |account: &Account| {
        let name = &account.acquire_account_id;
        let tokens = (1..=account.auth_tokens.len()).map(|at| at.to_string());
        let shared = (1..=account.shared_keys.len()).map(|at| format!("shared-{at}"));
        let used = tokens.chain(shared).filter_map(|position| {
            let uses = bridge.metrics.signing_key(name, &position).get();
            (uses > 0).then(|| format!("{position} ({})", counted(uses, "request")))
        });
        AccountRow {
            name: name.clone(),
            outage: bridge.outages.of(name),
            last_callback: bridge.metrics.last_callback_at(name),
            keys: used.collect::<Vec<_>>().join(", "),
        }
    };
    config.accounts.iter().map(of_account).collect()
}
