//!

pub mod console;
pub mod probes;
pub mod refused;
