//! Sets up the log: text or JSON on stderr, one event per line. Masks the addresses in it.
//!
//! What is logged is decided where it happens.

mod lines;

use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{ParseError, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use self::lines::LogLines;
use super::terminal::Terminal;
use crate::config::{LogFormat, LogSettings};

/// Replaces the characters that are left out.
const MASK: &str = "****";

/// The number of digits that are left out at the end of a phone number.
const MASKED_DIGITS: usize = 4;

/// The length from which a number is shown in part: of a shorter one, such as a short code, the rest
/// would reveal too much.
const MIN_SHOWN_DIGITS: usize = 8;

/// Writes the events of the program to stderr. A second call changes nothing.
///
/// # Errors
/// `log.level` is not a filter; [`crate::config::load`] rejects such a value before.
pub fn init(log: &LogSettings) -> Result<(), ParseError> {
    let filter: Targets = log.level.parse()?;
    let terminal = Terminal::of_stderr();
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(terminal == Terminal::Coloured)
        .with_writer(LogLines {
            format: log.format,
            terminal,
        });
    let lines = match log.format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let set_up = tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .try_init();
    if set_up.is_err() {
        tracing::debug!("logs were set up before");
    }
    Ok(())
}

/// A phone number, `client:` or `sip:` identity or e-mail address as it may appear in the log: enough
/// to distinguish two of them most of the time, not enough to call.
pub fn masked(address: &str) -> String {
    let (scheme, rest) = match address.split_once(':') {
        Some((scheme @ ("client" | "sip" | "sips" | "tel" | "whatsapp"), rest)) => {
            (&address[..=scheme.len()], rest)
        }
        _ => ("", address),
    };
    // The parameters after the host of a SIP address may contain personal data.
    match rest.split_once('@') {
        Some((name, host)) => {
            let host = host.split([';', '?']).next().unwrap_or(host);
            format!("{scheme}{}@{host}", masked_name(name))
        }
        None => format!("{scheme}{}", masked_name(rest)),
    }
}

fn masked_name(name: &str) -> String {
    let digits = name.strip_prefix('+').unwrap_or(name);
    let is_number = digits.bytes().all(|b| b.is_ascii_digit());
    if is_number && digits.len() >= MIN_SHOWN_DIGITS {
        format!("{}{MASK}", &name[..name.len() - MASKED_DIGITS])
    } else if name.is_empty() {
        String::new()
    } else {
        MASK.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_masked_by_what_it_is() {
        let cases = [
            ("+12025550123", "+1202555****"),
            ("12025550123", "1202555****"),
            ("+2025", "****"),
            ("+1202555", "****"),
            ("55501", "****"),
            ("client:jane", "client:****"),
            ("client:+12025550123", "client:+1202555****"),
            ("sip:jane@example.com", "sip:****@example.com"),
            (
                "sip:+12025550123@example.com;user=jane",
                "sip:+1202555****@example.com",
            ),
            ("sips:jane@example.com?x=jane", "sips:****@example.com"),
            ("jane@example.com", "****@example.com"),
            ("anonymous", "****"),
            ("+1 202 555 0123", "****"),
            ("jos\u{e9}", "****"),
            (
                "\u{662}\u{660}\u{662}\u{665}\u{665}\u{665}\u{660}\u{661}\u{662}",
                "****",
            ),
            ("client:", "client:"),
            ("", ""),
        ];
        for (address, shown) in cases {
            assert_eq!(masked(address), shown, "{address}");
        }
    }

    #[test]
    fn a_level_may_be_given_by_part_of_the_program() {
        let log = |level: &str| LogSettings {
            format: LogFormat::Json,
            level: level.to_owned(),
        };
        assert!(init(&log("info,actix_web=debug")).is_ok());
        assert!(init(&log("info=loud")).is_err());
    }
}
