//! The admin listener: probes, metrics, console and API.
pub mod console;
pub mod probes;
pub mod refused;
