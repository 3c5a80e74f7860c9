//! Reads the body of a request and verifies its signature, so that a handler receives a
//! [`SignedForm`] or does not run.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::dev::Payload;
use actix_web::http::header::{CONTENT_TYPE, HeaderMap};
use actix_web::web::{Bytes, BytesMut, Data};
use actix_web::{FromRequest, HttpMessage as _, HttpRequest};
use futures_util::Stream;

use super::refusal::{MAX_BODY_BYTES, RefusalError};
use super::refused_buffer::MAX_KEPT_BODY_BYTES;
use super::signed_form::SignedForm;
use super::state::CallbackState;
use crate::server::connections::tracker::Tracker;
use crate::server::shared::target;
use crate::twilio::callback;

/// Facts that the extractor knows and middleware cannot see. They are in the request's extensions, in
/// an [`Rc`], once the body has arrived.
#[derive(Default)]
pub struct RequestFacts {
    pub body: Bytes,
    /// The `acquire_account_id` and `From`, if the signature is valid.
    pub sender: Option<(String, String)>,
}

impl FromRequest for SignedForm {
    type Error = RefusalError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, RefusalError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let request = request.clone();
        let payload = payload.take();
        Box::pin(async move { extract(&request, payload).await })
    }
}

async fn extract(request: &HttpRequest, payload: Payload) -> Result<SignedForm, RefusalError> {
    let received_at = Instant::now();
    let state = state(request)?;
    let essence = media_type(request.headers());
    let is_json = essence.eq_ignore_ascii_case("application/json");
    // Twilio sends JSON only for events that are no callbacks, which their body names.
    // Of another type only the start is read, and kept for the operator.
    if !is_json && !essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err(refuse(request, payload, RefusalError::NotAForm).await);
    }
    let (body, read) = read_body(payload, MAX_BODY_BYTES, state.request_timeout).await;
    if let Err(why) = read {
        keep_body(request, body);
        return Err(why);
    }
    completed(request);
    if is_json {
        let refusal = callback::of_json(&body).map_or(RefusalError::NotAForm, RefusalError::Json);
        keep_body(request, body);
        return Err(refusal);
    }
    // Cloned, so that a reload can replace the verifier during the verification.
    let verifier = Arc::clone(&state.verifier.borrow());
    let form = verifier.verify(
        target(request),
        request.headers(),
        body.clone(),
        received_at,
    );
    let sender = form.as_ref().ok().map(|form| {
        let from = form.fields.value("From").unwrap_or_default();
        (form.account.clone(), from.to_owned())
    });
    let facts = Rc::new(RequestFacts { body, sender });
    request.extensions_mut().insert(facts);
    form
}

/// Twilio sends the media type with and without parameters, so only its essence is compared.
fn media_type(headers: &HeaderMap) -> &str {
    let content_type = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    content_type
        .and_then(|text| text.split(';').next())
        .unwrap_or_default()
        .trim()
}

/// Refuses a request whose body decides nothing, and keeps the start of its body for the operator.
pub async fn refuse(request: &HttpRequest, payload: Payload, why: RefusalError) -> RefusalError {
    match state(request) {
        Ok(state) => {
            let (body, _) = read_body(payload, MAX_KEPT_BODY_BYTES, state.request_timeout).await;
            completed(request);
            keep_body(request, body);
            why
        }
        Err(no_state) => no_state,
    }
}

fn state(request: &HttpRequest) -> Result<&Data<CallbackState>, RefusalError> {
    let state = request.app_data::<Data<CallbackState>>();
    state.ok_or_else(|| RefusalError::Unavailable("the routes have no CallbackState".to_owned()))
}

/// Nothing more of this request is waited for.
fn completed(request: &HttpRequest) {
    if let Some(tracker) = request.conn_data::<Rc<Tracker>>() {
        tracker.completed();
    }
}

fn keep_body(request: &HttpRequest, body: Bytes) {
    let facts = Rc::new(RequestFacts { body, sender: None });
    request.extensions_mut().insert(facts);
}

/// Reads a body of at most `limit` bytes. What has arrived is returned also with an error.
///
/// Copies the body: a chunk is a part of the connection's buffer, and keeping it would make the
/// connection allocate a new buffer.
async fn read_body(
    payload: Payload,
    limit: usize,
    time: Duration,
) -> (Bytes, Result<(), RefusalError>) {
    let mut payload = pin!(payload);
    let mut body = BytesMut::new();
    let reading = async {
        while let Some(chunk) = poll_fn(|context| payload.as_mut().poll_next(context)).await {
            body.extend_from_slice(&chunk.map_err(|_| RefusalError::Unreadable)?);
            if body.len() > limit {
                return Err(RefusalError::TooLarge);
            }
        }
        Ok(())
    };
    let read = tokio::time::timeout(time, reading).await;
    (body.freeze(), read.unwrap_or(Err(RefusalError::TooSlow)))
}
