//! What `deploy/` ships, judged by the tools it is for, and its command lines run.

mod balancer;
mod container;
mod containers;
mod kubernetes;
mod lint;
mod package;
#[path = "../store_on_postgres/server.rs"]
#[expect(dead_code, reason = "what only tests of the store need of it")]
mod postgres_server;
mod process;
#[path = "../common/real.rs"]
#[expect(dead_code, reason = "what tests under load need besides")]
mod real;
mod units;

use std::path::{Path, PathBuf};

use crate::real::left_out;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn deploy() -> PathBuf {
    root().join("deploy")
}

fn text(name: &str) -> String {
    std::fs::read_to_string(deploy().join(name)).expect("a file of deploy/")
}
