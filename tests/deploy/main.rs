//! What `deploy/` ships, checked by the tools it is for, and its command lines run.

mod alerts;
mod balancer;
mod container;
mod containers;
mod dashboard;
mod firing;
mod fresh_root;
mod kubernetes;
mod lint;
mod package;
mod packed;
mod process;
#[expect(dead_code, reason = "each test binary uses a part of it")]
#[path = "../support/mod.rs"]
mod support;
mod units;
mod workflows;

use std::path::{Path, PathBuf};

use crate::support::real::left_out;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn deploy() -> PathBuf {
    root().join("deploy")
}

fn text(name: &str) -> String {
    std::fs::read_to_string(deploy().join(name)).expect("a file of deploy/")
}
