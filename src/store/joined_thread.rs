//! A thread that ends with its store. What it does is decided by its starter.

use std::io;
use std::thread::{self, JoinHandle};

/// A thread that is joined when this is dropped, so that its connection and locks are free then.
///
/// A struct drops its fields in the order of their declaration: the field that makes the thread end
/// comes before this one.
#[derive(Debug)]
pub(super) struct JoinedThread(Option<JoinHandle<()>>);

impl JoinedThread {
    pub fn start(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let thread = thread::Builder::new().name(name.to_owned());
        Ok(Self(Some(thread.spawn(work)?)))
    }
}

impl Drop for JoinedThread {
    fn drop(&mut self) {
        if let Some(thread) = self.0.take() {
            let name = thread.thread().name().unwrap_or_default().to_owned();
            if thread.join().is_err() {
                tracing::error!("the thread {name} has panicked");
            }
        }
    }
}
