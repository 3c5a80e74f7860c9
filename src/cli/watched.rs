//! Long work that does not wait for a network: a progress bar on a terminal, and a summary if Ctrl-C stops
//! it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use indicatif::ProgressBar;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::Exit;
use super::output::{TICK, note, progress_bar};
use crate::clock;

/// Does the work while another thread moves the bar to `position`. On Ctrl-C this thread prints the summary
/// of `stopped` and ends the process with [`Exit::Partial`].
pub fn watched<T>(
    bar: &ProgressBar,
    position: impl Fn() -> u64 + Send + 'static,
    stopped: impl FnOnce() -> String + Send + 'static,
    work: impl FnOnce() -> T,
) -> io::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    // Before the work starts, so that Ctrl-C never ends the process without a summary.
    let mut interrupt = {
        let _entered = runtime.enter();
        signal(SignalKind::interrupt())?
    };
    let done = CancellationToken::new();
    let (ended, moved) = (done.clone(), bar.clone());
    let watch = std::thread::spawn(move || {
        let watch = async {
            loop {
                tokio::select! {
                    () = ended.cancelled() => return,
                    _ = interrupt.recv() => break,
                    () = clock::pause(TICK) => {
                        moved.set_position(position());
                        moved.tick();
                    }
                }
            }
            moved.finish_and_clear();
            note!("{}", stopped());
            exit();
        };
        runtime.block_on(watch);
    });
    let result = work();
    done.cancel();
    // A panic there loses only the bar.
    let _ = watch.join();
    bar.finish_and_clear();
    Ok(result)
}

/// The summary of a search that Ctrl-C stopped.
pub fn not_all_read() -> String {
    "stopped before all calls were read; nothing was changed".to_owned()
}

/// As [`watched`], for items one after another: Ctrl-C prints how many of them are `done`.
pub fn each_watched<T, E: From<io::Error>>(
    items: &[T],
    done: &'static str,
    mut work: impl FnMut(&T, &ProgressBar) -> Result<(), E>,
) -> Result<(), E> {
    let (bar, total) = (progress_bar(items.len() as u64), items.len());
    let count = Arc::new(AtomicU64::new(0));
    let counts = [Arc::clone(&count), Arc::clone(&count)];
    let [position, so_far] = counts.map(|count| move || count.load(Ordering::Relaxed));
    let stopped = move || format!("stopped; {} of {total} {done}", so_far());
    watched(&bar, position, stopped, || {
        items.iter().try_for_each(|item| {
            work(item, &bar)?;
            count.fetch_add(1, Ordering::Relaxed);
            Ok(())
        })
    })?
}

#[expect(
    clippy::disallowed_methods,
    reason = "the thread that works cannot be stopped, and has nothing to close"
)]
fn exit() {
    std::process::exit(Exit::Partial as i32);
}
