//! Small disks that can be filled and broken. Making them needs root.

use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{FallocateFlags, fallocate};

/// A small file system of its own; unmounted when dropped.
pub struct Mount(pub PathBuf);

impl Mount {
    /// In memory, with room for a write-ahead log of the size at which SQLite starts it anew.
    pub fn tmpfs(at: &Path) -> Option<Self> {
        Self::of(&["-t", "tmpfs", "-o", "size=64m", "tmpfs"], at)
    }

    /// ext4 in the file `image`, made with so many MiB where there is none; it turns read-only once it finds
    /// an error.
    pub fn ext4(image: &Path, mebibytes: u64, at: &Path) -> Option<Self> {
        if !image.exists() {
            let file = File::create(image).expect("a file");
            file.set_len(mebibytes << 20).expect("room");
            succeeds(Command::new("mkfs.ext4").arg("-q").arg(image))?;
        }
        let image = image.to_str().expect("text");
        Self::of(&["-o", "loop,errors=remount-ro", image], at)
    }

    fn of(options: &[&str], at: &Path) -> Option<Self> {
        std::fs::create_dir_all(at).expect("a folder");
        succeeds(Command::new("mount").args(options).arg(at))?;
        Some(Self(at.to_owned()))
    }

    /// Takes all the room there is.
    pub fn fill(&self) -> PathBuf {
        let path = self.0.join("filler");
        let mut filler = File::create(&path).expect("a file");
        let (mut end, large) = (0, 1 << 20);
        while fallocate(&filler, FallocateFlags::empty(), end, large).is_ok() {
            end += large;
        }
        filler.seek(SeekFrom::Start(end)).expect("its end");
        for size in [64 * 1024, 4096, 1] {
            let block = vec![1; size];
            while filler.write_all(&block).is_ok() {}
        }
        path
    }

    /// Has ext4 find an error.
    pub fn breaks(&self) {
        let device = Command::new("findmnt")
            .args(["--noheadings", "--output", "SOURCE", "--mountpoint"])
            .arg(&self.0)
            .output();
        let device = String::from_utf8(device.expect("findmnt runs").stdout).expect("text");
        let device = device.trim().trim_start_matches("/dev/");
        let trigger = format!("/sys/fs/ext4/{device}/trigger_fs_error");
        std::fs::write(trigger, "a test").expect("the kernel takes it");
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

/// Repairs the file system in `image`.
pub fn repair(image: &Path) {
    let repaired = Command::new("e2fsck")
        .args(["-f", "-y"])
        .arg(image)
        .output();
    let repaired = repaired.expect("e2fsck runs");
    // 1: there was something to repair, and it is repaired.
    assert!(
        matches!(repaired.status.code(), Some(0 | 1)),
        "{repaired:?}"
    );
}

fn succeeds(command: &mut Command) -> Option<()> {
    let output = command.output().ok()?;
    output.status.success().then_some(())
}
