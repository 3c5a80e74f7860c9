//! Carries ended Twilio Voice calls to Acquire, and never loses one.
//!
//! The top-level modules are rooms. A room imports only rooms on its left, and `twilio` and `acquire`
//! do not import each other. A test reads the order here:
//!
//! ```text
//! clock < twilio | acquire < net < domain < config < store < telemetry < twilio_api < delivery < debugging < server < app < cli
//! ```
//!
//! - [`clock`] gives the time.
//! - [`twilio`] has Twilio's types: SIDs, statuses, callbacks, signatures.
//! - [`acquire`] has Acquire's types: requests, responses, outcomes.
//! - [`net`] opens outbound connections.
//! - [`domain`] decides: what is sent for a call (`plan`), when it is retried, when deliveries pause.
//! - [`config`] reads the settings.
//! - [`store`] keeps callbacks, calls and attempts, in SQLite or PostgreSQL.
//! - [`telemetry`] sets up logs and holds metrics.
//! - [`twilio_api`] reads Twilio's API: recordings, and Twilio's own records of calls.
//! - [`delivery`] claims calls, sends requests, settles.
//! - [`debugging`] shows, exports and replays calls, and has the fake Twilio and the fake Acquire.
//! - [`server`] has the routes of both listeners: callbacks, recordings, admin pages and API.
//! - [`app`] builds, runs and stops a bridge.
//! - [`cli`] has the commands.

/// Declares an enum with a word for each variant, by which settings, database, JSON and metrics name it.
macro_rules! words {
    (
        $(#[$attribute:meta])*
        $visibility:vis enum $name:ident {
            $($(#[$of_variant:meta])* $variant:ident = $word:literal,)+
        }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $visibility enum $name {
            $($(#[$of_variant])* $variant,)+
        }

        impl $name {
            /// Each variant, in the order of their declaration.
            pub const ALL: [$name; [$($word),+].len()] = [$(Self::$variant),+];

            /// Each variant with its word.
            pub const WORDS: [(&'static str, $name); [$($word),+].len()] =
                [$(($word, Self::$variant)),+];

            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }

            pub fn parse(text: &str) -> Option<Self> {
                Self::ALL.into_iter().find(|known| known.as_str() == text)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

pub mod acquire;
pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod debugging;
pub mod delivery;
pub mod domain;
pub mod net;
pub mod server;
pub mod store;
pub mod telemetry;
pub mod twilio;
pub mod twilio_api;
