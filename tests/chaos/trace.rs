//! Reads what `strace -f -y` saw and finds answers that were given before their row was on disk.
//!
//! `strace` stops a thread when it enters a system call and when it leaves it, and writes both in
//! the order in which it saw them, so the order of lines is the order of causes.

use std::collections::HashMap;

/// The system calls that must be in the trace.
pub const CALLS: &str = "pwrite64,fsync,fdatasync,read,recvfrom,write,writev,sendto,sendmsg";

/// What the trace shows.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Answers 204 that were looked at.
    pub answers: usize,
    /// Completed syncs of the write-ahead log.
    pub syncs: usize,
    /// Calls that were answered 204 before a sync that started after their row was written.
    pub too_early: Vec<String>,
}

/// One system call, from its entry to its return, by line numbers.
struct SystemCall<'a> {
    name: &'a str,
    /// What the first argument, a file descriptor, refers to.
    file: &'a str,
    text: String,
    entered: usize,
    left: usize,
}

#[derive(Default)]
struct Watch {
    findings: Findings,
    /// The line at which the first write of a call's row had returned.
    written: HashMap<String, usize>,
    /// Entry and return of each sync.
    syncs: Vec<(usize, usize)>,
    /// The call that a connection has asked about.
    asked: HashMap<String, String>,
}

pub fn check(trace: &str) -> Findings {
    let mut watch = Watch::default();
    let mut unfinished: HashMap<&str, (usize, &str)> = HashMap::new();
    for (number, line) in trace.lines().enumerate() {
        let Some((thread, text)) = line.split_once(' ') else {
            continue;
        };
        let text = text.trim_start();
        if let Some(head) = text.strip_suffix("<unfinished ...>") {
            unfinished.insert(thread, (number, head));
            // An answer may have left before the call returns.
            watch.starts(head, number);
        } else if let Some((_, rest)) = text.split_once(" resumed>") {
            if let Some((entered, head)) = unfinished.remove(thread) {
                watch.ends(&[head, rest].concat(), entered, number);
            }
        } else {
            watch.starts(text, number);
            watch.ends(text, number, number);
        }
    }
    watch.findings
}

impl Watch {
    fn starts(&mut self, text: &str, number: usize) {
        let Some(call) = parse(text, number, number) else {
            return;
        };
        let answers = matches!(call.name, "write" | "writev" | "sendto" | "sendmsg")
            && call.text.contains("HTTP/1.1 204");
        if !answers {
            return;
        }
        if let Some(sid) = self.asked.remove(call.file) {
            self.findings.answers += 1;
            if !self.is_on_disk(&sid, call.entered) {
                self.findings.too_early.push(sid);
            }
        }
    }

    fn ends(&mut self, text: &str, entered: usize, left: usize) {
        let Some(call) = parse(text, entered, left) else {
            return;
        };
        let is_log = call.file.ends_with("-wal");
        match call.name {
            "pwrite64" if is_log => {
                for sid in sids(&call.text) {
                    self.written.entry(sid.to_owned()).or_insert(call.left);
                }
            }
            "fsync" | "fdatasync" if is_log && call.text.trim_end().ends_with("= 0") => {
                self.findings.syncs += 1;
                self.syncs.push((call.entered, call.left));
            }
            "read" | "recvfrom" if call.file.starts_with("socket:") => {
                if let Some((_, form)) = call.text.split_once("CallSid=")
                    && let Some(sid) = sids(form).next()
                {
                    self.asked.insert(call.file.to_owned(), sid.to_owned());
                }
            }
            _ => {}
        }
    }

    fn is_on_disk(&self, sid: &str, answered: usize) -> bool {
        let Some(&written) = self.written.get(sid) else {
            return false;
        };
        let latest_first = self.syncs.iter().rev();
        latest_first
            .take_while(|(_, left)| *left > written)
            .any(|(entered, left)| *entered > written && *left < answered)
    }
}

fn parse(text: &str, entered: usize, left: usize) -> Option<SystemCall<'_>> {
    let (name, arguments) = text.split_once('(')?;
    let (_, file) = arguments.split_once('<')?;
    let (file, _) = file.split_once('>')?;
    Some(SystemCall {
        name,
        file,
        text: arguments.to_owned(),
        entered,
        left,
    })
}

/// All `CallSid`s in a text.
fn sids(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices("CA").filter_map(|(at, _)| {
        let sid = text.get(at..at + 34)?;
        sid[2..]
            .bytes()
            .all(|byte| byte.is_ascii_hexdigit())
            .then_some(sid)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASK: &str = r#"7 recvfrom(20<socket:[1]>, "POST / HTTP/1.1\r\n\r\nCallSid=CA00000000000000000000000000000001&A=b", 9, 0) = 9"#;
    const WRITE: &str = r#"8 pwrite64(14</d/b.db-wal>, "\r\0\0CA00000000000000000000000000000001AC", 4096, 32) = 4096"#;
    const SYNC: &str = "8 fsync(14</d/b.db-wal>) = 0";
    const ANSWER: &str = r#"7 sendto(20<socket:[1]>, "HTTP/1.1 204 No Content\r\n", 64, 0) = 64"#;

    fn too_early(lines: &[&str]) -> usize {
        let findings = check(&lines.join("\n"));
        assert_eq!(findings.answers, 1);
        findings.too_early.len()
    }

    #[test]
    fn an_answer_after_its_sync_is_in_time() {
        assert_eq!(too_early(&[ASK, WRITE, SYNC, ANSWER]), 0);
        let parted = "8 fsync(14</d/b.db-wal> <unfinished ...>";
        let resumed = "8 <... fsync resumed>) = 0";
        assert_eq!(too_early(&[ASK, WRITE, parted, resumed, ANSWER]), 0);
    }

    #[test]
    fn every_other_order_is_too_early() {
        let head = "8 fsync(14</d/b.db-wal> <unfinished ...>";
        let returned = "8 <... fsync resumed>) = 0";
        let other = "8 fsync(13</d/b.db>) = 0";
        let failed = "8 fsync(14</d/b.db-wal>) = -1 EIO (Input/output error)";
        let pretended = "8 fsync(14</d/b.db-wal>) = 0 (INJECTED)";
        for lines in [
            &[ASK, WRITE, ANSWER][..],
            &[ASK, ANSWER, WRITE, SYNC],
            &[ASK, SYNC, WRITE, ANSWER],
            &[ASK, WRITE, ANSWER, SYNC],
            &[ASK, WRITE, head, ANSWER, returned],
            &[ASK, head, WRITE, returned, ANSWER],
            &[ASK, SYNC, ANSWER],
            &[ASK, WRITE, other, ANSWER],
            &[ASK, WRITE, failed, ANSWER],
            &[ASK, WRITE, pretended, ANSWER],
        ] {
            assert_eq!(too_early(lines), 1, "{lines:#?}");
        }
    }
}
