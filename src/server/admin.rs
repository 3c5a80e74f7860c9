//! The admin listener: probes, metrics, console and API.

pub mod console;
pub mod error;
pub mod probes;
pub mod refused;
