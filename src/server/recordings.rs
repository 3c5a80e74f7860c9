//! Plays recordings that Twilio stores, behind signed links.
pub mod play;
pub mod twilio_client;
