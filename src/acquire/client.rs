//! The outward door.
