//! Twilio's callbacks: verified, recorded, or refused.
//!
//! A callback is not mapped here, and Acquire is never called: the answer to Twilio waits only for
//! the store.

mod diagnosis;
pub mod extract;
pub mod log_refusals;
pub mod receive;
pub mod refusal;
mod refused_buffer;
pub mod signed_form;
pub mod state;
