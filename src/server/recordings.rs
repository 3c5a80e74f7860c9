//! Plays recordings that Twilio stores, behind signed links.

pub mod play;
mod twilio_client;
