//! Reads a trace of `strace`: what happened to files, and which callbacks were answered.

use std::collections::HashMap;

/// What a program did, in the order in which `strace` saw it.
#[derive(Clone, Debug)]
pub enum Operation {
    /// A file was made. Its name is on disk after a sync of its folder.
    Created,
    Written {
        offset: usize,
        bytes: Vec<u8>,
    },
    Truncated {
        length: usize,
    },
    Removed,
    /// A sync of the file; of its folder if `file` is a folder.
    Synced,
    /// A callback was answered 204; `file` is its `CallSid`.
    Answered,
}

/// An operation and the moments, by line, at which it was entered and had returned.
#[derive(Clone, Debug)]
pub struct Recorded {
    pub file: String,
    pub operation: Operation,
    pub entered: usize,
    pub returned: usize,
}

/// The operations of one or more traces.
#[derive(Default)]
pub struct Recording {
    pub operations: Vec<Recorded>,
    /// The lines of the traces so far.
    pub lines: usize,
}

const CALLS: &str = "trace=openat,pwrite64,ftruncate,fsync,fdatasync,unlink,unlinkat,read,recvfrom,\
                     write,writev,sendto,sendmsg";

/// The options under which `strace` writes a trace to `file`: all bytes, in hexadecimal.
pub fn options(file: &str) -> [&str; 9] {
    // A page of the database and more.
    [
        "--seccomp-bpf",
        "-y",
        "-xx",
        "-s",
        "70000",
        "-o",
        file,
        "-e",
        CALLS,
    ]
}

impl Recording {
    pub fn len(&self) -> usize {
        self.operations.len()
    }

    pub fn answered(&self) -> u64 {
        let answers = self.operations.iter();
        answers
            .filter(|recorded| matches!(recorded.operation, Operation::Answered))
            .count() as u64
    }

    pub fn read(&mut self, trace: &[u8]) {
        let trace = String::from_utf8_lossy(trace);
        let mut unfinished: HashMap<&str, (usize, &str)> = HashMap::new();
        let mut asked: HashMap<String, String> = HashMap::new();
        for line in trace.lines() {
            self.lines += 1;
            let now = self.lines;
            let Some((process, text)) = line.split_once(' ') else {
                continue;
            };
            let text = text.trim_start();
            if let Some(head) = text.strip_suffix("<unfinished ...>") {
                unfinished.insert(process, (now, head));
            } else if let Some((_, rest)) = text.split_once(" resumed>") {
                if let Some((entered, head)) = unfinished.remove(process) {
                    self.add(&[head, rest].concat(), entered, now, &mut asked);
                }
            } else {
                self.add(text, now, now, &mut asked);
            }
        }
    }

    fn add(
        &mut self,
        text: &str,
        entered: usize,
        returned: usize,
        asked: &mut HashMap<String, String>,
    ) {
        let Some((name, rest)) = text.split_once('(') else {
            return;
        };
        let Some((arguments, result)) = rest.rsplit_once(" = ") else {
            return;
        };
        if result.starts_with('-') || result.contains("INJECTED") {
            return;
        }
        let file = in_brackets(arguments);
        let number = |text: &str| text.trim().trim_end_matches(')').parse::<usize>().ok();
        let last = || arguments.trim_end().trim_end_matches(')').rsplit_once(", ");
        let (file, operation) = match name {
            "openat" if arguments.contains("O_CREAT") => (in_brackets(result), Operation::Created),
            "pwrite64" => {
                let Some(offset) = last().and_then(|(_, offset)| number(offset)) else {
                    return;
                };
                (
                    file,
                    Operation::Written {
                        offset,
                        bytes: in_quotes(arguments),
                    },
                )
            }
            "ftruncate" => {
                let Some(length) = last().and_then(|(_, length)| number(length)) else {
                    return;
                };
                (file, Operation::Truncated { length })
            }
            "fsync" | "fdatasync" => (file, Operation::Synced),
            "unlink" | "unlinkat" => {
                let path = String::from_utf8_lossy(&in_quotes(arguments)).into_owned();
                (path, Operation::Removed)
            }
            "read" | "recvfrom" if file.starts_with("socket:") || file.starts_with("TCP") => {
                if let Some(sid) = sid(&in_quotes(arguments)) {
                    asked.insert(file, sid);
                }
                return;
            }
            "write" | "writev" | "sendto" | "sendmsg"
                if in_quotes(arguments).starts_with(b"HTTP/1.1 204") =>
            {
                let Some(sid) = asked.remove(&file) else {
                    return;
                };
                (sid, Operation::Answered)
            }
            _ => return,
        };
        self.operations.push(Recorded {
            file,
            operation,
            entered,
            returned,
        });
    }
}

/// The path or socket that a descriptor refers to.
fn in_brackets(text: &str) -> String {
    let inner = text
        .split_once('<')
        .and_then(|(_, rest)| rest.split_once('>'));
    let (inner, _) = inner.unwrap_or_default();
    String::from_utf8_lossy(&unescaped(inner)).into_owned()
}

/// The first string among the arguments.
fn in_quotes(text: &str) -> Vec<u8> {
    let inner = text
        .split_once('"')
        .and_then(|(_, rest)| rest.split_once('"'));
    unescaped(inner.unwrap_or_default().0)
}

/// The bytes of `\x41\x42`; other text is kept.
fn unescaped(text: &str) -> Vec<u8> {
    let mut pieces = text.split("\\x");
    let mut bytes = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        let (digits, rest) = piece.split_at(piece.len().min(2));
        bytes.extend(u8::from_str_radix(digits, 16));
        bytes.extend_from_slice(rest.as_bytes());
    }
    bytes
}

fn sid(request: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(request);
    let (_, form) = text.split_once("CallSid=")?;
    form.get(..34).map(str::to_owned)
}
