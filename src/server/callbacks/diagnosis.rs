//! Finds out why signatures do not hold, beside the answering of requests: a bounded queue, one
//! thread at most, and a rest after each look. Nothing it finds changes an answer.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::web::Bytes;
use secrecy::ExposeSecret as _;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::refusal::Refusal;
use super::refused_buffer::{self, Tray};
use crate::clock::{self, Clock, Millis};
use crate::config::{Account, Config};
use crate::server::target;
use crate::store::{Refused, Store};
use crate::telemetry::metrics::Metrics;
use crate::twilio::diagnosis::{
    Base, Evidence, Finding, Holder, Media, Role, diagnose, is_telling,
};
use crate::twilio::signature;

/// Cases that may wait; each holds a body of at most 64 KiB.
const MOST_WAITING: usize = 16;

/// After each look: four in a second at most, so that a flood of forged requests cannot keep a
/// core busy.
const REST: Duration = Duration::from_millis(250);

/// Between two log lines of one cause; all of them are counted.
const TOLD_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// E-mails beyond these are not tried.
const MOST_EMAILS: usize = 64;

/// Counts what could not be looked at.
const UNDIAGNOSED: &str = "undiagnosed";

/// A refused request as it arrived, and what is made of it once its cause is known.
struct Case {
    refused: Refused,
    target: String,
    headers: Vec<(String, String)>,
    signature: Option<String>,
    body: Bytes,
    reason: &'static str,
}

/// Where the handlers leave their cases.
pub struct Doctor {
    waiting: mpsc::Sender<Case>,
    tray: Arc<Tray>,
    metrics: Arc<Metrics>,
}

/// What looks at them, to be run beside the handlers.
pub struct Practice {
    cases: mpsc::Receiver<Case>,
    tray: Arc<Tray>,
    store: Arc<dyn Store>,
    metrics: Arc<Metrics>,
    clock: Clock,
    config: watch::Receiver<Arc<Config>>,
    known: Arc<Known>,
    told: HashMap<&'static str, Millis>,
}

/// What the configuration says.
struct Known {
    bases: Vec<Base>,
    accounts: Vec<Account>,
    account_sids: Vec<String>,
    queries: Vec<String>,
}

#[must_use]
pub fn open(
    mut config: watch::Receiver<Arc<Config>>,
    store: &Arc<dyn Store>,
    metrics: &Arc<Metrics>,
    clock: &Clock,
) -> (Doctor, Practice) {
    let known = Arc::new(Known::of(&config.borrow_and_update()));
    let (waiting, cases) = mpsc::channel(MOST_WAITING);
    let tray = Arc::new(Tray::new(metrics));
    let doctor = Doctor {
        waiting,
        tray: Arc::clone(&tray),
        metrics: Arc::clone(metrics),
    };
    let practice = Practice {
        cases,
        tray,
        store: Arc::clone(store),
        metrics: Arc::clone(metrics),
        clock: clock.clone(),
        config,
        known,
        told: HashMap::new(),
    };
    (doctor, practice)
}

impl Doctor {
    /// Whether this is a refusal of which the cause may be found.
    #[must_use]
    pub fn takes(refusal: &Refusal) -> bool {
        matches!(refusal, Refusal::WrongSignature | Refusal::NoAccountSid)
    }

    /// Leaves a refusal to be kept, and a case to be looked at before, where not too many wait.
    pub fn leave(
        &self,
        request: &HttpRequest,
        body: &Bytes,
        refusal: &Refusal,
        refused: impl FnOnce() -> Refused,
    ) {
        if !Self::takes(refusal) {
            return self.tray.lay(refusal.reason(), refused);
        }
        let Ok(place) = self.waiting.try_reserve() else {
            self.metrics.signature_failed(UNDIAGNOSED);
            return self.tray.lay(UNDIAGNOSED, || Refused {
                cause: UNDIAGNOSED.to_owned(),
                ..refused()
            });
        };
        let headers = refused_buffer::some_of(request.headers(), is_telling).into_iter();
        let signature = request.headers().get("x-twilio-signature");
        place.send(Case {
            refused: refused(),
            target: target(request).to_owned(),
            headers: headers
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            signature: signature.and_then(|value| Some(value.to_str().ok()?.to_owned())),
            body: body.clone(),
            reason: refusal.reason(),
        });
    }
}

impl Practice {
    /// Looks at one case after another, and keeps what was refused, until no handler is left.
    pub async fn run(mut self) {
        let (store, config) = (Arc::clone(&self.store), self.config.clone());
        let (tray, clock) = (Arc::clone(&self.tray), self.clock.clone());
        let ended = CancellationToken::new();
        let looking = async {
            self.look_at_cases().await;
            ended.cancel();
        };
        tokio::join!(
            looking,
            refused_buffer::keep(&tray, store, config, clock, &ended)
        );
    }

    async fn look_at_cases(&mut self) {
        while let Some(case) = self.cases.recv().await {
            if self.config.has_changed().unwrap_or(false) {
                self.known = Arc::new(Known::of(&self.config.borrow_and_update()));
            }
            let known = Arc::clone(&self.known);
            let reason = case.reason;
            let look = tokio::task::spawn_blocking(move || (known.look_at(&case), case.refused));
            match look.await {
                Ok((finding, refused)) => self.tell(&finding, reason, refused),
                Err(_) => self.metrics.signature_failed(UNDIAGNOSED),
            }
            clock::pause(REST).await;
        }
    }

    fn tell(&mut self, finding: &Finding, refused_as: &'static str, refused: Refused) {
        let reason = match finding.reason() {
            // What plain verification said is then all there is to say.
            "no-match" => refused_as,
            found => found,
        };
        self.metrics.signature_failed(reason);
        let (found, remedy) = (finding.sentences(), finding.remedies().join(" "));
        self.tray.lay(reason, || Refused {
            cause: reason.to_owned(),
            told: format!("{found} {remedy}").trim_end().to_owned(),
            ..refused
        });
        let now = self.clock.now();
        let lately = self
            .told
            .get(reason)
            .is_some_and(|told| now.since(*told) < TOLD_AGAIN_AFTER);
        if !lately {
            self.told.insert(reason, now);
            warn!(reason, remedy, "a signature did not hold: {found} {remedy}");
        }
    }
}

impl Known {
    fn of(config: &Config) -> Self {
        let sids = config
            .accounts
            .iter()
            .filter_map(|account| account.twilio_account_sid.as_ref());
        let directory = &config.rules.directory;
        let emails = directory.default.iter().chain(directory.entries.values());
        let emails = emails.take(MOST_EMAILS);
        Self {
            bases: config.server.public_urls.iter().map(Base::of).collect(),
            accounts: config.accounts.clone(),
            account_sids: sids.map(ToString::to_string).collect(),
            queries: emails
                .map(|email| format!("email={}", email.replace('@', "%40")))
                .collect(),
        }
    }

    fn look_at(&self, case: &Case) -> Finding {
        let fields = signature::fields(&case.body);
        let claimed = fields.iter().find(|(name, _)| name == "AccountSid");
        let claimed = claimed.map(|(_, sid)| sid.as_str());
        let evidence = Evidence {
            bases: &self.bases,
            target: &case.target,
            headers: &case.headers,
            body: &case.body,
            media: Media::Form,
            queries: &self.queries,
            account_sids: &self.account_sids,
        };
        diagnose(&evidence, &self.holders(claimed), case.signature.as_deref())
    }

    /// The keys of all accounts, seen from one that is claimed.
    fn holders(&self, claimed: Option<&str>) -> Vec<Holder> {
        let role = |account: &Account| match (&account.twilio_account_sid, claimed) {
            (Some(sid), Some(claimed)) if sid.to_string() != claimed => Role::OtherAccount,
            _ => Role::Judge,
        };
        let setting = |number: usize, account: &Account| match account.twilio_account_sid {
            Some(_) => format!("accounts[{number}].twilio_auth_tokens"),
            None => "TWILIO_AUTH_TOKEN".to_owned(),
        };
        let holders = (1..).zip(&self.accounts).map(|(number, account)| Holder {
            setting: setting(number, account),
            role: role(account),
            auth_tokens: account.auth_tokens.clone(),
            shared_keys: account
                .shared_keys
                .iter()
                .map(|(id, secret)| (id.clone(), secret.expose_secret().into()))
                .collect(),
        });
        holders.collect()
    }
}
