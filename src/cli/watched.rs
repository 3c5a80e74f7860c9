//! Long work that does not wait for a network: a progress bar on a terminal, and a summary if Ctrl-C stops
//! it.

use std::io;

use indicatif::ProgressBar;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::Exit;
use super::output::{TICK, note};
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

#[expect(
    clippy::disallowed_methods,
    reason = "the thread that works cannot be stopped, and has nothing to close"
)]
fn exit() {
    std::process::exit(Exit::Partial as i32);
}
