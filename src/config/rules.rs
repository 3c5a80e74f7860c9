//! The rules of a plan, assembled from their sections, and written as a configuration file.
//!
//! The sections parse the settings: `calls.rs`, `recording.rs`, `acquire.rs`, `directory.rs`.

use toml::{Table, Value};

use super::directory::DirectoryFile;
use super::reader::SettingsReader;
use super::{acquire, calls, directory, duration, recording};
use crate::domain::plan::{RecordingRules, Rules, SipCustomers, SipHost};
use crate::domain::recording_link::RecordingLinks;
use crate::twilio::signature::PublicUrl;

/// The rules without the secret of links, for commands that only show requests.
pub(super) fn without_secrets(
    reader: &mut SettingsReader,
    public_urls: &[PublicUrl],
) -> Option<Rules> {
    let links = recording::links_without_secrets(reader, public_urls);
    read(reader, links).map(|(rules, _)| rules)
}

/// The rules, and the file that can change their directory.
pub(super) fn read(
    reader: &mut SettingsReader,
    links: Option<RecordingLinks>,
) -> Option<(Rules, Option<DirectoryFile>)> {
    let empty_to = calls::empty_to(reader);
    let empty_from = calls::empty_from(reader);
    let client = calls::client(reader);
    let sip_customers = calls::sip_customers(reader);
    let legs = calls::legs(reader);
    let recordings = recording::rules(reader, links);
    let events = acquire::events(reader);
    let (directory, file) = directory::read(reader);
    let rules = Rules {
        empty_to,
        empty_from,
        client: client?,
        sip_customers,
        legs: legs?,
        recordings: recordings?,
        events: events?,
        directory,
    };
    Some((rules, file))
}

/// The rules that differ from the defaults, as a configuration file. Links of the bridge are left
/// out, because they need its secret.
///
/// With such a file another machine plans the same requests for a call.
pub fn to_toml(rules: &Rules) -> String {
    let mut file = Table::new();
    let defaults = settings(&Rules::default());
    for ((section, key, value), (.., default)) in settings(rules).into_iter().zip(defaults) {
        let Some(value) = value.filter(|value| Some(value) != default.as_ref()) else {
            continue;
        };
        let section = file.entry(section).or_insert_with(|| Table::new().into());
        if let Value::Table(section) = section {
            section.insert(key.to_owned(), value);
        }
    }
    file.to_string()
}

/// Every rule as section, key and value; `None` if it is not set.
fn settings(rules: &Rules) -> [(&'static str, &'static str, Option<Value>); 15] {
    // Without `..`, so that a new rule cannot be forgotten here.
    let Rules {
        empty_to,
        empty_from,
        client,
        sip_customers,
        legs,
        recordings,
        events,
        directory,
    } = rules;
    let RecordingRules {
        expect,
        wait,
        late,
        links,
    } = recordings;
    let format = match links {
        RecordingLinks::Twilio { format } => Some(Value::from(*format)),
        RecordingLinks::Bridge(_) => None,
    };
    let entries = directory.entries.iter();
    let entries: Table = entries
        .map(|(address, email)| (address.clone(), Value::from(email.as_str())))
        .collect();
    let events = acquire::event_names(events);
    let text = |text: &Option<String>| text.clone().map(Value::from);
    let word = |word: &'static str| Some(Value::from(word));
    let time = |time| Some(Value::from(duration::write(time)));
    [
        ("acquire", "events", Some(events.into())),
        ("calls", "client", word(client.as_str())),
        ("calls", "empty_from", text(empty_from)),
        ("calls", "empty_to", text(empty_to)),
        ("calls", "missed", word(legs.missed.as_str())),
        ("calls", "report", word(legs.report.as_str())),
        ("calls", "settle", time(legs.settle)),
        ("calls", "sip_customers", sip_hosts(sip_customers)),
        ("calls", "wait", time(legs.wait)),
        ("directory", "default", text(&directory.default)),
        ("directory", "entries", Some(entries.into())),
        ("recording", "expect", word(expect.as_str())),
        ("recording", "format", format),
        ("recording", "late", word(late.as_str())),
        ("recording", "wait", time(*wait)),
    ]
}

fn sip_hosts(customers: &SipCustomers) -> Option<Value> {
    match customers {
        SipCustomers::Unset => None,
        SipCustomers::All => Some(calls::ALL_SIP_HOSTS.into()),
        SipCustomers::Hosts(hosts) => {
            let hosts = hosts.iter().map(SipHost::as_str);
            Some(hosts.collect::<Vec<_>>().into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load_part;
    use crate::domain::directory::Directory;

    fn read(text: &str) -> Rules {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("bridge.toml");
        std::fs::write(&file, text).expect("a file");
        let rules = load_part(Some(&file), [], |reader| without_secrets(reader, &[]));
        rules.expect("good settings")
    }

    #[test]
    fn a_file_of_rules_is_read_as_the_same_rules() {
        let settings = r#"
            acquire.events = ["ringing", "ended"]
            [calls]
            empty_to = "a \"quoted\" word"
            empty_from = "anonymous"
            client = "outgoing"
            report = "call"
            settle = "90s"
            sip_customers = ["sbc.example.net", "192.0.2.7"]
            missed = "parent"
            wait = "61m"
            [recording]
            expect = "always"
            wait = "0s"
            late = "resend"
            format = ".mp3"
            [directory]
            entries = { "client:jane" = "jane@example.com", "+12025550123" = "phone@example.com" }
            default = "calls@example.com"
        "#;
        let rules = read(settings);
        let again = read(&to_toml(&rules));
        assert_eq!(rules.directory, again.directory);
        // The entries have no order, so the text of both can differ.
        let without_directory = |rules: Rules| Rules {
            directory: Directory::default(),
            ..rules
        };
        let (rules, again) = (without_directory(rules), without_directory(again));
        assert_eq!(format!("{rules:?}"), format!("{again:?}"));
        let given: toml::Table = settings.parse().expect("TOML");
        let written: toml::Table = to_toml(&read(settings)).parse().expect("TOML");
        assert_eq!(written, given, "every key is written");
    }

    #[test]
    fn all_sip_hosts_are_written_as_a_word() {
        let rules = read("calls.sip_customers = \"All\"");
        assert_eq!(read(&to_toml(&rules)).sip_customers, SipCustomers::All);
    }

    #[test]
    fn defaults_are_not_written() {
        assert_eq!(to_toml(&read("")), "");
    }
}
