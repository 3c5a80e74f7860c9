//! Sends a test message to each receiver of `[[notify]]`.

use super::note::Notes;
use crate::app::block_on;
use crate::app::notify::receiver::post;
use crate::app::notify::{new_id, node};
use crate::clock::Millis;
use crate::config::Config;
use crate::domain::message::Message;

const ABOUT: &str = "notify";

pub(super) fn check(notes: &mut Notes, config: &Config, now: Millis) {
    if config.notify.is_empty() {
        let why = "there is no receiver; add [[notify]] to the configuration file";
        return notes.problem(ABOUT, why);
    }
    let message = Message::test(new_id(), node(), config.admin.console_url(), now);
    let ca_file = config.acquire.ca_file.as_deref();
    for (number, target) in (1..).zip(&config.notify) {
        let name = format!("notify[{number}] ({})", target.format.as_str());
        match block_on(post(target, &message, ca_file, now)) {
            Ok(()) => notes.ok(ABOUT, format_args!("{name} accepted a test message")),
            Err(why) => notes.problem(
                ABOUT,
                format_args!("{name} did not accept a test message: {why}; check url and secret"),
            ),
        }
    }
}
