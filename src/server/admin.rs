//! What the admin listener serves: probes, metrics, console and API.
//!
//! Its routes are in `server.rs`, the HTML of its pages in `templates/`. It delivers nothing.

pub mod console;
pub mod error;
pub mod frame;
pub mod guard;
pub mod probes;
pub mod reconcile;
pub mod refused;
pub mod routes;
mod site;
pub mod status;
