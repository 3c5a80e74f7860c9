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
mod units;

use std::io::Write as _;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn deploy() -> PathBuf {
    root().join("deploy")
}

fn text(name: &str) -> String {
    std::fs::read_to_string(deploy().join(name)).expect("a file of deploy/")
}

/// Says aloud what was not tried; a captured stderr would hide it.
fn left_out(why: &str) {
    let _ = writeln!(std::io::stderr(), "LEFT OUT: {why}");
}
