//! Twilio's callbacks: verified, recorded, or refused.

mod diagnosis;
mod extract;
pub mod log_refusals;
pub mod receive;
pub mod refusal;
mod refused_buffer;
pub mod signed_form;
pub mod state;
