//! The routes of the admin listener: probes, metrics, console and API.
//!
//! Its routes are in `server.rs`, the HTML of its pages in `templates/`. It delivers nothing.

pub mod acts;
pub mod audit;
pub mod call;
pub mod calls;
pub mod chart;
pub mod console;
mod erasure;
pub mod error;
mod error_page;
pub mod frame;
pub mod guard;
mod masking;
pub mod operations;
pub mod parked;
pub mod probes;
pub mod reconcile;
pub mod refused;
pub mod report;
pub mod routes;
mod sign_in;
mod site;
pub mod status;
