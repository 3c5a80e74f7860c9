//!

pub mod play;
pub mod twilio_client;
