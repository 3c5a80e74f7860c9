//! The memory of a bridge, and a limit of it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::real::left_out;
use crate::support::serve::Serve;

/// A figure of `/proc/PID/status`, such as `VmRSS:`.
pub fn kibibytes(bridge: &Serve, figure: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", bridge.child.id()));
    let status = status.expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix(figure));
    let number = line.and_then(|text| text.split_whitespace().next());
    number.expect("a figure").parse().expect("a number of KiB")
}

/// The memory limit of the pod in deploy/kubernetes, as a control group (cgroups(7)), where one can be made.
pub struct Pod(Option<PathBuf>);

impl Pod {
    /// Limits a bridge from now on.
    pub fn of(bridge: &Serve) -> Self {
        let [version_1, version_2] = ["/sys/fs/cgroup/memory", "/sys/fs/cgroup"];
        let (parent, limit) = if Path::new(version_1).is_dir() {
            (version_1, "memory.limit_in_bytes")
        } else {
            (version_2, "memory.max")
        };
        let id = bridge.child.id();
        let group = PathBuf::from(format!("{parent}/bridge-{id}"));
        let limits = || {
            fs::create_dir(&group)?;
            fs::write(group.join(limit), (512_u32 << 20).to_string())?;
            fs::write(group.join("cgroup.procs"), id.to_string())
        };
        if limits().is_ok() {
            return Self(Some(group));
        }
        left_out("the memory limit of the sample pod: a control group needs root");
        Self(None)
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        if let Some(group) = &self.0 {
            let _ = fs::remove_dir(group);
        }
    }
}
