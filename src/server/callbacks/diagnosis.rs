//! Finds out in the background why a signature is invalid. Its result goes to metrics, log and
//! store; it never changes an answer.
//!
//! The pieces, in the order of a request: a bounded channel ([`SignatureDiagnosis::submit`]), the task
//! that reads it ([`DiagnosisTask::run`]), the bounded [`RefusedBuffer`], and its flush to the store.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::web::Bytes;
use secrecy::ExposeSecret as _;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::refused_buffer::{self, RefusedBuffer};
use crate::clock::{self, Millis};
use crate::config::{Account, Config};
use crate::server::shared::{BridgeParts, target};
use crate::store::RefusedRequest;
use crate::telemetry::metrics::Metrics;
use crate::twilio::diagnosis::{
    BodyFormat, Diagnosis, DiagnosisInput, KeyRole, KeySet, UrlBase, diagnose, is_diagnostic_header,
};
use crate::twilio::signature::{self, PublicUrl};

/// Requests that may wait for a diagnosis. Each holds a body of at most 64 KiB.
const MAX_QUEUED: usize = 16;

/// Pause after each diagnosis: at most four per second, so that a flood of forged requests cannot
/// keep a core busy.
const DIAGNOSIS_INTERVAL: Duration = Duration::from_millis(250);

/// Pause between two log lines of one cause. The metric counts all of them.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// E-mails of the directory that are tried as `?email=` of the signed URL.
const MAX_EMAILS: usize = 64;

/// The cause of requests that found the queue full.
const UNDIAGNOSED: &str = "undiagnosed";

/// A refused request as it arrived.
struct DiagnosisJob {
    refused: RefusedRequest,
    target: String,
    headers: Vec<(String, String)>,
    signature: Option<String>,
    body: Bytes,
    reason: &'static str,
}

/// The sending end of the queue, for handlers.
pub struct SignatureDiagnosis {
    queue: mpsc::Sender<DiagnosisJob>,
    buffer: Arc<RefusedBuffer>,
    metrics: Arc<Metrics>,
}

/// The receiving end of the queue, with a task to spawn.
pub struct DiagnosisTask {
    jobs: mpsc::Receiver<DiagnosisJob>,
    buffer: Arc<RefusedBuffer>,
    bridge: BridgeParts,
    context: Arc<DiagnosisContext>,
    last_logged_at: HashMap<&'static str, Millis>,
}

/// The parts of the configuration that a diagnosis reads.
struct DiagnosisContext {
    /// Every public URL has the same mapped paths.
    public_url: PublicUrl,
    bases: Vec<UrlBase>,
    accounts: Vec<Account>,
    account_sids: Vec<String>,
    queries: Vec<String>,
}

/// Both ends of the queue.
pub fn channel(
    bridge: &BridgeParts,
    buffer: &Arc<RefusedBuffer>,
) -> (SignatureDiagnosis, DiagnosisTask) {
    let mut bridge = bridge.clone();
    let context = Arc::new(DiagnosisContext::of(&bridge.config.borrow_and_update()));
    let (queue, jobs) = mpsc::channel(MAX_QUEUED);
    let diagnosis = SignatureDiagnosis {
        queue,
        buffer: Arc::clone(buffer),
        metrics: Arc::clone(&bridge.metrics),
    };
    let task = DiagnosisTask {
        jobs,
        buffer: Arc::clone(buffer),
        bridge,
        context,
        last_logged_at: HashMap::new(),
    };
    (diagnosis, task)
}

impl SignatureDiagnosis {
    /// Queues a refused request. If the queue is full, the request goes to the buffer undiagnosed.
    pub fn submit(
        &self,
        request: &HttpRequest,
        body: &Bytes,
        reason: &'static str,
        refused: impl FnOnce() -> RefusedRequest,
    ) {
        let Ok(place) = self.queue.try_reserve() else {
            self.metrics.signature_failed(UNDIAGNOSED).inc();
            return self.buffer.push(UNDIAGNOSED, || RefusedRequest {
                cause: UNDIAGNOSED.to_owned(),
                ..refused()
            });
        };
        // Headers and body are copied only for a job that has a place in the queue.
        let headers = refused_buffer::selected(request.headers(), is_diagnostic_header).into_iter();
        let signature = request.headers().get("x-twilio-signature");
        place.send(DiagnosisJob {
            refused: refused(),
            target: target(request).to_owned(),
            headers: headers
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            signature: signature.and_then(|value| Some(value.to_str().ok()?.to_owned())),
            body: body.clone(),
            reason,
        });
    }
}

impl DiagnosisTask {
    /// Diagnoses one request after another and flushes the buffer, until the last handler is dropped.
    pub async fn run(mut self) {
        let (buffer, bridge) = (Arc::clone(&self.buffer), self.bridge.clone());
        let ended = CancellationToken::new();
        let diagnosing = async {
            self.diagnose_all().await;
            ended.cancel();
        };
        tokio::join!(diagnosing, buffer.flush_until(&bridge, &ended));
    }

    async fn diagnose_all(&mut self) {
        while let Some(job) = self.jobs.recv().await {
            let config = &mut self.bridge.config;
            if config.has_changed().unwrap_or(false) {
                self.context = Arc::new(DiagnosisContext::of(&config.borrow_and_update()));
            }
            let context = Arc::clone(&self.context);
            let reason = job.reason;
            // A search takes milliseconds of CPU time: it must not hold up an HTTP thread.
            let search = tokio::task::spawn_blocking(move || (context.diagnose(&job), job.refused));
            match search.await {
                Ok((diagnosis, refused)) => self.report(&diagnosis, reason, refused),
                // The search panicked: the request is counted, and the task continues with the
                // next.
                Err(_) => {
                    self.bridge.metrics.signature_failed(UNDIAGNOSED).inc();
                }
            }
            clock::pause(DIAGNOSIS_INTERVAL).await;
        }
    }

    fn report(&mut self, diagnosis: &Diagnosis, refused_as: &'static str, refused: RefusedRequest) {
        let reason = match diagnosis.reason() {
            // Nothing was found, so the reason of the refusal is the best there is.
            "no-match" => refused_as,
            found => found,
        };
        self.bridge.metrics.signature_failed(reason).inc();
        let (found, remedy) = (diagnosis.sentences(), diagnosis.remedies().join(" "));
        self.buffer.push(reason, || RefusedRequest {
            cause: reason.to_owned(),
            explanation: format!("{found} {remedy}").trim_end().to_owned(),
            ..refused
        });
        let now = self.bridge.clock.now();
        let last = self.last_logged_at.get(reason);
        if last.is_none_or(|last| now.since(*last) >= LOG_INTERVAL) {
            self.last_logged_at.insert(reason, now);
            warn!(
                reason,
                remedy, "a signature is invalid (it did not hold): {found} {remedy}"
            );
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
            public_url: config.server.public_urls[0].clone(),
            bases: config.server.public_urls.iter().map(UrlBase::of).collect(),
            accounts: config.accounts.clone(),
            account_sids: sids.map(ToString::to_string).collect(),
            queries: emails
                .map(|email| format!("email={}", email.replace('@', "%40")))
                .collect(),
        }
    }

    fn diagnose(&self, job: &DiagnosisJob) -> Diagnosis {
        let fields = signature::fields(&job.body);
        let claimed = fields.value("AccountSid");
        let input = DiagnosisInput {
            bases: &self.bases,
            target: &self.public_url.entered_target(&job.target),
            headers: &job.headers,
            body: &job.body,
            body_format: BodyFormat::Form,
            queries: &self.queries,
            account_sids: &self.account_sids,
        };
        diagnose(&input, &self.key_sets(claimed), job.signature.as_deref())
    }

    /// The keys of all accounts. With a claimed `AccountSid`, only the keys of that account should have
    /// signed.
    fn key_sets(&self, claimed: Option<&str>) -> Vec<KeySet> {
        let role = |account: &Account| match (&account.twilio_account_sid, claimed) {
            (Some(sid), Some(claimed)) if sid.to_string() != claimed => KeyRole::OtherAccount,
            _ => KeyRole::Configured,
        };
        let setting = |number: usize, account: &Account| match account.twilio_account_sid {
            Some(_) => format!("accounts[{number}].twilio_auth_tokens"),
            None => "TWILIO_AUTH_TOKEN".to_owned(),
        };
        let key_sets = (1..).zip(&self.accounts).map(|(number, account)| KeySet {
            setting: setting(number, account),
            role: role(account),
            auth_tokens: account.auth_tokens.clone(),
            shared_keys: account
                .shared_keys
                .iter()
                .map(|(id, secret)| (id.clone(), secret.expose_secret().into()))
                .collect(),
        });
        key_sets.collect()
    }
}
