//! Sends a test message to each receiver of `[[notify]]`.

use super::note::Note;
use crate::app::block_on;
use crate::app::notify::receiver::post;
use crate::app::notify::{new_id, node};
use crate::clock::Millis;
use crate::config::Config;
use crate::domain::message::Message;

const ABOUT: &str = "notify";

pub(super) fn check(config: &Config, now: Millis) -> Vec<Note> {
    if config.notify.is_empty() {
        let why = "there is no receiver; add [[notify]] to the configuration file";
        return vec![Note::problem(ABOUT, why)];
    }
    let message = Message::test(new_id(), node(), config.admin.console_url(), now);
    let ca_file = config.acquire.ca_file.as_deref();
    let targets = (1..).zip(&config.notify);
    let notes = targets.map(|(number, target)| {
        let name = format!("notify[{number}] ({})", target.format.as_str());
        match block_on(post(target, &message, ca_file, now)) {
            Ok(()) => Note::ok(ABOUT, format!("{name} accepted a test message")),
            Err(why) => Note::problem(
                ABOUT,
                format!("{name} did not accept a test message: {why}; check url and secret"),
            ),
        }
    });
    notes.collect()
}
