//! State that the handlers of callbacks share, on all HTTP threads.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::diagnosis::{self, SignatureDiagnosis};
use super::refused_buffer::RefusedBuffer;
use super::signed_form::Verifier;
use crate::server::shared::BridgeParts;

pub struct CallbackState {
    pub(super) bridge: BridgeParts,
    /// Follows the configuration, because a reload may change keys and public URLs.
    pub(in crate::server) verifier: watch::Receiver<Arc<Verifier>>,
    /// How long a body may take to arrive.
    pub(super) request_timeout: Duration,
    pub(super) diagnosis: SignatureDiagnosis,
    pub(super) refused: Arc<RefusedBuffer>,
}

impl CallbackState {
    /// Starts the tasks that rebuild the verifier, diagnose signatures and store refused requests.
    pub fn start(bridge: &BridgeParts) -> Self {
        let refused = Arc::new(RefusedBuffer::new(&bridge.metrics));
        let (diagnosis, task) = diagnosis::channel(bridge, &refused);
        tokio::spawn(task.run());
        Self {
            bridge: bridge.clone(),
            verifier: follow_config(bridge),
            request_timeout: bridge.config.borrow().server.request_timeout,
            diagnosis,
            refused,
        }
    }
}

fn follow_config(bridge: &BridgeParts) -> watch::Receiver<Arc<Verifier>> {
    let (mut config, metrics) = (bridge.config.clone(), Arc::clone(&bridge.metrics));
    let first = Verifier::new(&config.borrow_and_update(), &metrics);
    let (changed, verifier) = watch::channel(Arc::new(first));
    tokio::spawn(async move {
        while config.changed().await.is_ok() {
            let next = Verifier::new(&config.borrow_and_update(), &metrics);
            changed.send_replace(Arc::new(next));
        }
    });
    verifier
}
