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

use super::refusal::RefusalError;
use super::refused_buffer::{self, RefusedBuffer};
use crate::clock::{self, Clock, Millis};
use crate::config::{Account, Config};
use crate::server::target;
use crate::store::{RefusedRequest, Store};
use crate::telemetry::metrics::Metrics;
use crate::twilio::diagnosis::{
    BodyFormat, DiagnosisInput, Finding, KeyRole, KeySet, UrlBase, diagnose, is_telling,
};
use crate::twilio::signature;

/// Cases that may wait; each holds a body of at most 64 KiB.
const MAX_QUEUED: usize = 16;

/// After each look: four in a second at most, so that a flood of forged requests cannot keep a
/// core busy.
const DIAGNOSIS_INTERVAL: Duration = Duration::from_millis(250);

/// Between two log lines of one cause; all of them are counted.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// E-mails beyond these are not tried.
const MAX_EMAILS: usize = 64;

/// Counts what could not be looked at.
const UNDIAGNOSED: &str = "undiagnosed";

/// A refused request as it arrived, and what is made of it once its cause is known.
struct DiagnosisJob {
    refused: RefusedRequest,
    target: String,
    headers: Vec<(String, String)>,
    signature: Option<String>,
    body: Bytes,
    reason: &'static str,
}

/// Where the handlers leave their cases.
pub struct SignatureDiagnosis {
    waiting: mpsc::Sender<DiagnosisJob>,
    tray: Arc<RefusedBuffer>,
    metrics: Arc<Metrics>,
}

/// What looks at them, to be run beside the handlers.
pub struct DiagnosisTask {
    cases: mpsc::Receiver<DiagnosisJob>,
    tray: Arc<RefusedBuffer>,
    store: Arc<dyn Store>,
    metrics: Arc<Metrics>,
    clock: Clock,
    config: watch::Receiver<Arc<Config>>,
    known: Arc<DiagnosisContext>,
    last_logged_at: HashMap<&'static str, Millis>,
}

/// What the configuration says.
struct DiagnosisContext {
    bases: Vec<UrlBase>,
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
) -> (SignatureDiagnosis, DiagnosisTask) {
    let known = Arc::new(DiagnosisContext::of(&config.borrow_and_update()));
    let (waiting, cases) = mpsc::channel(MAX_QUEUED);
    let tray = Arc::new(RefusedBuffer::new(metrics));
    let doctor = SignatureDiagnosis {
        waiting,
        tray: Arc::clone(&tray),
        metrics: Arc::clone(metrics),
    };
    let practice = DiagnosisTask {
        cases,
        tray,
        store: Arc::clone(store),
        metrics: Arc::clone(metrics),
        clock: clock.clone(),
        config,
        known,
        last_logged_at: HashMap::new(),
    };
    (doctor, practice)
}

impl SignatureDiagnosis {
    /// Whether this is a refusal of which the cause may be found.
    #[must_use]
    pub fn takes(refusal: &RefusalError) -> bool {
        matches!(
            refusal,
            RefusalError::WrongSignature | RefusalError::NoAccountSid
        )
    }

    /// Leaves a refusal to be kept, and a case to be looked at before, where not too many wait.
    pub fn submit(
        &self,
        request: &HttpRequest,
        body: &Bytes,
        refusal: &RefusalError,
        refused: impl FnOnce() -> RefusedRequest,
    ) {
        if !Self::takes(refusal) {
            return self.tray.push(refusal.reason(), refused);
        }
        let Ok(place) = self.waiting.try_reserve() else {
            self.metrics.signature_failed(UNDIAGNOSED);
            return self.tray.push(UNDIAGNOSED, || RefusedRequest {
                cause: UNDIAGNOSED.to_owned(),
                ..refused()
            });
        };
        let headers = refused_buffer::some_of(request.headers(), is_telling).into_iter();
        let signature = request.headers().get("x-twilio-signature");
        place.send(DiagnosisJob {
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

impl DiagnosisTask {
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
                self.known = Arc::new(DiagnosisContext::of(&self.config.borrow_and_update()));
            }
            let known = Arc::clone(&self.known);
            let reason = case.reason;
            let look = tokio::task::spawn_blocking(move || (known.look_at(&case), case.refused));
            match look.await {
                Ok((finding, refused)) => self.report(&finding, reason, refused),
                Err(_) => self.metrics.signature_failed(UNDIAGNOSED),
            }
            clock::pause(DIAGNOSIS_INTERVAL).await;
        }
    }

    fn report(&mut self, finding: &Finding, refused_as: &'static str, refused: RefusedRequest) {
        let reason = match finding.reason() {
            // What plain verification said is then all there is to say.
            "no-match" => refused_as,
            found => found,
        };
        self.metrics.signature_failed(reason);
        let (found, remedy) = (finding.sentences(), finding.remedies().join(" "));
        self.tray.push(reason, || RefusedRequest {
            cause: reason.to_owned(),
            explanation: format!("{found} {remedy}").trim_end().to_owned(),
            ..refused
        });
        let now = self.clock.now();
        let lately = self
            .last_logged_at
            .get(reason)
            .is_some_and(|told| now.since(*told) < LOG_INTERVAL);
        if !lately {
            self.last_logged_at.insert(reason, now);
            warn!(reason, remedy, "a signature did not hold: {found} {remedy}");
        }
    }
}

impl DiagnosisContext {
    fn of(config: &Config) -> Self {
        let sids = config
            .accounts
            .iter()
            .filter_map(|account| account.twilio_account_sid.as_ref());
        let directory = &config.rules.directory;
        let emails = directory.default.iter().chain(directory.entries.values());
        let emails = emails.take(MAX_EMAILS);
        Self {
            bases: config.server.public_urls.iter().map(UrlBase::of).collect(),
            accounts: config.accounts.clone(),
            account_sids: sids.map(ToString::to_string).collect(),
            queries: emails
                .map(|email| format!("email={}", email.replace('@', "%40")))
                .collect(),
        }
    }

    fn look_at(&self, case: &DiagnosisJob) -> Finding {
        let fields = signature::fields(&case.body);
        let claimed = fields.iter().find(|(name, _)| name == "AccountSid");
        let claimed = claimed.map(|(_, sid)| sid.as_str());
        let evidence = DiagnosisInput {
            bases: &self.bases,
            target: &case.target,
            headers: &case.headers,
            body: &case.body,
            media: BodyFormat::Form,
            queries: &self.queries,
            account_sids: &self.account_sids,
        };
        diagnose(&evidence, &self.holders(claimed), case.signature.as_deref())
    }

    /// The keys of all accounts, seen from one that is claimed.
    fn holders(&self, claimed: Option<&str>) -> Vec<KeySet> {
        let role = |account: &Account| match (&account.twilio_account_sid, claimed) {
            (Some(sid), Some(claimed)) if sid.to_string() != claimed => KeyRole::OtherAccount,
            _ => KeyRole::Configured,
        };
        let setting = |number: usize, account: &Account| match account.twilio_account_sid {
            Some(_) => format!("accounts[{number}].twilio_auth_tokens"),
            None => "TWILIO_AUTH_TOKEN".to_owned(),
        };
        let holders = (1..).zip(&self.accounts).map(|(number, account)| KeySet {
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
