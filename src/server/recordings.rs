//! Plays recordings that Twilio stores, behind signed links.
//!
//! Links are signed in `domain/recording_link.rs`. No recording is stored on this machine.

pub mod play;
