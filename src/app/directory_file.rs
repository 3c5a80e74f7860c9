//! Keeps the rules current: those of the configuration, with the entries of `directory.file`.
//!
//! The format of the file belongs to `domain::directory`.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::config::{Config, DirectoryFile, FileWatch};
use crate::domain::directory::Directory;
use crate::domain::plan::Rules;

/// The number of mistakes of one file that are logged.
const SHOWN_MISTAKES: usize = 10;

/// Follows the configuration and its directory file until `stop`. A file that cannot be used changes
/// nothing and is logged once.
pub async fn follow(
    mut config: watch::Receiver<Arc<Config>>,
    rules: watch::Sender<Arc<Rules>>,
    stop: CancellationToken,
) {
    loop {
        let file = config.borrow_and_update().directory_file.clone();
        tokio::select! {
            () = stop.cancelled() => return,
            changed = config.changed() => match changed {
                Ok(()) => {
                    // The configuration has read the file too, so these rules are complete.
                    rules.send_replace(Arc::new(config.borrow().rules.clone()));
                }
                Err(_) => return,
            },
            () = follow_file(file, &rules) => {}
        }
    }
}

async fn follow_file(file: Option<DirectoryFile>, rules: &watch::Sender<Arc<Rules>>) {
    let Some(file) = file.map(Arc::new) else {
        return std::future::pending().await;
    };
    let mut watched = FileWatch::new(vec![file.path.clone()]);
    loop {
        watched.changed().await;
        match read(Arc::clone(&file)).await {
            Ok(directory) => apply(directory, rules),
            Err(why) => warn!(
                file = %file.path.display(),
                "the directory stays as it was: {why}"
            ),
        }
    }
}

async fn read(file: Arc<DirectoryFile>) -> Result<Directory, String> {
    let reading = tokio::task::spawn_blocking(move || {
        let path = file.path.display().to_string();
        let bytes =
            std::fs::read(&file.path).map_err(|why| format!("{path} cannot be read: {why}"))?;
        let mut listing = file.configured.clone();
        match listing.add_csv(&path, &bytes) {
            Ok(()) => Ok(listing.directory()),
            Err(mistakes) => Err(first_mistakes(&mistakes)),
        }
    });
    reading
        .await
        .unwrap_or_else(|why| Err(format!("reading it failed: {why}")))
}

fn first_mistakes(mistakes: &[String]) -> String {
    let shown = mistakes[..mistakes.len().min(SHOWN_MISTAKES)].join("; ");
    match mistakes.len().saturating_sub(SHOWN_MISTAKES) {
        0 => shown,
        more => format!("{shown}; and {more} more"),
    }
}

fn apply(directory: Directory, rules: &watch::Sender<Arc<Rules>>) {
    rules.send_if_modified(|rules| {
        let is_new = rules.directory != directory;
        if is_new {
            let entries = directory.entries.len();
            info!(entries, "the directory changed: it has {entries} entries");
            *rules = Arc::new(Rules {
                directory,
                ..Rules::clone(rules)
            });
        }
        is_new
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_mistakes_are_logged() {
        let mistakes: Vec<String> = (1..=12).map(|line| format!("d.csv:{line}: no")).collect();
        let text = first_mistakes(&mistakes);
        assert!(text.ends_with("d.csv:10: no; and 2 more"), "{text}");
        assert_eq!(first_mistakes(&mistakes[..1]), "d.csv:1: no");
    }
}
