//! Twilio's callbacks: verified, recorded, or refused.
pub mod diagnosis;
pub mod receive;
pub mod refusal;
pub mod refused_buffer;
pub mod signed_form;
pub mod state;
